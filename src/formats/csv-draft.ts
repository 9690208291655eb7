import type { DecodeFault } from "../core/records.ts"
import type { CsvOffsets } from "./csv-batch.ts"
import type { RecordScanner } from "./csv-scanner.ts"

/** Gathers the offsets of the records of one batch, in memory that is used again for the next. */
export class CsvDraft {
  length = 0
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
    this.length = 0
    this.#width = width
    this.#firstLine = line
    this.#faults = new Map()
  }

  /** Has the scanner write its fields where those of the next record belong. */
  reserve(): void {
    this.#scanner.slot = this.length * this.#width
    this.#scanner.reserve((this.length + 1) * this.#width)
  }

  /** Adds a record: the offsets of its first byte and its end, its physical line, and what is wrong with it. */
  add(start: number, end: number, line: number, fault: DecodeFault | undefined): void {
    const i = this.length++
    if (i === this.#starts.length) this.#grow()
    this.#starts[i] = start
    this.#ends[i] = end
    this.#lines[i] = line - this.#firstLine
    if (fault !== undefined) this.#faults.set(i, fault)
  }

  /** What was gathered, as offsets into `bytes`; stays as it is when the next batch begins. */
  offsets(bytes: Buffer): CsvOffsets {
    return {
      bytes,
      starts: this.#starts.slice(0, this.length),
      ends: this.#ends.slice(0, this.length),
      lines: this.#lines.slice(0, this.length),
      fields: this.#scanner.fields.slice(0, this.length * this.#width),
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
