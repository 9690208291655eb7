import { UNSURE, WITH_SUFFIX, type ByteCheck } from "../core/contracts.ts"
import { FIELD_DOUBLED, FIELD_OFFSET, FIELD_QUOTED, type Batch, type FieldRanges } from "../core/records.ts"
import type { CopyText } from "./copy-text.ts"
import type { Pipeline } from "./definition.ts"
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
  /** `_source` with the tabs around it, and `_run_id` with the line end. */
  readonly head: string
  readonly tail: string
  /** Appended rows also carry `_item`. */
  readonly append: boolean
  readonly seqOf: (ordinal: number) => string | number
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
const ZERO = 0x30
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
  if (!path.columnsAreKnown() || checks.some((check) => check.level === "record")) return undefined
  const { fields } = batch
  const byteChecks = schema.byteChecks
  if (fields === undefined || byteChecks === undefined) return undefined
  const plans = (schema.columns ?? []).flatMap(({ property }): ColumnPlan[] => {
    const check = byteChecks.get(property)
    return check ? [{ check, field: fields.columns.indexOf(property), nulls: { property, count: 0 } }] : []
  })
  if (plans.length !== byteChecks.size || plans.some(({ check, field }) => field < 0 && !check.optional))
    return undefined
  return {
    write: rowWriter(fields, plans, batch, lineage),
    nulls: () =>
      Object.fromEntries(plans.flatMap(({ nulls }) => (nulls.count > 0 ? [[nulls.property, nulls.count]] : []))),
  }
}

function rowWriter(
  fields: FieldRanges,
  plans: readonly ColumnPlan[],
  batch: Batch,
  lineage: RowLineage,
): FastRows["write"] {
  const { bytes, starts, ends } = fields
  const width = fields.columns.length
  const head = Buffer.from(lineage.head)
  const tail = Buffer.from(lineage.tail)
  const spare = plans.length * SPARE_BYTES_PER_COLUMN + head.length + tail.length + SPARE_BYTES
  const blank: ColumnPlan["nulls"][] = []

  return (i, text) => {
    if (!fields.isWhole(i)) return false
    const start = starts[i] as number
    const first = i * width
    text.room(((ends[first + width - 1] as number) & FIELD_OFFSET) - start + spare)
    const out = text.bytes
    let at = text.length
    blank.length = 0
    for (let c = 0; c < plans.length; c++) {
      const { check, field, nulls } = plans[c] as ColumnPlan
      if (c > 0) out[at++] = TAB
      let from = 0
      let to = 0
      if (field >= 0) {
        const end = ends[first + field] as number
        if (end >= FIELD_DOUBLED) return false
        from = field === 0 ? start : ((ends[first + field - 1] as number) & FIELD_OFFSET) + 1
        to = end & FIELD_OFFSET
        if ((end & FIELD_QUOTED) !== 0) {
          from++
          to--
        }
        if (to - from > LONGEST_FIELD) return false
      }
      if (from === to) {
        if (!check.optional) return false
        blank.push(nulls)
        out[at++] = 0x5c
        out[at++] = 0x4e
        continue
      }
      const verdict = check.judge(bytes, from, to)
      if (verdict === UNSURE) return false
      while (from < to) out[at++] = bytes[from++] as number
      if (verdict === WITH_SUFFIX) at = put(out, at, check.suffix)
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
    text.length = put(out, at, tail)
    for (const nulls of blank) nulls.count++
    return true
  }
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
