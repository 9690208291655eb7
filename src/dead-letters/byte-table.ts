const HASH_SEED = 0x811c9dc5
const HASH_PRIME = 0x85ebca6b
/** Between two runs of bytes; no byte of UTF-8. */
const SEPARATOR = 0xff

interface Entry<T> {
  readonly bytes: Buffer
  readonly value: T
}

/**
 * Values by runs of bytes, found without making a string: `begin`, `take` each run, then `find` or `put`. A cache: when it is full it is
 * emptied, so whoever misses a value makes it again.
 */
export class ByteTable<T> {
  readonly #most: number
  readonly #entries = new Map<number, Entry<T>[]>()
  #size = 0
  #scratch = Buffer.alloc(1 << 12)
  #length = 0
  #hash = HASH_SEED

  /** Holds at most so many values. */
  constructor(most: number) {
    this.#most = most
  }

  begin(): void {
    this.#length = 0
    this.#hash = HASH_SEED
  }

  /** Adds the bytes from `from` to `to` to what is looked for; nothing where `from` is negative, which differs from no bytes. */
  take(bytes: Buffer, from: number, to: number): void {
    const length = from < 0 ? 0 : to - from
    if (this.#length + length + 1 > this.#scratch.length) this.#grow(length)
    if (from >= 0) this.#copy(bytes, from, to)
    this.#hash = Math.imul(this.#hash ^ SEPARATOR ^ length, HASH_PRIME)
    this.#scratch[this.#length++] = SEPARATOR
  }

  /** Four bytes go into the hash at a time: one multiplication has to wait for the other. */
  #copy(bytes: Buffer, from: number, to: number): void {
    const scratch = this.#scratch
    let hash = this.#hash
    let at = this.#length
    let i = from
    for (; i + 4 <= to; i += 4, at += 4) {
      const a = (scratch[at] = bytes[i] as number)
      const b = (scratch[at + 1] = bytes[i + 1] as number)
      const c = (scratch[at + 2] = bytes[i + 2] as number)
      const d = (scratch[at + 3] = bytes[i + 3] as number)
      hash = mixed(hash, a | (b << 8) | (c << 16) | (d << 24))
    }
    for (; i < to; i++) hash = mixed(hash, (scratch[at++] = bytes[i] as number))
    this.#hash = hash
    this.#length = at
  }

  find(): T | undefined {
    const found = this.#entries.get(this.#hash)
    if (found === undefined) return undefined
    for (const entry of found) if (this.#matches(entry.bytes)) return entry.value
    return undefined
  }

  /** Keeps a value for what was taken. */
  put(value: T): void {
    if (this.#size >= this.#most) {
      this.#entries.clear()
      this.#size = 0
    }
    this.#size++
    const entry = { bytes: Buffer.from(this.#scratch.subarray(0, this.#length)), value }
    const others = this.#entries.get(this.#hash)
    if (others === undefined) this.#entries.set(this.#hash, [entry])
    else others.push(entry)
  }

  #matches(bytes: Buffer): boolean {
    if (bytes.length !== this.#length) return false
    const scratch = this.#scratch
    for (let at = 0; at < bytes.length; at++) if (bytes[at] !== scratch[at]) return false
    return true
  }

  #grow(length: number): void {
    const larger = Buffer.alloc(Math.max(this.#scratch.length * 2, this.#length + length + 1))
    this.#scratch.copy(larger, 0, 0, this.#length)
    this.#scratch = larger
  }
}

function mixed(hash: number, word: number): number {
  const next = Math.imul(hash ^ word, HASH_PRIME)
  return next ^ (next >>> 15)
}
