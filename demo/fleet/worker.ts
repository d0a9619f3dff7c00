// One of the fleet: calls the API all the time, and may be killed at any instant.
import { setTimeout as wait } from 'node:timers/promises'
import { createSession, refreshTokenGrant } from 'latchkey'
import { openStorage, type Place } from './storage.ts'

/** What happened since the last report. */
export interface Report {
  requests: number
  failed: number
  renewed: number
  adopted: number
  failure?: string
}

const { origin, place, index } = JSON.parse(process.argv[2] ?? '{}') as { origin: string; place: Place; index: number }
const report: Report = { requests: 0, failed: 0, renewed: 0, adopted: 0 }

const session = createSession({
  resources: origin,
  name: 'fleet',
  grant: refreshTokenGrant({ tokenEndpoint: `${origin}/token`, clientId: 'fleet' }),
  storage: await openStorage(place, index),
  // These tokens live for less than the default of 5 s.
  renewal: { minIntervalMs: 200 },
})
session.on('renewed', ({ how }) => {
  report[how]++
  send()
})

async function call(): Promise<void> {
  let failure: string | undefined
  try {
    const response = await session.fetch(`${origin}/api`)
    await response.arrayBuffer()
    if (!response.ok) failure = `answered ${response.status}`
  } catch (error) {
    failure = error instanceof Error ? error.message : String(error)
  }
  report.requests++
  if (failure === undefined) return
  report.failed++
  report.failure = failure
}

function send(): void {
  process.send?.({ ...report })
  Object.assign(report, { requests: 0, failed: 0, renewed: 0, adopted: 0 })
  delete report.failure
}

process.on('disconnect', () => process.exit())
for (;;) {
  await Promise.all([call(), call(), call(), call(), call()])
  send()
  await wait(80 + Math.random() * 40)
}
