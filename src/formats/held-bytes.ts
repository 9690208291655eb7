/** Memory above this is let go of when little of it is in use: one long record must not keep it for ever. */
const MOST_BYTES_KEPT = 8 * 1024 * 1024
const FIRST_BYTES = 64 * 1024

/**
 * The bytes a decoder was given and has not let go of, in one piece of memory that is used again and again: a chunk of its own
 * for each read would keep the collector busy and the process large. Views stay valid until the next `add`.
 */
export class HeldBytes {
  #memory = Buffer.allocUnsafe(FIRST_BYTES)
  #from = 0
  #to = 0

  get length(): number {
    return this.#to - this.#from
  }

  /** Takes a copy of `chunk`. */
  add(chunk: Uint8Array): void {
    this.#makeRoom(this.length + chunk.length)
    this.#memory.set(chunk, this.#to)
    this.#to += chunk.length
  }

  view(): Buffer {
    return this.#memory.subarray(this.#from, this.#to)
  }

  /** Lets go of the first `count` bytes. */
  drop(count: number): void {
    this.#from += count
  }

  /** Moves what is held to the start of memory that has room for `needed` bytes. */
  #makeRoom(needed: number): void {
    const held = this.view()
    const size = this.#memory.length
    if (needed > size || (size > MOST_BYTES_KEPT && needed * 4 < size))
      this.#memory = Buffer.allocUnsafe(Math.max(FIRST_BYTES, Math.ceil(needed * 1.5)))
    this.#memory.set(held, 0)
    this.#to = held.length
    this.#from = 0
  }
}
