import type { HttpBindings } from '@hono/node-server'

/** What every route finds in hono's context. */
export interface Env {
  Bindings: HttpBindings
  Variables: {
    /** Where the call comes from, see `client-address.ts`. */
    address: string
  }
}

/** Epoch milliseconds. */
export type Clock = () => number
