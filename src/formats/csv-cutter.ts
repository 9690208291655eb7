import { isUtf8 } from "node:buffer"
import type { DecoderOptions } from "../core/contracts.ts"
import { DecodeFault, type Batch, type Position } from "../core/records.ts"
import {
  positionNames,
  positionNumber,
  startingCursor,
  type BatchLimits,
  type Cursor,
  type Cut,
  type RecordCutter,
} from "./chunked-decoder.ts"
import { CsvBatch, type CsvDialect } from "./csv-batch.ts"
import { CsvDraft, type PlainLimits } from "./csv-draft.ts"
import { checkedHeader, headerError } from "./csv-header.ts"
import {
  BARE_QUOTE,
  COMPLETE,
  CR,
  INCOMPLETE,
  LF,
  RecordScanner,
  TEXT_AFTER_QUOTE,
  type Outcome,
} from "./csv-scanner.ts"
import { tooLong, type OversizeLine } from "./oversize-line.ts"

/** How the bytes of a CSV file are to be understood. */
export interface CsvRules {
  readonly delimiter: number
  /** 256: nothing quotes. */
  readonly quote: number
  /** The columns of a file without a header. */
  readonly columns: readonly string[] | undefined
  readonly nulls: ReadonlySet<string>
}

const UNCLOSED = new DecodeFault("unclosed_quote", "a quoted field is not closed")
const TEXT_AFTER = new DecodeFault("text_after_quote", "text follows the quote that closes a field")
const BARE = new DecodeFault(
  "bare_quote",
  "a quote stands inside an unquoted field, after a record that was broken by its quotes",
)

/** A line end is at most two bytes. */
const LINE_END = 2

type Step = "record" | "incomplete" | "oversize"

/**
 * Cuts CSV records. A record whose quotes are malformed is its first physical line only, and the next line is tried as a
 * record: lines that begin before the violation was seen (`strictUntil`) must then do without bare quotes, so that the
 * tail of a broken record is not taken for a record.
 */
export class CsvCutter implements RecordCutter {
  readonly cursor: Cursor
  readonly #rules: CsvRules
  readonly #limits: BatchLimits
  readonly #maxRecordBytes: number
  readonly #plain: PlainLimits
  readonly #scanner: RecordScanner
  readonly #draft: CsvDraft
  readonly #miscounts = new Map<number, DecodeFault>()
  #dialect: CsvDialect | undefined
  #strictUntil = 0
  /** The offset up to which batches have told their bytes. */
  #told: number

  constructor(rules: CsvRules, limits: BatchLimits, options: DecoderOptions) {
    this.#rules = rules
    this.#limits = limits
    this.#maxRecordBytes = options.maxRecordBytes
    this.#plain = { ...limits, recordBytes: options.maxRecordBytes }
    this.#scanner = new RecordScanner(rules.delimiter, rules.quote)
    this.#draft = new CsvDraft(this.#scanner)
    this.cursor = startingCursor(options)
    this.#told = this.cursor.offset
    let columns = rules.columns
    if (options.position !== undefined) {
      if (options.position["strictUntil"] !== undefined)
        this.#strictUntil = positionNumber(options.position, "strictUntil")
      columns = positionNames(options.position, "columns")
    }
    if (columns !== undefined) this.#setColumns(columns)
  }

  get columns(): readonly string[] | undefined {
    return this.#dialect?.columns
  }

  cut(bytes: Buffer, final: boolean): Cut {
    const dialect = this.#dialect
    if (dialect === undefined) return this.#cutHeader(bytes, final)
    const from = { ...this.cursor }
    const draft = this.#draft
    draft.begin(dialect.columns.length, from.line)
    let at = 0
    let step: Step = "record"
    while (draft.length < this.#limits.records && at < this.#limits.bytes) {
      at = this.#skipBlank(bytes, at, final)
      if (at >= bytes.length) break
      const plain = this.#cutPlain(bytes, at, from.offset)
      if (plain > at) {
        at = plain
        continue
      }
      step = this.#cutRecord(bytes, at, final, from.offset)
      if (step !== "record") break
      at = this.#scanner.next
    }
    this.cursor.offset = from.offset + at
    if (draft.length === 0 && step !== "record") return { kind: step, bytes: at }
    return { kind: "taken", bytes: at, batch: this.#batch(bytes.subarray(0, at), from, dialect) }
  }

  oversize(line: OversizeLine): Batch {
    const dialect = this.#dialect
    if (dialect === undefined)
      throw headerError(
        `the first line is ${line.bytes} bytes long, more than a record may be (${this.#maxRecordBytes})`,
        this.cursor.line,
        "check that the file is CSV, or raise maxRecordBytes",
      )
    const from = { ...this.cursor }
    const fault = tooLong(line, this.#maxRecordBytes)
    this.cursor.offset += line.taken
    this.cursor.line++
    // The line may have ended inside quotes, and what follows be its tail.
    this.#beStrictUntil(this.cursor.offset + 1)
    const head = Buffer.from(line.head.buffer, line.head.byteOffset, line.head.byteLength)
    this.#draft.begin(0, from.line)
    this.#draft.add(0, head.length, from.line, fault)
    return new CsvBatch(dialect, this.#draft.offsets(head), {
      ...from,
      taken: this.#tell(),
      position: this.#position(),
    })
  }

  recycle(): void {
    this.#draft.recycle()
  }

  #batch(bytes: Buffer, from: Cursor, dialect: CsvDialect): Batch | undefined {
    if (this.#draft.length === 0) return undefined
    const span = { ...from, taken: this.#tell(), position: this.#position() }
    return new CsvBatch(dialect, this.#draft.offsets(bytes), span)
  }

  /** Bytes of the file since the batch before: headers and blank lines count with the batch that follows. */
  #tell(): number {
    const bytes = this.cursor.offset - this.#told
    this.#told = this.cursor.offset
    return bytes
  }

  #position(): Position {
    const { offset, line } = this.cursor
    const strict = this.#strictUntil > offset ? { strictUntil: this.#strictUntil } : {}
    return { offset, line, columns: [...(this.columns ?? [])], ...strict }
  }

  /** The offset of the first byte at or after `at` that does not belong to a blank line. */
  #skipBlank(bytes: Buffer, at: number, final: boolean): number {
    for (;;) {
      const byte = bytes[at]
      if (byte === LF) at++
      else if (byte === CR && bytes[at + 1] === LF) at += 2
      else if (byte === CR && final && at + 1 === bytes.length) at++
      else return at
      this.cursor.line++
    }
  }

  /** Takes the plain records at `at` all at once; gives the offset behind them. */
  #cutPlain(bytes: Buffer, at: number, base: number): number {
    if (base + at < this.#strictUntil) return at
    const { length } = this.#draft
    const next = this.#draft.addPlain(bytes, at, this.cursor.line, this.#plain)
    this.cursor.line += this.#draft.length - length
    return next
  }

  /** Scans at `at`, held to the longest a record may be. */
  #scan(bytes: Buffer, at: number, final: boolean, strict: boolean): Outcome | "oversize" {
    const longest = at + this.#maxRecordBytes + LINE_END
    const within = bytes.length < longest
    const outcome = this.#scanner.scan(bytes, at, within ? bytes.length : longest, final && within, strict)
    if (outcome === INCOMPLETE && !within) return "oversize"
    if (outcome === COMPLETE && this.#scanner.end - at > this.#maxRecordBytes) return "oversize"
    return outcome
  }

  #cutRecord(bytes: Buffer, at: number, final: boolean, base: number): Step {
    const scanner = this.#scanner
    const width = scanner.width
    this.#draft.reserve()
    const outcome = this.#scan(bytes, at, final, base + at < this.#strictUntil)
    if (outcome === INCOMPLETE) return "incomplete"
    if (outcome !== COMPLETE) return this.#cutBroken(bytes, at, final, base, outcome)
    const { count, lines, end, next } = scanner
    if (count === width) {
      this.#draft.add(at, end, this.cursor.line, undefined)
    } else if (lines > 1 && this.#linesStandAlone(bytes, at, end)) {
      return this.#cutFirstLine(bytes, at, final, UNCLOSED)
    } else {
      scanner.next = next
      this.#draft.add(at, end, this.cursor.line, this.#miscount(count, width))
    }
    this.cursor.line += lines
    return "record"
  }

  #cutBroken(bytes: Buffer, at: number, final: boolean, base: number, outcome: Outcome | "oversize"): Step {
    const seen = outcome === "oversize" ? at + this.#maxRecordBytes : this.#scanner.at
    const feed = bytes.indexOf(LF, at)
    const onFirstLine = feed < 0 || feed >= seen
    const step = this.#cutFirstLine(bytes, at, final, onFirstLine ? faultOf(outcome) : UNCLOSED)
    // On the first line, too, the field may have been meant to go on: the next line may be its tail.
    if (step === "record") this.#beStrictUntil(base + Math.max(seen, this.#scanner.next + 1))
    return step
  }

  /** The physical line at `at` as a record with a fault. */
  #cutFirstLine(bytes: Buffer, at: number, final: boolean, fault: DecodeFault): Step {
    const longest = at + this.#maxRecordBytes + LINE_END
    const feed = bytes.indexOf(LF, at)
    if (feed < 0 && bytes.length < longest && !final) return "incomplete"
    const stop = feed < 0 ? bytes.length : feed
    const end = stop > at && bytes[stop - 1] === CR ? stop - 1 : stop
    if (end - at > this.#maxRecordBytes) return "oversize"
    this.#draft.add(at, end, this.cursor.line, fault)
    this.#scanner.next = feed < 0 ? bytes.length : feed + 1
    this.cursor.line++
    return "record"
  }

  /** Whether each further physical line of the record is, by itself and strictly, a record of the right width. */
  #linesStandAlone(bytes: Buffer, at: number, end: number): boolean {
    const scanner = this.#scanner
    let records = 0
    for (let line = bytes.indexOf(LF, at) + 1; line > 0 && line < end;) {
      const feed = bytes.indexOf(LF, line)
      const stop = feed < 0 || feed > end ? end : feed
      const blank = stop === line || (stop === line + 1 && bytes[line] === CR)
      if (!blank) {
        const outcome = scanner.scan(bytes, line, stop, true, true)
        if (outcome !== COMPLETE || scanner.count !== scanner.width) return false
        records++
      }
      line = stop + 1
    }
    return records > 0
  }

  #miscount(count: number, width: number): DecodeFault {
    let fault = this.#miscounts.get(count)
    if (fault === undefined) {
      const expected = `${width} column${width === 1 ? "" : "s"}`
      fault = new DecodeFault("column_count", `expected ${expected}, got ${count}`, { expected })
      this.#miscounts.set(count, fault)
    }
    return fault
  }

  #beStrictUntil(offset: number): void {
    this.#strictUntil = Math.max(this.#strictUntil, offset)
  }

  #setColumns(columns: readonly string[]): void {
    const { quote, delimiter, nulls } = this.#rules
    this.#dialect = { columns, quote, delimiter, nulls }
    this.#scanner.width = columns.length
  }

  #cutHeader(bytes: Buffer, final: boolean): Cut {
    const base = this.cursor.offset
    const at = this.#skipBlank(bytes, 0, final)
    this.cursor.offset = base + at
    if (at >= bytes.length) return { kind: "taken", bytes: at, batch: undefined }
    const outcome = this.#scan(bytes, at, final, false)
    if (outcome === INCOMPLETE) return { kind: "incomplete", bytes: at }
    const line = this.cursor.line
    const { count, lines, end, next } = this.#scanner
    const feed = bytes.indexOf(LF, at)
    if (outcome === "oversize" && (feed < 0 || feed - at > this.#maxRecordBytes)) return { kind: "oversize", bytes: at }
    if (outcome !== COMPLETE)
      throw headerError(
        "the quotes in the header are malformed",
        line,
        "close every quoted name, and double quotes inside one",
      )
    const raw = bytes.subarray(at, end)
    if (raw.includes(0)) throw headerError("the header holds a NUL byte", line, "check that the file is CSV in UTF-8")
    if (!isUtf8(raw)) throw headerError("the header is not valid UTF-8", line, "convert the file to UTF-8 first")
    this.#setColumns(checkedHeader(this.#names(bytes, at, count), line))
    this.cursor.offset = base + next
    this.cursor.line += lines
    return { kind: "taken", bytes: next, batch: undefined }
  }

  /** The names of a header that has `count` of them, as the values of a batch of one. */
  #names(bytes: Buffer, at: number, count: number): readonly (string | null)[] {
    const scanner = this.#scanner
    scanner.width = count
    this.#draft.begin(count, 0)
    this.#draft.reserve()
    this.#scan(bytes, at, true, false)
    this.#draft.add(at, scanner.end, 0, undefined)
    const { quote, delimiter } = this.#rules
    const dialect = { columns: new Array<string>(count).fill(""), quote, delimiter, nulls: new Set<string>() }
    const span = { offset: 0, line: 0, taken: 0, position: {} }
    return new CsvBatch(dialect, this.#draft.offsets(bytes.subarray(0, scanner.end)), span).values(0)
  }
}

function faultOf(outcome: Outcome | "oversize"): DecodeFault {
  if (outcome === TEXT_AFTER_QUOTE) return TEXT_AFTER
  return outcome === BARE_QUOTE ? BARE : UNCLOSED
}
