import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

type Answers = (number | string)[]

/** A child process with a session. A call of one that was killed resolves with `undefined`. */
export interface Worker {
  readonly child: ChildProcess
  signIn(): Promise<void>
  call(times: number): Promise<Answers | undefined>
  end(): Promise<void>
}

export async function startWorker(options: object): Promise<Worker> {
  const child = fork(fileURLToPath(new URL('./worker.ts', import.meta.url)), [JSON.stringify(options)], {
    execArgv: ['--disable-warning=ExperimentalWarning'],
  })
  const waiting = new Map<number, (answers: Answers | undefined) => void>()
  let count = 0
  child.on('message', (message: { id: number; answers: Answers }) => {
    waiting.get(message.id)?.(message.answers)
    waiting.delete(message.id)
  })
  child.on('exit', () => {
    for (const settle of waiting.values()) settle(undefined)
  })
  await new Promise(resolve => waiting.set(0, resolve))
  const ask = (what: string, times?: number) =>
    new Promise<Answers | undefined>(resolve => {
      if (child.exitCode !== null || child.signalCode !== null) return resolve(undefined)
      const id = ++count
      waiting.set(id, resolve)
      child.send({ id, what, times })
    })
  return {
    child,
    async signIn() {
      await ask('sign-in')
    },
    call: times => ask('call', times),
    async end() {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGKILL')
      await once(child, 'exit')
    },
  }
}
