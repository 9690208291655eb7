/** Copies a field's content with each pair of quotes as one; gives its length. In a quoted field quotes come in pairs only. */
export function withoutDoubling(bytes: Uint8Array, from: number, to: number, out: Uint8Array, quote: number): number {
  let at = 0
  while (from < to) {
    const byte = bytes[from] as number
    out[at++] = byte
    from += byte === quote ? 2 : 1
  }
  return at
}
