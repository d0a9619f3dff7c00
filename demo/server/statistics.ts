/** Counts since the start, for tests and the demo's pages. */
export interface Statistics {
  signIns: number
  /** Successful refreshes, with or without a rotation. */
  renewals: number
  rotations: number
  reuses: number
  collects: number
  /** Calls of POST /token and POST /token/refresh, failed ones too. */
  tokenCalls: number
  /** Open connections to GET /activity/stream. */
  streams: number
}

export function newStatistics(): Statistics {
  return { signIns: 0, renewals: 0, rotations: 0, reuses: 0, collects: 0, tokenCalls: 0, streams: 0 }
}
