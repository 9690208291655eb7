import type { DecodeFault } from "../core/records.ts"
import type { CsvOffsets } from "./csv-batch.ts"
import type { RecordScanner } from "./csv-scanner.ts"

/** Gathers the offsets of the records of batches, one after the other in the same memory until it is recycled. */
export class CsvDraft {
  /** Records of the batch under construction. */
  length = 0
  /** Where its records begin, and its fields. */
  #first = 0
  #firstField = 0
  readonly #scanner: RecordScanner
  #width = 0
  #firstLine = 0
  #starts = new Uint32Array(1024)
  #ends = new Uint32Array(1024)
  #lines = new Uint32Array(1024)
  #faults = new Map<number, DecodeFault>()

  constructor(scanner: RecordScanner) {
    this.#scanner = scanner
  }

  /** Starts a batch at physical line `line`, whose records have `width` fields. */
  begin(width: number, line: number): void {
    this.#first += this.length
    this.#firstField += this.length * this.#width
    this.length = 0
    this.#width = width
    this.#firstLine = line
    this.#faults = new Map()
  }

  /** The batches gathered so far are done with. */
  recycle(): void {
    this.length = this.#first = this.#firstField = 0
  }

  /** Has the scanner write its fields where those of the next record belong. */
  reserve(): void {
    const slot = this.#firstField + this.length * this.#width
    this.#scanner.slot = slot
    this.#scanner.reserve(slot + this.#width)
  }

  /** Adds a record: the offsets of its first byte and its end, its physical line, and what is wrong with it. */
  add(start: number, end: number, line: number, fault: DecodeFault | undefined): void {
    const i = this.#first + this.length
    if (i === this.#starts.length) this.#grow()
    this.#starts[i] = start
    this.#ends[i] = end
    this.#lines[i] = line - this.#firstLine
    if (fault !== undefined) this.#faults.set(this.length, fault)
    this.length++
  }

  /** The batch, as offsets into `bytes`; stays as it is until `recycle`. */
  offsets(bytes: Buffer): CsvOffsets {
    const from = this.#first
    const to = from + this.length
    return {
      bytes,
      starts: this.#starts.subarray(from, to),
      ends: this.#ends.subarray(from, to),
      lines: this.#lines.subarray(from, to),
      fields: this.#scanner.fields.subarray(this.#firstField, this.#firstField + this.length * this.#width),
      faults: this.#faults,
    }
  }

  #grow(): void {
    this.#starts = doubled(this.#starts)
    this.#ends = doubled(this.#ends)
    this.#lines = doubled(this.#lines)
  }
}

function doubled(array: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(2 * array.length)
  larger.set(array)
  return larger
}
