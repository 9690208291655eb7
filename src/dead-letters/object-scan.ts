const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
const OPEN_ARRAY = 0x5b
const CLOSE_ARRAY = 0x5d
const SPACE = 0x20

/** A key as it stood in the object before, with its quotes and colon. Objects of one writer have the same keys in the same order. */
interface ExpectedKey {
  readonly bytes: Buffer
  /** The same bytes, four at a time, and the last four once more: what can be compared fast. */
  readonly words: Uint32Array
  readonly last: number
  readonly key: number
}

const MOST_EXPECTED = 64
const LONGEST_EXPECTED = 64
/** Bytes of a word. */
const WORD = 4

type KeysByLength = readonly (readonly { readonly bytes: Uint8Array; readonly key: number }[])[]

const byLength = (keys: readonly string[]): KeysByLength =>
  Array.from({ length: Math.max(...keys.map((key) => key.length)) + 1 }, (_, length) =>
    keys.flatMap((key, i) => (key.length === length ? [{ bytes: Buffer.from(key), key: i }] : [])),
  )

/**
 * A JSON object as ranges of its bytes: where the values of some keys begin and end, found in one pass without making an object. Keys
 * go by their number in the list that is asked for. It looks at structure only (quotes, brackets, commas): what is cut off is
 * noticed, what is misspelt inside a value is not. One instance is used for object after object.
 */
export class ObjectScan {
  bytes: Buffer = Buffer.alloc(0)
  start = 0
  end = 0
  readonly #keys: readonly string[]
  readonly #byLength: KeysByLength
  readonly #from: Int32Array
  readonly #to: Int32Array
  readonly #layout: ExpectedKey[] = []
  #view: DataView = new DataView(new ArrayBuffer(0))

  constructor(keys: readonly string[]) {
    this.#keys = keys
    this.#byLength = byLength(keys)
    this.#from = new Int32Array(keys.length)
    this.#to = new Int32Array(keys.length)
  }

  /** Takes in the object at `start` to `end`; false where there is no whole JSON object. */
  read(bytes: Buffer, start: number, end: number): boolean {
    if (this.bytes !== bytes) this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.bytes = bytes
    this.start = start
    this.end = end
    this.#from.fill(-1)
    let at = afterSpace(bytes, start, end)
    if (bytes[at] !== OPEN_OBJECT) return false
    at = afterSpace(bytes, at + 1, end)
    if (bytes[at] === CLOSE_OBJECT) return isBlank(bytes, at + 1, end)
    for (let member = 0; ; member++) {
      at = this.#member(at, member)
      if (at < 0 || at >= end) return false
      const next = bytes[at]
      if (next === CLOSE_OBJECT) return isBlank(bytes, at + 1, end)
      if (next !== COMMA) return false
      at = afterSpace(bytes, at + 1, end)
    }
  }

  /** Where the value of a key begins; -1 where the letter does not have the key. The last of several counts, as for JSON.parse. */
  from(key: number): number {
    return this.#from[key] as number
  }

  to(key: number): number {
    return this.#to[key] as number
  }

  /** The value is a string: its text lies between the quotes. */
  isText(key: number): boolean {
    const from = this.#from[key] as number
    return from >= 0 && this.bytes[from] === QUOTE
  }

  /** The value of a key where that is a string. */
  text(key: number): string | undefined {
    return this.isText(key) ? textAt(this.bytes, this.from(key), this.to(key)) : undefined
  }

  /** The value of a key, whatever it is; undefined where there is none, or where it is not JSON after all. */
  value(key: number): unknown {
    const from = this.from(key)
    return from < 0 ? undefined : parsed(this.bytes.toString("utf8", from, this.to(key)))
  }

  /** The number of elements of the array that is a key's value, as far as it matters: 0 (also where there is none), 1, or 2 for more. */
  elements(key: number): 0 | 1 | 2 {
    const from = this.from(key)
    if (from < 0 || this.bytes[from] !== OPEN_ARRAY) return 0
    const end = this.to(key) - 1
    const first = afterSpace(this.bytes, from + 1, end)
    if (first >= end) return 0
    // It begins and ends with an object, and there is no other: the usual case.
    if (this.bytes[first] === OPEN_OBJECT && this.bytes[end - 1] === CLOSE_OBJECT) {
      const another = this.bytes.indexOf(OPEN_OBJECT, first + 1)
      if (another < 0 || another >= end) return 1
    }
    return afterSpace(this.bytes, afterValue(this.bytes, first, end), end) < end ? 2 : 1
  }

  /** One key with its value, which are noted where they are asked for; where the next token stands, or -1. */
  #member(start: number, member: number): number {
    const { bytes, end } = this
    const expected = this.#layout[member]
    let key: number
    let at: number
    if (expected !== undefined && this.#startsWith(start, expected)) {
      key = expected.key
      at = start + expected.bytes.length
    } else {
      if (bytes[start] !== QUOTE) return -1
      const keyEnd = afterString(bytes, start, end)
      if (keyEnd < 0) return -1
      key = this.#keyAt(start, keyEnd)
      at = afterSpace(bytes, keyEnd, end)
      if (bytes[at] !== COLON) return -1
      at++
      this.#expect(member, start, at, key)
    }
    at = afterSpace(bytes, at, end)
    const valueEnd = this.#afterFlat(at, this.#layout[member + 1]) ?? afterValue(bytes, at, end)
    if (valueEnd < 0) return -1
    if (key >= 0) {
      this.#from[key] = at
      this.#to[key] = valueEnd
    }
    return afterSpace(bytes, valueEnd, end)
  }

  #expect(member: number, start: number, end: number, key: number): void {
    if (member > this.#layout.length || member >= MOST_EXPECTED || end - start > LONGEST_EXPECTED) return
    const bytes = Buffer.from(this.bytes.subarray(start, end))
    if (bytes.length < WORD) return
    const words = Uint32Array.from({ length: bytes.length >> 2 }, (_, n) => bytes.readUInt32BE(n * WORD))
    this.#layout[member] = { bytes, words, last: bytes.readUInt32BE(bytes.length - WORD), key }
  }

  #startsWith(start: number, { bytes, words, last }: ExpectedKey): boolean {
    const view = this.#view
    const lastAt = start + bytes.length - WORD
    if (lastAt + WORD > this.end || view.getUint32(lastAt) !== last) return false
    for (let n = 0; n < words.length; n++) if (view.getUint32(start + n * WORD) !== words[n]) return false
    return true
  }

  /**
   * Where an object or array without further ones of its kind in it ends, found by its bracket alone; undefined where that is not sure. A
   * bracket with a comma and the next key's quoted name behind it cannot lie within a string: there the quotes would be
   * escaped. And where no other bracket was opened, it is the one that closes.
   */
  #afterFlat(start: number, next: ExpectedKey | undefined): number | undefined {
    const { bytes } = this
    const open = bytes[start]
    if (next === undefined || (open !== OPEN_OBJECT && open !== OPEN_ARRAY)) return undefined
    const close = bytes.indexOf(open === OPEN_OBJECT ? CLOSE_OBJECT : CLOSE_ARRAY, start)
    if (close < 0 || close >= this.end || bytes[close + 1] !== COMMA || !this.#startsWith(close + 2, next))
      return undefined
    const another = bytes.indexOf(open, start + 1)
    return another < 0 || another > close ? close + 1 : undefined
  }

  /** Which key stands at `start` (its quote) to `end`; -1 for one that is not asked for. */
  #keyAt(start: number, end: number): number {
    const { bytes } = this
    const length = end - start - 2
    for (const candidate of this.#byLength[length] ?? []) {
      let n = 0
      while (n < length && bytes[start + 1 + n] === candidate.bytes[n]) n++
      if (n === length) return candidate.key
    }
    for (let at = start + 1; at < end; at++)
      if (bytes[at] === BACKSLASH) return this.#keys.indexOf(textAt(bytes, start, end) ?? "")
    return -1
  }
}

/** The string between the quotes at `start` and before `end`. */
export function textAt(bytes: Buffer, start: number, end: number): string | undefined {
  for (let at = start + 1; at < end - 1; at++)
    if (bytes[at] === BACKSLASH) {
      const value = parsed(bytes.toString("utf8", start, end))
      return typeof value === "string" ? value : undefined
    }
  return bytes.toString("utf8", start + 1, end - 1)
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

function afterSpace(bytes: Buffer, start: number, end: number): number {
  let at = start
  while (at < end && (bytes[at] as number) <= SPACE) at++
  return at
}

const isBlank = (bytes: Buffer, start: number, end: number): boolean => afterSpace(bytes, start, end) === end

/** Bytes of a string that are looked at one by one, before asking for the next quote costs less. */
const SHORT_STRING = 48

/** Where the string that begins at `start` has ended; -1 when it does not. */
function afterString(bytes: Buffer, start: number, end: number): number {
  const short = Math.min(end, start + SHORT_STRING)
  let at = start + 1
  while (at < short) {
    const byte = bytes[at++] as number
    if (byte === QUOTE) return at
    if (byte === BACKSLASH) at++
  }
  while (at < end) {
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
function afterValue(bytes: Buffer, start: number, end: number): number {
  const first = bytes[start] as number
  if (start >= end) return -1
  if (first === QUOTE) return afterString(bytes, start, end)
  if (first === OPEN_OBJECT || first === OPEN_ARRAY) return afterNested(bytes, start, end)
  let at = start
  while (at < end && !endsScalar(bytes[at] as number)) at++
  return at > start ? at : -1
}

const endsScalar = (byte: number): boolean =>
  byte === COMMA || byte === CLOSE_OBJECT || byte === CLOSE_ARRAY || byte <= SPACE || byte === QUOTE

function afterNested(bytes: Buffer, start: number, end: number): number {
  let depth = 0
  let at = start
  while (at < end) {
    const byte = bytes[at] as number
    if (byte === QUOTE) {
      at = afterString(bytes, at, end)
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
