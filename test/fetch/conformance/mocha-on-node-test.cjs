// The few globals of mocha that the suite of node-fetch uses, over the test runner of Node.
const { after, before, describe, test } = require('node:test')

const called = (run, context) =>
  new Promise((resolve, reject) => {
    const done = error => (error ? reject(error) : resolve())
    if (run.length) run.call(context, done)
    else Promise.resolve(run.call(context)).then(resolve, reject)
  })
const context = { timeout() {} }

Object.assign(globalThis, {
  describe,
  before: run => before(() => called(run, context)),
  after: run => after(() => called(run, context)),
  it: (name, run) => test(name, () => called(run, context)),
})
