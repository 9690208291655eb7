import type { DecodeFault } from "../core/records.ts"
import type { CsvOffsets } from "./csv-batch.ts"
import { CR, isOddControl, LF, type RecordScanner } from "./csv-scanner.ts"

/** What ends a batch: most records, and the offset from which no record begins; and the longest that a record may be. */
export interface PlainLimits {
  readonly records: number
  readonly bytes: number
  readonly recordBytes: number
}

/** Bytes that are looked at in one step. */
const WORD = 4
const ONES = 0x01010101
const HIGH_BITS = 0x80808080 | 0

/** Memory for the offsets of records and, as the scanner writes them, of their fields. */
interface Offsets {
  starts: Uint32Array<ArrayBuffer>
  ends: Uint32Array<ArrayBuffer>
  lines: Uint32Array<ArrayBuffer>
  fields: Uint32Array<ArrayBuffer>
}

const FIRST_RECORDS = 1024
const FIRST_FIELDS = 1 << 16

const newOffsets = (): Offsets => ({
  starts: new Uint32Array(FIRST_RECORDS),
  ends: new Uint32Array(FIRST_RECORDS),
  lines: new Uint32Array(FIRST_RECORDS),
  fields: new Uint32Array(FIRST_FIELDS),
})

/** Gathers the offsets of the records of batches, one after the other, in two pieces of memory that take turns. */
export class CsvDraft {
  /** Records of the batch under construction. */
  length = 0
  /** Where its records begin, and its fields. */
  #first = 0
  #firstField = 0
  readonly #scanner: RecordScanner
  #width = 0
  #firstLine = 0
  #offsets = newOffsets()
  #other = newOffsets()
  #faults = new Map<number, DecodeFault>()
  /** Whether a record without a fault is odd, as the scanner says. */
  #isOdd = false
  #view: DataView = new DataView(new ArrayBuffer(0))

  constructor(scanner: RecordScanner) {
    this.#scanner = scanner
    scanner.fields = this.#offsets.fields
  }

  /** Starts a batch at physical line `line`, whose records have `width` fields. */
  begin(width: number, line: number): void {
    this.#first += this.length
    this.#firstField += this.length * this.#width
    this.length = 0
    this.#width = width
    this.#firstLine = line
    this.#faults = new Map()
    this.#scanner.isOdd = this.#isOdd = false
  }

  /** The batches gathered before the last call are done with; those since stay as they are until the next. */
  recycle(): void {
    const offsets = this.#offsets
    // The scanner may have made them larger.
    offsets.fields = this.#scanner.fields
    this.#offsets = this.#other
    this.#other = offsets
    this.#scanner.fields = this.#offsets.fields
    this.length = this.#first = this.#firstField = 0
  }

  /** Has the scanner write its fields where those of the next record belong. */
  reserve(): void {
    const slot = this.#firstField + this.length * this.#width
    this.#scanner.slot = slot
    this.#scanner.reserve(slot + this.#width)
  }

  /**
   * Adds the records from `at` on, at physical line `line`, as long as they are plain: no quote in them, fields as many as the batch
   * has columns. Gives where the first one begins that is not, or that does not end within `bytes` or these limits.
   */
  addPlain(bytes: Buffer, from: number, line: number, limits: PlainLimits): number {
    const { delimiter, quote, fields } = this.#scanner
    const { starts, ends, lines } = this.#offsets
    const width = this.#width
    const firstLine = this.#firstLine
    const highest = Math.max(delimiter, quote < 256 ? quote : 0, LF)
    const limit = bytes.length
    const wordsEnd = limit - WORD
    const view = this.#viewOf(bytes)
    const above = (highest + 1) * ONES
    const room = fields.length - width
    const last = Math.min(this.#first + limits.records, starts.length)
    const { bytes: stopBytes, recordBytes } = limits
    let i = this.#first + this.length
    let slot = this.#firstField + this.length * width
    let start = from
    while (i < last && slot <= room && start < stopBytes) {
      const stop = slot + width
      let at = start
      for (; at < limit; at++) {
        for (; at <= wordsEnd; at += WORD) {
          const word = view.getInt32(at, true)
          // The high bit of each byte that is not above the highest one looked for, which is ASCII: no byte borrows from the next.
          const low = ~(((word | HIGH_BITS) - above) | word) & HIGH_BITS
          if (low === 0) continue
          at += (31 - Math.clz32(low & -low)) >> 3
          break
        }
        if (at >= limit) break
        const byte = bytes[at] as number
        if (byte > highest) continue
        if (byte === LF || byte === quote) break
        if (byte !== delimiter) {
          if (isOddControl(bytes, at)) this.#scanner.isOdd = true
          continue
        }
        if (slot < stop) fields[slot] = at
        slot++
      }
      // A line end alone is a blank line, unless the record has one column, which may be blank.
      if (slot !== stop - 1 || at === limit || bytes[at] !== LF || at === start) break
      const end = endOf(bytes, at, width === 1 ? start : (fields[slot - 1] as number) + 1)
      if (end === start || end - start > recordBytes) break
      fields[slot++] = end
      starts[i] = start
      ends[i] = end
      lines[i++] = line++ - firstLine
      start = at + 1
    }
    this.length = i - this.#first
    this.#isOdd = this.#scanner.isOdd
    return start
  }

  #viewOf({ buffer, byteOffset, byteLength }: Buffer): DataView {
    const view = this.#view
    if (view.buffer !== buffer || view.byteOffset !== byteOffset || view.byteLength !== byteLength)
      this.#view = new DataView(buffer, byteOffset, byteLength)
    return this.#view
  }

  /** Adds a record: the offsets of its first byte and its end, its physical line, and what is wrong with it. */
  add(start: number, end: number, line: number, fault: DecodeFault | undefined): void {
    const i = this.#first + this.length
    const { starts, ends, lines } = i < this.#offsets.starts.length ? this.#offsets : this.#grow()
    starts[i] = start
    ends[i] = end
    lines[i] = line - this.#firstLine
    if (fault === undefined) this.#isOdd = this.#scanner.isOdd
    else {
      this.#faults.set(this.length, fault)
      this.#scanner.isOdd = this.#isOdd
    }
    this.length++
  }

  /** The batch, as offsets into `bytes`. */
  offsets(bytes: Buffer): CsvOffsets {
    const from = this.#first
    const to = from + this.length
    const { starts, ends, lines } = this.#offsets
    return {
      bytes,
      starts: starts.subarray(from, to),
      ends: ends.subarray(from, to),
      lines: lines.subarray(from, to),
      fields: this.#scanner.fields.subarray(this.#firstField, this.#firstField + this.length * this.#width),
      isOdd: this.#isOdd,
      faults: this.#faults,
    }
  }

  #grow(): Offsets {
    const offsets = this.#offsets
    offsets.starts = doubled(offsets.starts)
    offsets.ends = doubled(offsets.ends)
    offsets.lines = doubled(offsets.lines)
    return offsets
  }
}

/** The end of a record before the line feed at `feed`, whose last field begins at `from`. */
const endOf = (bytes: Buffer, feed: number, from: number): number =>
  feed > from && bytes[feed - 1] === CR ? feed - 1 : feed

function doubled(array: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(2 * array.length)
  larger.set(array)
  return larger
}
