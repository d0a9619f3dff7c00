/** A Map that is none until something is put in: most sessions of a server never do. */
export class LateMap<Key, Value> {
  private map: Map<Key, Value> | undefined

  get(key: Key): Value | undefined {
    return this.map?.get(key)
  }

  has(key: Key): boolean {
    return !!this.map?.has(key)
  }

  set(key: Key, value: Value): void {
    this.map ??= new Map()
    this.map.set(key, value)
  }
}
