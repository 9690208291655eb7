export const TAB = 0x09
export const LINE_FEED = 0x0a
export const BACKSLASH = 0x5c
/** The letter that stands for a byte behind a backslash: `\t`, `\n`, `\r`, `\\`. */
const ESCAPED: Readonly<Record<number, number>> = { 0x09: 0x74, 0x0a: 0x6e, 0x0d: 0x72, [BACKSLASH]: BACKSLASH }
export const ZERO = 0x30
const BILLION = 1_000_000_000

/** What stands for a missing value behind a backslash. */
const LETTER_N = 0x4e

export function putNull(out: Buffer, at: number): number {
  out[at++] = BACKSLASH
  out[at++] = LETTER_N
  return at
}

/** Copies a field as COPY's text format writes it between such delimiters. */
export function putEscaped(
  out: Buffer,
  at: number,
  bytes: Uint8Array,
  from: number,
  to: number,
  delimiter: number,
): number {
  for (; from < to; from++) {
    const byte = bytes[from] as number
    const letter = ESCAPED[byte] ?? (byte === delimiter ? byte : undefined)
    if (letter !== undefined) out[at++] = BACKSLASH
    out[at++] = letter ?? byte
  }
  return at
}

export function put(out: Buffer, at: number, bytes: Uint8Array): number {
  for (let n = 0; n < bytes.length; n++) out[at++] = bytes[n] as number
  return at
}

/** A whole number, not negative, in decimal digits: without a string for each, which a million rows would notice. */
export function putNumber(out: Buffer, at: number, value: number): number {
  if (value < BILLION) return putDigits(out, at, value, 1)
  const high = Math.floor(value / BILLION)
  return putDigits(out, putNumber(out, at, high), value - high * BILLION, 9)
}

/** At least `least` digits of a number below a billion. */
function putDigits(out: Buffer, at: number, value: number, least: number): number {
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

/** A line of COPY text with tabs, with other delimiters instead. */
export function between(line: string, delimiter: number): string {
  if (delimiter === TAB) return line
  const mark = String.fromCharCode(delimiter)
  return line.replace(/[\t,;|]/g, (byte) => (byte === "\t" ? mark : byte === mark ? `\\${byte}` : byte))
}
