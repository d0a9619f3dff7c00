/** As `test/support/no-leaks.ts` makes them, which only vitest can load. */
export const secret = (name: string): string => `tok3n-${name}`
