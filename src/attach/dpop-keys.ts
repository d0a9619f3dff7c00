/** Where a DPoP key pair lives. Private keys are not extractable: what stores them keeps CryptoKey objects, as IndexedDB does. */
export interface DpopKeys {
  /** The pair that was kept, `undefined` where there is none. A rejection means "not now": it is asked again, and no key is made. */
  load(): Promise<CryptoKeyPair | undefined>
  /** Keeps the first pair that it gets: of several tabs that made one at once, all go on with what `load` gives. */
  save(pair: CryptoKeyPair): Promise<void>
}

const databaseName = 'latchkey'
const storeName = 'keys'
const keyName = 'dpop'

/** IndexedDB where there is one, shared by the tabs and workers of an origin; else in memory. */
export function defaultDpopKeys(): DpopKeys {
  if (globalThis.indexedDB) return indexedDbKeys(globalThis.indexedDB)
  let held: CryptoKeyPair | undefined
  return {
    load: async () => held,
    async save(pair) {
      held ??= pair
    },
  }
}

function indexedDbKeys(factory: IDBFactory): DpopKeys {
  async function run<T>(mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
    const opening = factory.open(databaseName, 1)
    opening.onupgradeneeded = () => opening.result.createObjectStore(storeName)
    const database = await resultOf(opening)
    try {
      return await resultOf(work(database.transaction(storeName, mode).objectStore(storeName)))
    } finally {
      database.close()
    }
  }
  return {
    load: () => run<CryptoKeyPair | undefined>('readonly', store => store.get(keyName)),
    async save(pair) {
      await run('readwrite', store => store.add(pair, keyName)).catch(error => {
        // Another tab was first.
        if (error?.name !== 'ConstraintError') throw error
      })
    },
  }
}

const resultOf = <T>(request: IDBRequest<T>): Promise<T> =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result)
    request.onerror = event => {
      // Else it ends as an error of the page.
      event.preventDefault()
      reject(request.error)
    }
  })
