import { putRange } from "../../core/put-bytes.ts"

/** Lines gathered as a string until they are worth a write: many small strings that live on would keep the collector busy. */
const GATHERED_LINES = 64
const FIRST_BYTES = 256 * 1024
/** A larger one is not kept for what comes next. */
const MOST_BYTES_KEPT = 4 * 1024 * 1024

/** COPY text under construction: bytes, not a string per line. */
export class CopyText {
  /** Room for text; `length` of it is written. Whoever writes here calls `room` first. */
  bytes: Buffer
  length = 0
  #sent = 0
  #gathered = ""
  #count = 0

  /** `memory`: that of a text which nobody reads any more. */
  constructor(memory?: Buffer) {
    this.bytes = memory ?? Buffer.allocUnsafe(FIRST_BYTES)
  }

  /** Its memory for another text, when this one is done with; undefined where it has grown out of measure. */
  get memory(): Buffer | undefined {
    return this.bytes.length <= MOST_BYTES_KEPT ? this.bytes : undefined
  }

  add(line: string): void {
    this.#gathered += line
    if (++this.#count >= GATHERED_LINES) this.#write()
  }

  /** Makes room for `more` bytes behind what was added so far. */
  room(more: number): void {
    if (this.#count > 0) this.#write()
    const needed = this.length + more
    if (needed <= this.bytes.length) return
    const larger = Buffer.allocUnsafe(Math.max(needed, this.bytes.length * 2))
    this.bytes.copy(larger, 0, 0, this.length)
    this.bytes = larger
  }

  /** Adds bytes of `source`. */
  copy(source: Buffer, from: number, to: number): void {
    this.room(to - from)
    this.length = putRange(this.bytes, this.length, source, from, to)
  }

  /** Adds a byte. */
  put(byte: number): void {
    this.room(1)
    this.bytes[this.length++] = byte
  }

  /** Hands on what has come since the last time. */
  sendTo(send: (lines: Buffer) => void): void {
    this.#write()
    if (this.length > this.#sent) send(this.bytes.subarray(this.#sent, this.length))
    this.#sent = this.length
  }

  /** Removes the last `lines` lines, which have not been handed on. */
  takeBack(lines: number): void {
    this.#write()
    for (let n = 0; n < lines; n++) this.length = this.bytes.lastIndexOf(0x0a, this.length - 2) + 1
  }

  text(): Buffer {
    this.#write()
    return this.bytes.subarray(0, this.length)
  }

  #write(): void {
    const gathered = this.#gathered
    if (gathered === "") return
    this.#gathered = ""
    this.#count = 0
    // Three bytes is the most that one UTF-16 unit takes in UTF-8.
    this.room(gathered.length * 3)
    this.length += this.bytes.write(gathered, this.length)
  }
}
