import {
  afterSpace,
  afterString,
  afterValue,
  BACKSLASH,
  CLOSE_ARRAY,
  CLOSE_OBJECT,
  COLON,
  COMMA,
  eachElement,
  isBlank,
  OPEN_ARRAY,
  OPEN_OBJECT,
  parsed,
  QUOTE,
  SPACE,
  textAt,
  WORD,
} from "./json-skip.ts"
import { KnownRuns, type KnownRun } from "./known-runs.ts"

/** A key as it stood in the object before, with its quotes and colon. Objects of one writer have the same keys in the same order. */
interface ExpectedKey {
  readonly length: number
  /** Its bytes, four at a time, and the last four once more: what can be compared fast. */
  readonly words: Int32Array
  readonly last: number
  readonly key: number
  /** Looking for a known run is worth it here; one that began earlier ends here. */
  readonly beginsRun: boolean
  readonly endsRun: boolean
}

const MOST_EXPECTED = 64
const LONGEST_EXPECTED = 64

type KeysByLength = readonly (readonly { readonly bytes: Uint8Array; readonly key: number }[])[]

const byLength = (keys: readonly string[]): KeysByLength =>
  Array.from({ length: Math.max(...keys.map((key) => key.length)) + 1 }, (_, length) =>
    keys.flatMap((key, i) => (key.length === length ? [{ bytes: Buffer.from(key), key: i }] : [])),
  )

/** Members that are often the same again, byte for byte: from one key to before another; to the end of the object where there is none. */
export interface RunOfKeys {
  readonly from: string
  readonly before?: string
}

/**
 * A JSON object as ranges of its bytes: where the values of some keys begin and end, found in one pass without making an object. Keys
 * go by their number in the list that is asked for. It looks at structure only (quotes, brackets, commas): what is cut off is
 * noticed, what is misspelt inside a value is not. One instance is used for object after object.
 */
export class ObjectScan {
  bytes: Buffer = Buffer.alloc(0)
  /** Of the same memory. */
  view: DataView = new DataView(new ArrayBuffer(0))
  start = 0
  end = 0
  readonly #keys: readonly string[]
  readonly #byLength: KeysByLength
  readonly #from: Int32Array
  readonly #to: Int32Array
  readonly #layout: ExpectedKey[] = []
  readonly #runBegins: ReadonlySet<number>
  readonly #runEnds: ReadonlySet<number>
  readonly #known = new KnownRuns()
  /** The first known run in this object, and where it begins. */
  #run: KnownRun | undefined
  #runAt = 0
  /** Where a run began that is not known, and at which member; -1 where none did. */
  #begunAt = -1
  #begunMember = 0

  constructor(keys: readonly string[], runs: readonly RunOfKeys[] = []) {
    this.#keys = keys
    this.#byLength = byLength(keys)
    this.#from = new Int32Array(keys.length)
    this.#to = new Int32Array(keys.length)
    this.#runBegins = new Set(runs.map((run) => keys.indexOf(run.from)))
    this.#runEnds = new Set(runs.flatMap((run) => (run.before === undefined ? [] : [keys.indexOf(run.before)])))
  }

  /** Takes in the object at `start` to `end`; false where there is no whole JSON object. */
  read(bytes: Buffer, start: number, end: number): boolean {
    if (this.bytes !== bytes) this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.bytes = bytes
    this.start = start
    this.end = end
    this.#from.fill(-1)
    this.#run = undefined
    this.#begunAt = -1
    let at = afterSpace(bytes, start, end)
    if (bytes[at] !== OPEN_OBJECT) return false
    at = afterSpace(bytes, at + 1, end)
    if (bytes[at] === CLOSE_OBJECT) return isBlank(bytes, at + 1, end)
    for (let member = 0; ; member++) {
      const expected = this.#layout[member]
      if (expected?.endsRun === true && this.#begunAt >= 0) this.#keepRun(at, member, false)
      const run = expected?.beginsRun === true ? this.#knownRun(at, member) : undefined
      if (run !== undefined) {
        at += run.length
        if (run.isEnd) return isBlank(bytes, at, end)
        member += run.members
      }
      at = this.#member(at, member)
      if (at < 0 || at >= end) return false
      const next = bytes[at]
      if (next === CLOSE_OBJECT) {
        if (this.#begunAt >= 0) this.#keepRun(at + 1, member, true)
        return isBlank(bytes, at + 1, end)
      }
      if (next !== COMMA) return false
      at++
      if ((bytes[at] as number) <= SPACE) at = afterSpace(bytes, at, end)
    }
  }

  /** Where the value of a key begins; -1 where the letter does not have the key. The last of several counts, as for JSON.parse. */
  from(key: number): number {
    return this.#from[key] as number
  }

  to(key: number): number {
    return this.#to[key] as number
  }

  /** The number of the first known run of members in this object; -1 where there is none. */
  get runNumber(): number {
    return this.#run === undefined ? -1 : this.#run.number
  }

  /** Whether the value of a key lies in that run: then the run's number tells it. */
  inRun(key: number): boolean {
    const run = this.#run
    if (run === undefined) return false
    const from = this.from(key)
    return from >= this.#runAt && from < this.#runAt + run.length
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
    return afterSpace(this.bytes, afterValue(this, first, end), end) < end ? 2 : 1
  }

  /** Gives where each element of the array that is a key's value begins and ends; none where it is no array. */
  eachItem(key: number, take: (from: number, to: number) => void): void {
    const from = this.from(key)
    if (from >= 0 && this.bytes[from] === OPEN_ARRAY) eachElement(this, from, this.to(key), take)
  }

  /** The run of members that stands at `start`, if it is one that is known; its keys are then noted. */
  #knownRun(start: number, member: number): KnownRun | undefined {
    if (!this.#known.worthwhile) return undefined
    const run = this.#known.find(this.view, start, this.end)
    if (run === undefined) {
      this.#begunAt = start
      this.#begunMember = member
      return undefined
    }
    if (this.#run === undefined) {
      this.#run = run
      this.#runAt = start
    }
    const { ranges } = run
    for (let n = 0; n < ranges.length; n += 3) {
      const key = ranges[n] as number
      this.#from[key] = start + (ranges[n + 1] as number)
      this.#to[key] = start + (ranges[n + 2] as number)
    }
    return run
  }

  #keepRun(end: number, member: number, isEnd: boolean): void {
    const start = this.#begunAt
    const ranges = this.#keys.flatMap((_, key) => {
      const from = this.from(key)
      return from >= start && from < end ? [key, from - start, this.to(key) - start] : []
    })
    const members = member - this.#begunMember
    this.#known.put(this.view, start, end, { members, ranges: Int32Array.from(ranges), isEnd })
    this.#begunAt = -1
  }

  /** One key with its value, which are noted where they are asked for; where the next token stands, or -1. */
  #member(start: number, member: number): number {
    const { bytes, end } = this
    const expected = this.#layout[member]
    let key: number
    let at: number
    if (expected !== undefined && this.#startsWith(start, expected)) {
      key = expected.key
      at = start + expected.length
    } else {
      if (bytes[start] !== QUOTE) return -1
      const keyEnd = afterString(this, start, end)
      if (keyEnd < 0) return -1
      key = this.#keyAt(start, keyEnd)
      at = afterSpace(bytes, keyEnd, end)
      if (bytes[at] !== COLON) return -1
      at++
      this.#expect(member, start, at, key)
    }
    if ((bytes[at] as number) <= SPACE) at = afterSpace(bytes, at, end)
    const valueEnd =
      bytes[at] === QUOTE
        ? afterString(this, at, end)
        : (this.#afterFlat(at, this.#layout[member + 1]) ?? afterValue(this, at, end))
    if (valueEnd < 0) return -1
    if (key >= 0) {
      this.#from[key] = at
      this.#to[key] = valueEnd
    }
    return (bytes[valueEnd] as number) <= SPACE ? afterSpace(bytes, valueEnd, end) : valueEnd
  }

  #expect(member: number, start: number, end: number, key: number): void {
    const length = end - start
    if (member > this.#layout.length || member >= MOST_EXPECTED || length > LONGEST_EXPECTED || length < WORD) return
    const { view } = this
    const words = Int32Array.from({ length: length >> 2 }, (_, n) => view.getInt32(start + n * WORD, true))
    const [beginsRun, endsRun] = [this.#runBegins.has(key), this.#runEnds.has(key)]
    this.#layout[member] = { length, words, last: view.getInt32(end - WORD, true), key, beginsRun, endsRun }
  }

  #startsWith(start: number, { length, words, last }: ExpectedKey): boolean {
    const { view } = this
    const lastAt = start + length - WORD
    if (lastAt + WORD > this.end || view.getInt32(lastAt, true) !== last) return false
    for (let n = 0; n < words.length; n++) if (view.getInt32(start + n * WORD, true) !== words[n]) return false
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
