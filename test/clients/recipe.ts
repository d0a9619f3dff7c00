import type { SessionBase } from '../../src/session/options.ts'

/** What a recipe needs of a session. */
export type Fetching = Pick<SessionBase, 'fetch'>

/** A client made by the code of its recipe, as the test drives it. Each call resolves with what the client resolves with, or rejects as it rejects. */
export interface Driven {
  get(): Promise<unknown>
  post(item: { marker: string }): Promise<unknown>
  upload(bytes: Uint8Array<ArrayBuffer>): Promise<unknown>
  /** How the bytes are written where the client sends text alone. */
  readonly uploadEncoding?: 'base64' | 'hex'
  /** Where the client resolves with an error rather than rejecting: the error. */
  errorOf?(result: unknown): unknown
}
