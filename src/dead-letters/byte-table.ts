import { WORD, type Readable } from "./json-skip.ts"

const HASH_SEED = 0x811c9dc5 | 0
const HASH_PRIME = 0x85ebca6b | 0
/** In place of the length of what is not there. */
const NOTHING = -1

interface Entry<T> {
  readonly words: Int32Array
  readonly value: T
}

/**
 * Values by runs of bytes, found without making a string: `begin`, `take` each run, then `find` or `put`. A cache: when it is full it is
 * emptied, so whoever misses a value makes it again.
 */
export class ByteTable<T> {
  readonly #most: number
  /** Entries stand where their hash says, or in the next free place. */
  readonly #places: (Entry<T> | undefined)[]
  #size = 0
  /** What was taken: each run's length, and its bytes a word at a time. */
  #taken = new Int32Array(1 << 10)
  #length = 0
  #hash = HASH_SEED

  /** Holds at most so many values. */
  constructor(most: number) {
    this.#most = most
    this.#places = new Array<undefined>(2 ** Math.ceil(Math.log2(most * 2))).fill(undefined)
  }

  begin(): void {
    this.#length = 0
    this.#hash = HASH_SEED
  }

  /** Adds the bytes from `from` to `to` to what is looked for; nothing where `from` is negative, which differs from no bytes. */
  take({ bytes, view }: Readable, from: number, to: number): void {
    if (from < 0) {
      this.takeNumber(NOTHING)
      return
    }
    this.takeNumber(to - from)
    if (this.#length + (to - from) / WORD + 1 > this.#taken.length) this.#grow(to - from)
    const taken = this.#taken
    let length = this.#length
    let hash = this.#hash
    let at = from
    for (; at + WORD <= to; at += WORD) hash = mixed(hash, (taken[length++] = view.getInt32(at, true)))
    if (at < to) {
      let rest = 0
      for (; at < to; at++) rest = (rest << 8) | (bytes[at] as number)
      hash = mixed(hash, (taken[length++] = rest))
    }
    this.#hash = hash
    this.#length = length
  }

  /** Adds a whole number of 32 bits to what is looked for. */
  takeNumber(number: number): void {
    if (this.#length === this.#taken.length) this.#grow(WORD)
    this.#taken[this.#length++] = number
    this.#hash = mixed(this.#hash, number)
  }

  find(): T | undefined {
    const entry = this.#places[this.#place()]
    return entry?.value
  }

  /** Keeps a value for what was taken. */
  put(value: T): void {
    if (this.#size >= this.#most) {
      this.#places.fill(undefined)
      this.#size = 0
    }
    this.#size++
    this.#places[this.#place()] = { words: this.#taken.slice(0, this.#length), value }
  }

  /** Where what was taken stands, or is to stand. */
  #place(): number {
    const places = this.#places
    const last = places.length - 1
    for (let at = this.#hash & last; ; at = (at + 1) & last) {
      const entry = places[at]
      if (entry === undefined || this.#matches(entry.words)) return at
    }
  }

  #matches(words: Int32Array): boolean {
    const length = this.#length
    if (words.length !== length) return false
    const taken = this.#taken
    for (let at = 0; at < length; at++) if (words[at] !== taken[at]) return false
    return true
  }

  #grow(length: number): void {
    const larger = new Int32Array(this.#taken.length * 2 + Math.ceil(length / WORD))
    larger.set(this.#taken.subarray(0, this.#length))
    this.#taken = larger
  }
}

function mixed(hash: number, word: number): number {
  const next = Math.imul(hash ^ word, HASH_PRIME)
  return next ^ (next >>> 15)
}
