const QUOTE = 0x22
const BACKSLASH = 0x5c
const ZERO = 0x30
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

/**
 * Writes UTF-8 as a text of JSON, without the quotes around it; `doubled`: two quotes are one. Gives the offset behind it, or -1
 * for what is seldom in a text. Escapes may double what it takes.
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
      if (escape === ODD) return -1
      if (doubled && byte === QUOTE) from++
      out[at++] = BACKSLASH
      out[at++] = escape
    } else out[at++] = byte
  }
  return at
}

const SMALL = 2 ** 31 - 1

/** Writes a whole number that is not negative; gives the offset behind it. */
export function putInteger(out: Uint8Array, at: number, value: number): number {
  let digits = 1
  for (let limit = 10; value >= limit; limit *= 10) digits++
  let place = at + digits
  let rest = value
  // A division of small numbers costs a fraction of one of large ones.
  for (; rest > SMALL; rest = Math.floor(rest / 10)) out[--place] = ZERO + (rest % 10)
  for (let small = rest | 0; place > at; small = (small / 10) | 0) out[--place] = ZERO + (small % 10)
  return at + digits
}

/** Bytes that are copied one by one: calling out for a few costs more than they do. */
const SHORT = 6
const SHORT_RANGE = 40

/** Writes bytes; gives the offset behind them. */
export function putBytes(out: Uint8Array, at: number, bytes: Uint8Array): number {
  if (bytes.length > SHORT) out.set(bytes, at)
  else for (let n = 0; n < bytes.length; n++) out[at + n] = bytes[n] as number
  return at + bytes.length
}

/** Writes some of the bytes of `source`; gives the offset behind them. */
export function putRange(out: Uint8Array, at: number, source: Buffer, from: number, to: number): number {
  const behind = at + to - from
  if (to - from > SHORT_RANGE) source.copy(out, at, from, to)
  else while (from < to) out[at++] = source[from++] as number
  return behind
}
