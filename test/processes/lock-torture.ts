// A child process: takes the file lock again and again and proves that it is alone, by a file that only one may create.
import { rmSync, writeFileSync } from 'node:fs'
import { fileLock } from '../../src/locks/file.ts'

const [path = '', untilMs = '0'] = process.argv.slice(2)
const lock = fileLock(() => path, 300)
let holds = 0
let doubles = 0
while (Date.now() < Number(untilMs)) {
  await lock.request('torture', {}, async grip => {
    try {
      writeFileSync(`${path}.alone`, '', { flag: 'wx' })
    } catch {
      // The marker of a holder that was killed: its lock was broken, so the marker is ours to remove. One of a living holder is a double.
      if (process.env.KILLS !== 'yes') doubles++
    }
    holds++
    if (Math.random() < 0.2) await new Promise(resolve => setTimeout(resolve, Math.random() * 5))
    if (!grip?.lost.aborted) rmSync(`${path}.alone`, { force: true })
  })
}
process.send?.({ holds, doubles })
process.disconnect?.()
