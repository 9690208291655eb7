import {
  BEYOND_ASCII,
  COPY_ESCAPES,
  COPY_FIRST_BYTE,
  CUT_SHIFT,
  UNSURE,
  WITH_SUFFIX,
  type ByteCheck,
} from "../../core/contracts.ts"
import { FIELD_DOUBLED, FIELD_OFFSET, FIELD_QUOTED, type Batch, type FieldRanges } from "../../core/records.ts"
import type { CopyText } from "./copy-text.ts"
import type { Pipeline } from "../definition.ts"
import { newColumnCheck, type NewColumns } from "./new-columns.ts"
import type { RecordPath } from "./record-path.ts"

/** Rows that go from the bytes of a batch to COPY text without ever becoming an object. */
export interface FastRows {
  /** Writes record i as a line and says true; or writes nothing and leaves the record to the record path. */
  write(i: number, text: CopyText): boolean
  /** Nulls per property of the rows written. */
  nulls(): Record<string, number>
}

/** What stands behind the columns of every row of a partition. */
export interface RowLineage {
  /** `_source` with the tabs around it. */
  readonly head: string
  /** Appended rows also carry `_item`. */
  readonly append: boolean
  readonly seqOf: (ordinal: number) => string | number
  /** Columns behind those of the schema. */
  readonly newColumns?: NewColumns | undefined
}

interface ColumnPlan {
  readonly check: ByteCheck
  /** The field in the source; -1 where the source has no such column. */
  readonly field: number
  readonly nulls: { property: string; count: number }
}

/** A longer field is left to the record path, which measures keys exactly. */
const LONGEST_FIELD = 500
const MOST_KEYS = 5
/** Bytes that a line takes besides its fields: null marks, suffixes, numbers. */
const SPARE_BYTES_PER_COLUMN = 80
const SPARE_BYTES = 128
const TAB = 0x09
const LINE_FEED = 0x0a
const BACKSLASH = 0x5c
/** The letter that stands for a byte behind a backslash: `\\t`, `\\n`, `\\r`, `\\\\`. */
const ESCAPED: Readonly<Record<number, number>> = { 0x09: 0x74, 0x0a: 0x6e, 0x0d: 0x72, [BACKSLASH]: BACKSLASH }
const ZERO = 0x30
const SPECIAL = BEYOND_ASCII | COPY_ESCAPES | COPY_FIRST_BYTE
const BILLION = 1_000_000_000

/**
 * The fast way for a batch of text fields into columns whose checks are sure of their bytes: only where nothing between source
 * and table but the schema looks at a record. Undefined where the record path has to see every record.
 */
export function fastRows(
  pipeline: Pipeline,
  batch: Batch,
  path: RecordPath,
  lineage: RowLineage,
): FastRows | undefined {
  const { schema, output, prepare, transform, checks } = pipeline
  if (prepare !== undefined || transform !== undefined || output !== schema) return undefined
  // Many long key columns together may exceed what an index takes.
  if (pipeline.sink.key.length > MOST_KEYS) return undefined
  const { newColumns } = lineage
  if (!path.columnsAreKnown() && newColumns === undefined) return undefined
  if (checks.some((check) => check.level === "record")) return undefined
  const { fields } = batch
  const byteChecks = schema.byteChecks
  if (fields === undefined || byteChecks === undefined) return undefined
  const plans = (schema.columns ?? []).flatMap(({ property }): ColumnPlan[] => {
    const check = byteChecks.get(property)
    return check ? [{ check, field: fields.columns.indexOf(property), nulls: { property, count: 0 } }] : []
  })
  if (plans.length !== byteChecks.size || plans.some(({ check, field }) => field < 0 && !check.optional))
    return undefined
  const added = (newColumns?.columns ?? []).map((column): ColumnPlan => ({
    check: newColumnCheck(column),
    field: fields.columns.indexOf(column.property),
    nulls: { property: column.property, count: 0 },
  }))
  if (added.some(({ check, field }) => field < 0 && !check.optional)) return undefined
  return {
    write: rowWriter(fields, [...plans, ...added], unmetFields(fields, pipeline, newColumns), batch, lineage),
    nulls: () =>
      Object.fromEntries(plans.flatMap(({ nulls }) => (nulls.count > 0 ? [[nulls.property, nulls.count]] : []))),
  }
}

/** Fields of columns that nobody knows yet: a row goes the fast way as long as they are blank. */
function unmetFields(fields: FieldRanges, { schema }: Pipeline, newColumns: NewColumns | undefined): number[] {
  if (newColumns === undefined) return []
  return fields.columns.flatMap((name, field) =>
    schema.inputs?.has(name) === false && newColumns.of(name) === undefined ? [field] : [],
  )
}

function rowWriter(
  fields: FieldRanges,
  plans: readonly ColumnPlan[],
  unmet: readonly number[],
  batch: Batch,
  lineage: RowLineage,
): FastRows["write"] {
  const { bytes, starts, ends } = fields
  const width = fields.columns.length
  const head = Buffer.from(lineage.head)
  const spare = plans.length * SPARE_BYTES_PER_COLUMN + head.length + SPARE_BYTES
  const blank: ColumnPlan["nulls"][] = []
  // Of the same class as the batch's bytes, which keeps the checks' loops fast.
  const unquoted = Buffer.alloc(LONGEST_FIELD)

  return (i, text) => {
    if (!fields.isWhole(i)) return false
    const start = starts[i] as number
    const first = i * width
    for (const field of unmet) {
      const end = ends[first + field] as number
      const from = field === 0 ? start : ((ends[first + field - 1] as number) & FIELD_OFFSET) + 1
      if ((end & FIELD_OFFSET) - from > ((end & FIELD_QUOTED) === 0 ? 0 : 2)) return false
    }
    // Escapes may double what a field takes.
    text.room((((ends[first + width - 1] as number) & FIELD_OFFSET) - start) * 2 + spare)
    const out = text.bytes
    let at = text.length
    blank.length = 0
    for (let c = 0; c < plans.length; c++) {
      const { check, field, nulls } = plans[c] as ColumnPlan
      if (c > 0) out[at++] = TAB
      let content = bytes
      let from = 0
      let to = 0
      if (field >= 0) {
        const end = ends[first + field] as number
        from = field === 0 ? start : ((ends[first + field - 1] as number) & FIELD_OFFSET) + 1
        to = end & FIELD_OFFSET
        if ((end & FIELD_QUOTED) !== 0) {
          from++
          to--
        }
        if (to - from > LONGEST_FIELD) return false
        if (end >= FIELD_DOUBLED) {
          to = unquote(bytes, from, to, unquoted, fields.quote)
          from = 0
          content = unquoted
        }
      }
      if (from === to) {
        if (!check.optional) return false
        blank.push(nulls)
        out[at++] = BACKSLASH
        out[at++] = 0x4e
        continue
      }
      const verdict = check.judge(content, from, to)
      if (verdict === UNSURE) return false
      if ((verdict & SPECIAL) !== 0) {
        if ((verdict & BEYOND_ASCII) !== 0 && !fields.isUtf8()) return false
        if ((verdict & COPY_ESCAPES) !== 0) {
          at = putEscaped(out, at, content, from, to)
          continue
        }
        if ((verdict & COPY_FIRST_BYTE) !== 0) to = from + 1
      }
      to -= verdict >> CUT_SHIFT
      while (from < to) out[at++] = content[from++] as number
      if ((verdict & WITH_SUFFIX) !== 0) at = put(out, at, check.suffix)
    }
    at = put(out, at, head)
    const ordinal = batch.ordinal(i)
    at = putNumber(out, at, ordinal)
    if (lineage.append) {
      out[at++] = TAB
      out[at++] = ZERO
    }
    out[at++] = TAB
    const seq = lineage.seqOf(ordinal)
    at = typeof seq === "number" ? putNumber(out, at, seq) : at + out.write(seq, at, "latin1")
    out[at++] = LINE_FEED
    text.length = at
    for (const nulls of blank) nulls.count++
    return true
  }
}

/** Copies a field with each pair of quotes as one; gives its length. In a quoted field quotes come in pairs only. */
function unquote(bytes: Uint8Array, from: number, to: number, out: Uint8Array, quote: number): number {
  let at = 0
  while (from < to) {
    const byte = bytes[from] as number
    out[at++] = byte
    from += byte === quote ? 2 : 1
  }
  return at
}

/** Copies a field as COPY's text format writes it. */
function putEscaped(out: Buffer, at: number, bytes: Uint8Array, from: number, to: number): number {
  for (; from < to; from++) {
    const byte = bytes[from] as number
    const letter = ESCAPED[byte]
    if (letter !== undefined) out[at++] = BACKSLASH
    out[at++] = letter ?? byte
  }
  return at
}

function put(out: Buffer, at: number, bytes: Uint8Array): number {
  for (let n = 0; n < bytes.length; n++) out[at++] = bytes[n] as number
  return at
}

/** A whole number, not negative, in decimal digits: without a string for each, which a million rows would notice. */
function putNumber(out: Buffer, at: number, value: number): number {
  if (value < BILLION) return putDigits(out, at, value, 1)
  const high = Math.floor(value / BILLION)
  return putDigits(out, putNumber(out, at, high), value - high * BILLION, 9)
}

/** At least `least` digits of a number below a billion. */
function putDigits(out: Buffer, at: number, value: number, least: number): number {
  let count = least
  for (let limit = 10 ** least; limit <= value; limit *= 10) count++
  let rest = value | 0
  for (let n = at + count - 1; n >= at; n--) {
    const tenth = (rest / 10) | 0
    out[n] = ZERO + (rest - tenth * 10)
    rest = tenth
  }
  return at + count
}
