import {
  BEYOND_ASCII,
  COPY_ESCAPES,
  COPY_FIRST_BYTE,
  CUT_SHIFT,
  UNSURE,
  unquotedJudges,
  WITH_SUFFIX,
  type ByteJudge,
} from "../../core/byte-check.ts"
import { put, putUndoubled } from "../../core/put-bytes.ts"
import { FIELD_DOUBLED, FIELD_OFFSET, FIELD_QUOTED, type Batch, type FieldRanges } from "../../core/records.ts"
import { putEscaped, putNull, TAB } from "./copy-bytes.ts"
import type { Pipeline } from "../definition.ts"
import { newColumnCheck, type NewColumns } from "./new-columns.ts"
import type { RecordPath } from "./record-path.ts"
import {
  LONGEST_FIELD,
  lineageWriter,
  SPARE_BYTES_PER_COLUMN,
  type ColumnPlan,
  type RowLineage,
  type RowWriter,
} from "./row-plan.ts"
import { wholeRowWriter } from "./whole-rows.ts"

/** Rows that go from the bytes of a batch to COPY text without ever becoming an object. */
export interface FastRows {
  readonly write: RowWriter
  /** Nulls per property of the rows written. */
  nulls(): Record<string, number>
  /** The byte between the fields of a line. */
  readonly delimiter: number
}

const MOST_KEYS = 5
const SPECIAL = BEYOND_ASCII | COPY_ESCAPES | COPY_FIRST_BYTE

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
  const whole = areWhole(fields, plans, newColumns)
  return {
    delimiter: whole ? fields.delimiter : TAB,
    write: whole
      ? wholeRowWriter(fields, plans, batch, lineage)
      : rowWriter(fields, [...plans, ...added], unmetFields(fields, pipeline, newColumns), batch, lineage),
    nulls: () =>
      Object.fromEntries(plans.flatMap(({ nulls }) => (nulls.count > 0 ? [[nulls.property, nulls.count]] : []))),
  }
}

/** What COPY takes between fields, and is no part of `\N`. */
const DELIMITERS: ReadonlySet<number> = new Set(Buffer.from("\t,;|"))

/** Whether rows can be copied as they stand: the fields of the source are the columns of the table. */
const areWhole = (
  { columns, delimiter }: FieldRanges,
  plans: readonly ColumnPlan[],
  newColumns: NewColumns | undefined,
): boolean =>
  newColumns === undefined &&
  DELIMITERS.has(delimiter) &&
  plans.length === columns.length &&
  plans.every(({ field }, n) => field === n)

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
): RowWriter {
  const { bytes, starts, ends } = fields
  const width = fields.columns.length
  const behind = lineageWriter(lineage, TAB)
  const spare = plans.length * SPARE_BYTES_PER_COLUMN + behind.bytes
  const judges = unquotedJudges(
    fields,
    plans.map(({ check }) => check),
  )
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
      let judge = judges[c] as ByteJudge
      let from = 0
      let to = 0
      if (field >= 0) {
        const end = ends[first + field] as number
        from = field === 0 ? start : ((ends[first + field - 1] as number) & FIELD_OFFSET) + 1
        to = end & FIELD_OFFSET
        if ((end & FIELD_QUOTED) !== 0) {
          from++
          to--
          judge = check.judge
        }
        if (to - from > LONGEST_FIELD) return false
        if (end >= FIELD_DOUBLED) {
          to = putUndoubled(unquoted, 0, bytes, from, to, fields.quote)
          from = 0
          content = unquoted
        }
      }
      if (from === to) {
        if (!check.optional) return false
        blank.push(nulls)
        at = putNull(out, at)
        continue
      }
      const verdict = judge(content, from, to)
      if (verdict === UNSURE) return false
      if ((verdict & SPECIAL) !== 0) {
        if ((verdict & BEYOND_ASCII) !== 0 && !fields.isUtf8()) return false
        if ((verdict & COPY_ESCAPES) !== 0) {
          at = putEscaped(out, at, content, from, to, TAB)
          continue
        }
        if ((verdict & COPY_FIRST_BYTE) !== 0) to = from + 1
      }
      to -= verdict >> CUT_SHIFT
      while (from < to) out[at++] = content[from++] as number
      if ((verdict & WITH_SUFFIX) !== 0) at = put(out, at, check.suffix)
    }
    text.length = behind.write(out, at, batch.ordinal(i))
    for (const nulls of blank) nulls.count++
    return true
  }
}
