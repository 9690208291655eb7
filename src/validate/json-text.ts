const QUOTE = 0x22
const BACKSLASH = 0x5c
/** Bytes of a text that JSON writes in another way: the letter behind the backslash, 0 for none, `ODD` for what is seldom in one. */
const ODD = 0xff
const ESCAPES = new Uint8Array(256).map((_, byte) => {
  switch (byte) {
    case 0x09:
      return 0x74
    case 0x0a:
      return 0x6e
    case 0x0d:
      return 0x72
    case QUOTE:
    case BACKSLASH:
      return byte
    default:
      return byte < 0x20 ? ODD : 0
  }
})

/** Whether `putJsonText` can write these bytes: they hold no control character that JSON writes by number. */
export function isJsonText(bytes: Uint8Array, from: number, to: number): boolean {
  for (; from < to; from++) if (ESCAPES[bytes[from] as number] === ODD) return false
  return true
}

/**
 * Writes UTF-8 as a text of JSON, without the quotes around it; `doubled`: two quotes are one. Gives the offset behind it. To be
 * asked of `isJsonText` first. Escapes may double what it takes.
 */
export function putJsonText(
  out: Uint8Array,
  at: number,
  bytes: Uint8Array,
  from: number,
  to: number,
  doubled: boolean,
): number {
  for (; from < to; from++) {
    const byte = bytes[from] as number
    const escape = ESCAPES[byte] as number
    if (escape !== 0) {
      if (doubled && byte === QUOTE) from++
      out[at++] = BACKSLASH
      out[at++] = escape
    } else out[at++] = byte
  }
  return at
}
