import type { DecoderOptions } from "../core/contracts.ts"
import type { DecodeFault, Batch } from "../core/records.ts"
import { startingCursor, type BatchLimits, type Cursor, type Cut, type RecordCutter } from "./chunked-decoder.ts"
import { JsonlBatch } from "./jsonl-batch.ts"
import { tooLong, type OversizeLine } from "./oversize-line.ts"

const TAB = 9
const LF = 10
const CR = 13
const SPACE = 32
/** A line end is at most two bytes. */
const LINE_END = 2

/** Cuts lines; what they hold is for the batch to tell. */
export class JsonlCutter implements RecordCutter {
  readonly cursor: Cursor
  readonly columns = undefined
  readonly #limits: BatchLimits
  readonly #maxRecordBytes: number
  readonly #exact: ReadonlySet<string>
  /** The offset up to which batches have told their bytes. */
  #told: number

  constructor(limits: BatchLimits, options: DecoderOptions) {
    this.#limits = limits
    this.#maxRecordBytes = options.maxRecordBytes
    this.#exact = options.exact
    this.cursor = startingCursor(options)
    this.#told = this.cursor.offset
  }

  cut(bytes: Buffer, final: boolean): Cut {
    const from = { ...this.cursor }
    const starts: number[] = []
    const ends: number[] = []
    const lines: number[] = []
    let at = 0
    let halt: "incomplete" | "oversize" | undefined
    while (starts.length < this.#limits.records && at < this.#limits.bytes && at < bytes.length) {
      const feed = bytes.indexOf(LF, at)
      if (feed < 0 && !final) {
        halt = bytes.length - at < this.#maxRecordBytes + LINE_END ? "incomplete" : "oversize"
        break
      }
      const stop = feed < 0 ? bytes.length : feed
      const end = stop > at && bytes[stop - 1] === CR ? stop - 1 : stop
      if (end - at > this.#maxRecordBytes) {
        halt = "oversize"
        break
      }
      if (!isBlank(bytes, at, end)) {
        starts.push(at)
        ends.push(end)
        lines.push(this.cursor.line)
      }
      this.cursor.line++
      at = feed < 0 ? bytes.length : feed + 1
    }
    this.cursor.offset = from.offset + at
    if (halt !== undefined && starts.length === 0) return { kind: halt, bytes: at }
    if (starts.length === 0) return { kind: "taken", bytes: at, batch: undefined }
    const view = bytes.subarray(0, at)
    return { kind: "taken", bytes: at, batch: this.#batch(view, { starts, ends, lines }, from.offset, undefined) }
  }

  oversize(line: OversizeLine): Batch {
    const from = { ...this.cursor }
    this.cursor.offset += line.taken
    this.cursor.line++
    const head = Buffer.from(line.head.buffer, line.head.byteOffset, line.head.byteLength)
    const only = { starts: [0], ends: [head.length], lines: [from.line] }
    return this.#batch(head, only, from.offset, tooLong(line, this.#maxRecordBytes))
  }

  recycle(): void {
    // Lines are gathered anew for each batch.
  }

  #batch(
    bytes: Buffer,
    records: { starts: readonly number[]; ends: readonly number[]; lines: readonly number[] },
    offset: number,
    fault: DecodeFault | undefined,
  ): Batch {
    const taken = this.cursor.offset - this.#told
    this.#told = this.cursor.offset
    return new JsonlBatch({ bytes, ...records, offset, taken, position: { ...this.cursor }, exact: this.#exact, fault })
  }
}

function isBlank(bytes: Buffer, from: number, to: number): boolean {
  for (let at = from; at < to; at++) {
    const byte = bytes[at]
    if (byte !== SPACE && byte !== TAB && byte !== CR) return false
  }
  return true
}
