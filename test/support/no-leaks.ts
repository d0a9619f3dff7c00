import { afterAll, afterEach } from 'vitest'

/** The canary: it stands in every secret of the tests, and in nothing that may be printed. */
export const canary = 'tok3n-'

/** A made-up token, password or key for a test. Printing one fails the test, see below. */
export function secret(name: string): string {
  return `${canary}${name}`
}

/** What was to be printed since the last call and holds a secret. A test that expects a leak takes it; any other fails. */
export function takeLeaks(): string[] {
  return leaks.splice(0)
}

// On the global: in the browser the module that a test imports is another instance than the set-up file.
const shared = globalThis as { latchkeyLeaks?: string[] }
const leaks = shared.latchkeyLeaks ?? []
const inspect = globalThis.process?.getBuiltinModule?.('node:util')?.inspect // not in the browser

if (!shared.latchkeyLeaks) {
  shared.latchkeyLeaks = leaks
  for (const method of ['log', 'warn', 'error', 'info', 'debug', 'trace', 'dir', 'table'] as const) {
    watch(console, method)
  }
  for (const stream of [globalThis.process?.stdout, globalThis.process?.stderr]) {
    if (typeof stream?.write === 'function') watch(stream, 'write')
  }
}
afterEach(failOnLeaks)
afterAll(failOnLeaks) // what is printed outside of tests: at import, in beforeAll, after the last test

function watch<Name extends string>(target: Record<Name, (...args: never[]) => unknown>, method: Name): void {
  const original = target[method]
  target[method] = (...args) => {
    const text = args.map(shown).join(' ')
    return text.includes(canary) ? leaks.push(text) > 0 : original.apply(target, args)
  }
}

function shown(value: unknown): string {
  if (typeof value === 'string') return value
  if (value instanceof Uint8Array) return new TextDecoder().decode(value)
  if (inspect) return inspect(value, { depth: Number.POSITIVE_INFINITY, maxStringLength: null, maxArrayLength: null })
  return `${JSON.stringify(value)} ${value instanceof Error ? `${value.stack} ${shown(value.cause)}` : value}`
}

function failOnLeaks(): void {
  const printed = takeLeaks()
  if (printed.length > 0) throw new Error(`A secret was printed (it holds "${canary}"):\n${printed.join('\n')}`)
}
