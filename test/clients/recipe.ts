import type { SessionBase } from '../../src/session/options.ts'

/** What a recipe needs of a session. */
export type Fetching = Pick<SessionBase, 'fetch'>

/** A client made by the code of its recipe, as the test drives it. Each call resolves with what the client resolves with, or rejects as it rejects. */
export interface Driven {
  get(): Promise<unknown>
  post(item: { marker: string }): Promise<unknown>
  /** Absent where uploads are not the client's business. */
  upload?(bytes: Uint8Array<ArrayBuffer>): Promise<unknown>
  /** Where the client resolves with an error rather than rejecting: the error. */
  errorOf?(result: unknown): unknown
}
