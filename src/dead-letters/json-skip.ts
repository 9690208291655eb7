export const QUOTE = 0x22
export const BACKSLASH = 0x5c
export const COMMA = 0x2c
export const COLON = 0x3a
export const OPEN_OBJECT = 0x7b
export const CLOSE_OBJECT = 0x7d
export const OPEN_ARRAY = 0x5b
export const CLOSE_ARRAY = 0x5d
export const SPACE = 0x20

/** Bytes of a word: what is looked at in one step. */
export const WORD = 4
const QUOTES = 0x22222222
const BACKSLASHES = 0x5c5c5c5c
const LOW_BITS = 0x01010101
const HIGH_BITS = 0x80808080

/** Bytes with a view of the same memory, for reading words. */
export interface Readable {
  readonly bytes: Buffer
  readonly view: DataView
}

export function afterSpace(bytes: Buffer, start: number, end: number): number {
  let at = start
  while (at < end && (bytes[at] as number) <= SPACE) at++
  return at
}

export const isBlank = (bytes: Buffer, start: number, end: number): boolean => afterSpace(bytes, start, end) === end

/** Bytes of a string that are looked at by words, before asking for the next quote costs less. */
const SHORT_STRING = 512

/** Where the string that begins at `start` has ended; -1 when it does not. */
export function afterString(text: Readable, start: number, end: number): number {
  const { bytes, view } = text
  const short = Math.min(end, start + SHORT_STRING) - WORD
  let at = start + 1
  while (at <= short) {
    const word = view.getInt32(at, true)
    const hit = (hasByte(word ^ QUOTES) | hasByte(word ^ BACKSLASHES)) & HIGH_BITS
    if (hit === 0) at += WORD
    else {
      // The lowest hit is sure; those above it may be carries.
      at += (31 - Math.clz32(hit & -hit)) >> 3
      if (bytes[at] === QUOTE) return at + 1
      at += 2
    }
  }
  while (at < end) {
    const byte = bytes[at++] as number
    if (byte === QUOTE) return at
    if (byte === BACKSLASH) at++
    else if (at > start + SHORT_STRING) return afterLongString(bytes, at, end)
  }
  return -1
}

/** High bits of the bytes that are zero, among other bits. */
const hasByte = (word: number): number => (word - LOW_BITS) & ~word

/** The same, where `start` lies within the string and no backslash stands before it. */
function afterLongString(bytes: Buffer, start: number, end: number): number {
  for (let at = start; at < end;) {
    const quote = bytes.indexOf(QUOTE, at)
    if (quote < 0 || quote >= end) return -1
    if (!isEscaped(bytes, at, quote)) return quote + 1
    at = quote + 1
  }
  return -1
}

/** Whether an odd number of backslashes stands before `at`, back to `start`, which is itself not escaped. */
function isEscaped(bytes: Buffer, start: number, at: number): boolean {
  let before = at
  while (before > start && bytes[before - 1] === BACKSLASH) before--
  return (at - before) % 2 === 1
}

/** Where the value that begins at `start` has ended; -1 when it does not, or nothing begins there. */
export function afterValue(text: Readable, start: number, end: number): number {
  const { bytes } = text
  const first = bytes[start] as number
  if (start >= end) return -1
  if (first === QUOTE) return afterString(text, start, end)
  if (first === OPEN_OBJECT || first === OPEN_ARRAY) return afterNested(text, start, end)
  let at = start
  while (at < end && !endsScalar(bytes[at] as number)) at++
  return at > start ? at : -1
}

const endsScalar = (byte: number): boolean =>
  byte === COMMA || byte === CLOSE_OBJECT || byte === CLOSE_ARRAY || byte <= SPACE || byte === QUOTE

function afterNested(text: Readable, start: number, end: number): number {
  const { bytes } = text
  let depth = 0
  let at = start
  while (at < end) {
    const byte = bytes[at] as number
    if (byte === QUOTE) {
      at = afterString(text, at, end)
      if (at < 0) return -1
      continue
    }
    if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) depth++
    else if (byte === CLOSE_OBJECT || byte === CLOSE_ARRAY) {
      depth--
      if (depth === 0) return at + 1
    }
    at++
  }
  return -1
}

/** Gives where each element of the array from `start` to `end` begins and ends, as far as it is an array. */
export function eachElement(
  text: Readable,
  start: number,
  end: number,
  take: (from: number, to: number) => void,
): void {
  const { bytes } = text
  for (let at = afterSpace(bytes, start + 1, end); at < end && bytes[at] !== CLOSE_ARRAY;) {
    const to = afterValue(text, at, end)
    if (to < 0) return
    take(at, to)
    at = afterSpace(bytes, to, end)
    if (bytes[at] !== COMMA) return
    at = afterSpace(bytes, at + 1, end)
  }
}

/** The string between the quotes at `start` and before `end`; undefined where its escapes are wrong. */
export function textAt(bytes: Buffer, start: number, end: number): string | undefined {
  for (let at = start + 1; at < end - 1; at++)
    if (bytes[at] === BACKSLASH) {
      const value = parsed(bytes.toString("utf8", start, end))
      return typeof value === "string" ? value : undefined
    }
  return bytes.toString("utf8", start + 1, end - 1)
}

/** The value that a JSON text says; undefined where it is none. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}
