interface Stored {
  [field: string]: unknown
  grantId?: string
  userCode?: string
  uid?: string
  consumed?: number
}

/** Where oidc-provider keeps its codes, tokens and sessions: one map per server, gone with it. */
export function createMemoryAdapter(): new (model: string) => object {
  const items = new Map<string, { value: Stored; expiresAtMs: number }>()

  const find = (isMatch: (key: string, value: Stored) => boolean) => {
    for (const [key, { value, expiresAtMs }] of items) {
      if (isMatch(key, value) && expiresAtMs > Date.now()) return value
    }
    return undefined
  }

  return class MemoryAdapter {
    readonly #prefix: string
    constructor(model: string) {
      this.#prefix = `${model}:`
    }
    async upsert(id: string, value: Stored, expiresIn?: number) {
      const lifetimeMs = expiresIn === undefined ? Number.POSITIVE_INFINITY : expiresIn * 1000
      items.set(this.#prefix + id, { value, expiresAtMs: Date.now() + lifetimeMs })
    }
    async find(id: string) {
      return find(key => key === this.#prefix + id)
    }
    async findByUserCode(userCode: string) {
      return find((key, value) => key.startsWith(this.#prefix) && value.userCode === userCode)
    }
    async findByUid(uid: string) {
      return find((key, value) => key.startsWith(this.#prefix) && value.uid === uid)
    }
    async consume(id: string) {
      const item = items.get(this.#prefix + id)
      if (item) item.value.consumed = Math.floor(Date.now() / 1000)
    }
    async destroy(id: string) {
      items.delete(this.#prefix + id)
    }
    async revokeByGrantId(grantId: string) {
      for (const [key, { value }] of items) if (value.grantId === grantId) items.delete(key)
    }
  }
}
