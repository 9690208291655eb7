import type { CopyText } from "../engine/pipeline/copy-text.ts"

const LF = 0x0a

/** Copies rows that stay as they are, line after line at once, and others around the bytes that are left out of them. */
export class RowCopier {
  readonly #bytes: Buffer
  readonly #text: CopyText
  /** Pairs of offsets. */
  readonly #gaps: Int32Array
  #gapCount = 0
  /** Bytes of rows that were taken and not yet written. */
  #from = 0
  #to = 0

  /** `gaps`: the most that a row has. */
  constructor(bytes: Buffer, text: CopyText, gaps: number) {
    this.#bytes = bytes
    this.#text = text
    this.#gaps = new Int32Array(2 * gaps)
  }

  begin(): void {
    this.#gapCount = 0
  }

  /** Bytes of the row that was begun, in order. */
  leaveOut(from: number, to: number): void {
    this.#gaps[this.#gapCount++] = from
    this.#gaps[this.#gapCount++] = to
  }

  /** Takes the row that was begun, which ends at `end`. */
  take(start: number, end: number): void {
    if (this.#gapCount > 0 || this.#bytes[end] !== LF) {
      this.flush()
      this.#copyAround(start, end)
      return
    }
    if (start !== this.#to) {
      this.flush()
      this.#from = start
    }
    this.#to = end + 1
  }

  flush(): void {
    if (this.#to > this.#from) this.#text.copy(this.#bytes, this.#from, this.#to)
    this.#from = this.#to
  }

  #copyAround(start: number, end: number): void {
    let from = start
    for (let n = 0; n < this.#gapCount; n += 2) {
      this.#text.copy(this.#bytes, from, this.#gaps[n] as number)
      from = this.#gaps[n + 1] as number
    }
    this.#text.copy(this.#bytes, from, end)
    this.#text.put(LF)
  }
}
