/**
 * Cuts a text into chunks of at most `maxBytes` UTF-8 bytes. A surrogate pair is never split: native stores save UTF-8, and half a pair
 * would come back as U+FFFD. Counts for itself, since a TextEncoder is not everywhere. An empty text has no chunks.
 */
export function chunksOf(text: string, maxBytes: number): string[] {
  const chunks: string[] = []
  let start = 0
  let bytes = 0
  for (let index = 0; index < text.length; ) {
    const code = text.codePointAt(index) as number
    const size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4
    if (bytes + size > maxBytes) {
      chunks.push(text.slice(start, index))
      start = index
      bytes = 0
    }
    bytes += size
    index += size === 4 ? 2 : 1
  }
  if (start < text.length) chunks.push(text.slice(start))
  return chunks
}

/** FNV-1a over the UTF-16 code units: tells a torn text from a whole one, and protects from nobody. */
export function checksumOf(text: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  }
  return hash >>> 0
}
