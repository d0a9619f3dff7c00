import { execFileSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { assertNode, neededMajor } from '../support/node-version.ts'

describe('the Node that runs the tests', () => {
  test('is the one that npm ci installed, not an older one of the machine', () => {
    expect(Number.parseInt(process.versions.node, 10)).toBeGreaterThanOrEqual(neededMajor)
  })

  test('is also the one that child processes find on the PATH', () => {
    const version = execFileSync('node', ['--version'], { encoding: 'utf8' }).trim()
    expect(version).toBe(process.version)
  })

  test('is refused with the way out when it is too old', () => {
    expect(() => assertNode('20.19.0')).toThrow(/needs? Node 24 .* this is Node 20\.19\.0 .*npm test.*npm rebuild node/)
    expect(() => assertNode('22.18.0')).toThrow(/npm test/)
    expect(() => assertNode('24.0.0')).not.toThrow()
    expect(() => assertNode('26.1.0')).not.toThrow()
  })
})
