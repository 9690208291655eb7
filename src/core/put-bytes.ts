const ZERO = 0x30
const BILLION = 1_000_000_000
/** Bytes that are written one by one: calling out for a few costs more than they do, for a range more than for all of a buffer. */
const SHORT = 6
const SHORT_RANGE = 40

/** Writes bytes; gives the offset behind them. */
export function put(out: Uint8Array, at: number, bytes: Uint8Array): number {
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

/** Writes a field's content with each pair of quotes as one; gives the offset behind it. In a quoted field quotes come in pairs only. */
export function putUndoubled(
  out: Uint8Array,
  at: number,
  bytes: Uint8Array,
  from: number,
  to: number,
  quote: number,
): number {
  while (from < to) {
    const byte = bytes[from] as number
    out[at++] = byte
    from += byte === quote ? 2 : 1
  }
  return at
}

/** Writes a whole number, not negative, in decimal digits: without a string for each, which a million rows would notice. */
export function putNumber(out: Uint8Array, at: number, value: number): number {
  if (value < BILLION) return putDigits(out, at, value, 1)
  const high = Math.floor(value / BILLION)
  return putDigits(out, putNumber(out, at, high), value - high * BILLION, 9)
}

/** At least `least` digits of a number below a billion. */
function putDigits(out: Uint8Array, at: number, value: number, least: number): number {
  let count = least
  for (let limit = 10 ** least; limit <= value; limit *= 10) count++
  let rest = value | 0
  for (let n = at + count - 1; n >= at; n--) {
    const tenth = (rest / 10) | 0
    out[n] = ZERO + (rest - tenth * 10)
    rest = tenth
  }
  return at + count
}

const WORD = 8

/**
 * Writes some of the bytes of `source`, a word at a time; gives the offset behind them. What is short costs less this way than byte by byte, and
 * up to 7 bytes behind it are written over: there has to be room for them, and nothing yet.
 */
export function putWords(out: DataView, at: number, source: DataView, from: number, to: number): number {
  const behind = at + to - from
  if (to + WORD > source.byteLength) {
    while (from < to) out.setUint8(at++, source.getUint8(from++))
    return behind
  }
  for (; from < to; from += WORD, at += WORD) out.setBigInt64(at, source.getBigInt64(from, true), true)
  return behind
}

/** Bytes to have room for behind what `putWords` writes. */
export const WORD_SPARE = WORD - 1

/** A view of the same memory. */
export const viewOf = ({ buffer, byteOffset, byteLength }: Uint8Array): DataView =>
  new DataView(buffer, byteOffset, byteLength)
