export const TAB = 0x09
export const LINE_FEED = 0x0a
export const BACKSLASH = 0x5c
/** The letter that stands for a byte behind a backslash: `\t`, `\n`, `\r`, `\\`. */
const ESCAPED: Readonly<Record<number, number>> = { 0x09: 0x74, 0x0a: 0x6e, 0x0d: 0x72, [BACKSLASH]: BACKSLASH }
export const ZERO = 0x30

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

/** A line of COPY text with tabs, with other delimiters instead. */
export function between(line: string, delimiter: number): string {
  if (delimiter === TAB) return line
  const mark = String.fromCharCode(delimiter)
  return line.replace(/[\t,;|]/g, (byte) => (byte === "\t" ? mark : byte === mark ? `\\${byte}` : byte))
}
