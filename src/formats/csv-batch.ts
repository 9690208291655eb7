import { isAscii, isUtf8 } from "node:buffer"
import {
  DecodeFault,
  FIELD_DOUBLED,
  FIELD_OFFSET,
  FIELD_QUOTED,
  type Batch,
  type FieldRanges,
  type Place,
  type Position,
  type RecordObject,
} from "../core/records.ts"

/** What all records of a CSV file have in common. */
export interface CsvDialect {
  readonly columns: readonly string[]
  /** The quote's byte, and the delimiter's. */
  readonly quote: number
  readonly delimiter: number
  /** Texts that mean absent, besides blank. */
  readonly nulls: ReadonlySet<string>
}

/** The offsets a batch consists of; all are relative to `bytes`. */
export interface CsvOffsets {
  readonly bytes: Buffer
  /** Of each record's first byte, and of its end (without the line end). */
  readonly starts: Uint32Array
  readonly ends: Uint32Array
  /** Lines between the batch's first line and the record's. */
  readonly lines: Uint32Array
  /**
   * Ends of the fields, as many per record as there are columns; of records with a fault they mean nothing. Bits 30 and 31
   * are flags: quoted, has doubled quotes. A field begins at its record's start, or one byte after the end of the one before.
   */
  readonly fields: Uint32Array
  /** Whether a field without quotes may hold a quote or a control character. */
  readonly isOdd: boolean
  /** Records that are not well formed, by index. */
  readonly faults: ReadonlyMap<number, DecodeFault>
}

/** Where a batch lies in its file. */
export interface Span {
  /** The offset in the file of the first byte of `bytes`, and its physical line. */
  readonly offset: number
  readonly line: number
  /** Bytes of the file the batch takes up, with headers, blank lines and line ends. */
  readonly taken: number
  /** The position after it. */
  readonly position: Position
}

const QUOTE = 0x22
const COMMA = 0x2c
const BACKSLASH = 0x5c

/** The share of a batch's records that are made one by one. */
const FEW = 1 / 8

const NUL_FAULT = new DecodeFault("nul", "the record holds a NUL byte, which PostgreSQL text cannot")
const UTF8_FAULT = new DecodeFault("utf8", "the record is not valid UTF-8", { expected: "UTF-8" })

/** Records of a CSV file as offsets into its bytes. Values that `record` gives share memory with the batch's text. */
export class CsvBatch implements Batch {
  readonly dialect: CsvDialect
  readonly offsets: CsvOffsets
  readonly length: number
  readonly bytes: number
  readonly position: Position
  readonly #span: Span
  readonly #make: (batch: CsvBatch, i: number) => RecordObject
  #text: string | undefined
  /** Records still to be made before the whole text is worth having: it takes as much memory again as the bytes. */
  #untilText: number
  #surveyed = false
  #ascii = false
  #utf8 = false
  #nul = false
  #plain: boolean | undefined

  constructor(dialect: CsvDialect, offsets: CsvOffsets, span: Span) {
    this.dialect = dialect
    this.offsets = offsets
    this.length = offsets.starts.length
    this.bytes = span.taken
    this.position = span.position
    this.#span = span
    this.#untilText = Math.floor(this.length * FEW)
    this.#make = dialect.columns.includes("__proto__") ? withOwnProto : plain
  }

  get fields(): FieldRanges | undefined {
    const { columns, nulls, quote, delimiter } = this.dialect
    if (nulls.size > 0) return undefined
    const { bytes, starts, fields, faults } = this.offsets
    const isWhole = faults.size === 0 ? () => true : (i: number) => !faults.has(i)
    return {
      ...{ columns, quote, delimiter, bytes, starts, ends: fields, isWhole },
      isUtf8: () => this.#isUtf8(),
      isPlain: () => (this.#plain ??= this.#looksPlain()),
    }
  }

  raw(i: number): Uint8Array {
    return this.offsets.bytes.subarray(this.offsets.starts[i], this.offsets.ends[i])
  }

  record(i: number): RecordObject | DecodeFault {
    const fault = this.fault(i)
    if (fault !== undefined) return fault
    // Substrings of one text are the fastest way to many strings.
    if (this.#untilText-- === 0) this.#text = this.offsets.bytes.toString("latin1")
    return this.#make(this, i)
  }

  /** Why record i cannot be decoded; undefined when it can. */
  fault(i: number): DecodeFault | undefined {
    if (!this.#surveyed) this.#survey()
    const fault = this.offsets.faults.get(i)
    if (fault !== undefined) return fault
    if (this.#nul && this.raw(i).includes(0)) return NUL_FAULT
    if (!this.#utf8 && !isUtf8(this.raw(i))) return UTF8_FAULT
    return undefined
  }

  ordinal(i: number): number {
    return this.#span.line + (this.offsets.lines[i] as number)
  }

  place(i: number): Place {
    return { line: this.ordinal(i), offset: this.#span.offset + (this.offsets.starts[i] as number) }
  }

  /** The values of a record without fault, in the order of the columns; blank and absent ones are null. */
  values(i: number): (string | null)[] {
    const { columns } = this.dialect
    const values = new Array<string | null>(columns.length)
    let from = this.offsets.starts[i] as number
    let field = i * columns.length
    for (let column = 0; column < columns.length; column++) {
      const end = this.offsets.fields[field++] as number
      values[column] = this.value(from, end)
      from = (end & FIELD_OFFSET) + 1
    }
    return values
  }

  /** The value of the field that begins at `from` and has `end` in `offsets.fields`; null when blank or absent. */
  value(from: number, end: number): string | null {
    let to = end & FIELD_OFFSET
    if ((end & FIELD_QUOTED) !== 0) {
      from++
      to--
    }
    if (from === to) return null
    const value = this.#decode(from, to)
    const { nulls, quote } = this.dialect
    if (end >= FIELD_DOUBLED) return absent(value.replaceAll(pairOf(quote), String.fromCharCode(quote)), nulls)
    return absent(value, nulls)
  }

  /** One look at all bytes decides how each record is decoded. */
  #survey(): void {
    const { bytes } = this.offsets
    this.#ascii = isAscii(bytes)
    this.#utf8 = this.#ascii || isUtf8(bytes)
    this.#nul = bytes.includes(0)
    this.#surveyed = true
  }

  #isUtf8(): boolean {
    if (!this.#surveyed) this.#survey()
    return this.#utf8
  }

  #looksPlain(): boolean {
    const { bytes, isOdd } = this.offsets
    if (!this.#surveyed) this.#survey()
    if (isOdd || !this.#ascii || bytes.includes(BACKSLASH)) return false
    const { quote, delimiter } = this.dialect
    return (quote === QUOTE || !bytes.includes(QUOTE)) && (delimiter === COMMA || !bytes.includes(COMMA))
  }

  get simpleText(): string | undefined {
    return this.#ascii && this.dialect.nulls.size === 0 ? this.#text : undefined
  }

  #decode(from: number, to: number): string {
    if (!this.#surveyed) this.#survey()
    const { bytes } = this.offsets
    if (!this.#ascii && this.#beyondAscii(from, to)) return bytes.toString("utf8", from, to)
    return this.#text === undefined ? bytes.toString("latin1", from, to) : this.#text.substring(from, to)
  }

  #beyondAscii(from: number, to: number): boolean {
    const { bytes } = this.offsets
    for (let at = from; at < to; at++) if ((bytes[at] as number) > 127) return true
    return false
  }
}

const absent = (value: string, nulls: ReadonlySet<string>): string | null =>
  nulls.size > 0 && nulls.has(value) ? null : value

const pairOf = (quote: number): string => String.fromCharCode(quote, quote)

function plain(batch: CsvBatch, i: number): RecordObject {
  const { columns } = batch.dialect
  const { fields } = batch.offsets
  const text = batch.simpleText
  const record: RecordObject = {}
  let from = batch.offsets.starts[i] as number
  let field = i * columns.length
  for (let column = 0; column < columns.length; column++) {
    const end = fields[field++] as number
    let value
    if (text !== undefined && end < FIELD_QUOTED) value = end === from ? null : text.substring(from, end)
    else value = batch.value(from, end)
    record[columns[column] as string] = value
    from = (end & FIELD_OFFSET) + 1
  }
  return record
}

/** Assigning to `__proto__` would set the prototype. */
function withOwnProto(batch: CsvBatch, i: number): RecordObject {
  const record: RecordObject = {}
  const values = batch.values(i)
  for (const [column, name] of batch.dialect.columns.entries())
    Object.defineProperty(record, name, { value: values[column], writable: true, enumerable: true, configurable: true })
  return record
}
