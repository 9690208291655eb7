/** Memory above this is let go of when little of it is in use: one long record must not keep it for ever. */
const MOST_BYTES_KEPT = 8 * 1024 * 1024
const FIRST_BYTES = 64 * 1024

/**
 * The bytes a decoder was given and has not let go of, in two pieces of memory that take turns: a chunk of its own for each read
 * would keep the collector busy and the process large. Views stay valid through the next `add`, until the one after it.
 */
export class HeldBytes {
  #memory = Buffer.allocUnsafe(FIRST_BYTES)
  #other = Buffer.allocUnsafe(FIRST_BYTES)
  #from = 0
  #to = 0

  get length(): number {
    return this.#to - this.#from
  }

  /** Takes a copy of `chunk`. */
  add(chunk: Uint8Array): void {
    const held = this.view()
    const memory = withRoom(this.#other, held.length + chunk.length)
    memory.set(held, 0)
    memory.set(chunk, held.length)
    this.#other = this.#memory
    this.#memory = memory
    this.#from = 0
    this.#to = held.length + chunk.length
  }

  view(): Buffer {
    return this.#memory.subarray(this.#from, this.#to)
  }

  /** Lets go of the first `count` bytes. */
  drop(count: number): void {
    this.#from += count
  }
}

/** This memory, or another piece where it is too small, or far too large. */
function withRoom(memory: Buffer<ArrayBuffer>, needed: number): Buffer<ArrayBuffer> {
  const fits = needed <= memory.length && (memory.length <= MOST_BYTES_KEPT || needed * 4 >= memory.length)
  return fits ? memory : Buffer.allocUnsafe(Math.max(FIRST_BYTES, Math.ceil(needed * 1.5)))
}
