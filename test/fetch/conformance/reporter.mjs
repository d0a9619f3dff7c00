/** One line of JSON for each test that has no tests below it. */
export default async function* reporter(events) {
  const open = new Map()
  for await (const { type, data } of events) {
    const file = data?.file
    if (type === 'test:start') {
      const names = (open.get(file) ?? []).slice(0, data.nesting)
      names[data.nesting] = data.name
      open.set(file, names)
    }
    if (type !== 'test:pass' && type !== 'test:fail') continue
    const path = [...(open.get(file) ?? []).slice(0, data.nesting), data.name].filter(Boolean).join(' > ')
    const { error } = data.details
    const why = error && `${error.cause?.stack ?? error.cause?.message ?? error.message}`.slice(0, 600)
    if (data.skip !== undefined || data.todo !== undefined) continue
    yield `${JSON.stringify({ file, path, isPassed: type === 'test:pass', error: why })}\n`
  }
}
