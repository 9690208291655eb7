import { AS_IT_STANDS, UNSURE, WITH_SUFFIX, type ByteCheck, type RecordSchema } from "../core/contracts.ts"
import { FIELD_DOUBLED, FIELD_OFFSET, FIELD_QUOTED, type Batch, type FieldRanges } from "../core/records.ts"
import type { CopyText } from "../engine/copy-text.ts"
import type { GoodFormat } from "./good-rows.ts"

/** Writes record i as a line and says true; or writes nothing, and the record goes the long way. */
export type SureRow = (i: number, text: CopyText) => boolean

interface ColumnPlan {
  readonly check: ByteCheck
  /** The field in the source; -1 where it has no such column. */
  readonly field: number
  /** What stands before the value: a comma, or the property's name. */
  readonly lead: Buffer
  /** JSON writes the value in quotes. */
  readonly isText: boolean
}

/** A longer field goes the long way. */
const LONGEST_FIELD = 4096
const COMMA = 0x2c
const QUOTE = 0x22
const LF = 0x0a
const CR = 0x0d
const OPEN = 0x7b
const CLOSE = 0x7d
/** Column types whose values are numbers in a record; those of all others that can be judged by their bytes are text. */
const NUMBER_TYPES: ReadonlySet<string> = new Set(["bigint", "integer", "double precision"])

/**
 * The short way of a record from the bytes of a text format to a line of the output, without an object in between: for rows whose
 * bytes tell that the schema accepts them and what it makes of them. Undefined where every record has to go the long way.
 */
export function sureRows(
  schema: RecordSchema,
  batch: Batch,
  columns: readonly string[] | undefined,
  format: GoodFormat,
): SureRow | undefined {
  const { fields } = batch
  const { byteChecks } = schema
  if (fields === undefined || byteChecks === undefined || fields.quote !== QUOTE) return undefined
  // A column that nobody looks at may hold what cannot be decoded.
  if (!fields.columns.every((name) => byteChecks.has(name))) return undefined
  const names = format === "csv" ? columns : [...byteChecks.keys()]
  if (names?.length !== byteChecks.size) return undefined
  const types = new Map(schema.columns?.map(({ property, type }) => [property, type]))
  const plans: ColumnPlan[] = []
  for (const [n, name] of names.entries()) {
    const check = byteChecks.get(name)
    const field = fields.columns.indexOf(name)
    if (check === undefined || (field < 0 && !check.optional)) return undefined
    const lead = format === "csv" ? (n > 0 ? "," : "") : `${n > 0 ? "," : ""}${JSON.stringify(name)}:`
    plans.push({ check, field, lead: Buffer.from(lead), isText: !NUMBER_TYPES.has(types.get(name) ?? "") })
  }
  return format === "csv" ? csvRow(fields, plans) : jsonlRow(fields, plans)
}

/** Where a field's content lies, without its quotes. */
interface Content {
  from: number
  to: number
  flags: number
}

function contentOf(fields: FieldRanges, i: number, field: number, content: Content): void {
  const slot = i * fields.columns.length + field
  const end = fields.ends[slot] as number
  content.from = field === 0 ? (fields.starts[i] as number) : ((fields.ends[slot - 1] as number) & FIELD_OFFSET) + 1
  content.to = end & FIELD_OFFSET
  content.flags = end
  if ((end & FIELD_QUOTED) === 0) return
  content.from++
  content.to--
}

function lengthOf(fields: FieldRanges, i: number): number {
  const width = fields.columns.length
  return ((fields.ends[(i + 1) * width - 1] as number) & FIELD_OFFSET) - (fields.starts[i] as number)
}

const spareBytes = (plans: readonly ColumnPlan[]): number =>
  plans.reduce((sum, { lead }) => sum + lead.length + 2, 0) + 4

function csvRow(fields: FieldRanges, plans: readonly ColumnPlan[]): SureRow {
  const { bytes } = fields
  const spare = spareBytes(plans)
  const content: Content = { from: 0, to: 0, flags: 0 }
  return (i, text) => {
    if (!fields.isWhole(i)) return false
    text.room(lengthOf(fields, i) + spare)
    const out = text.bytes
    let at = text.length
    for (let c = 0; c < plans.length; c++) {
      const { check, field, isText } = plans[c] as ColumnPlan
      if (c > 0) out[at++] = COMMA
      if (field < 0) continue
      contentOf(fields, i, field, content)
      const { from, to, flags } = content
      if (to === from) {
        if (!check.optional) return false
        continue
      }
      if (flags >= FIELD_DOUBLED || to - from > LONGEST_FIELD) return false
      if (check.judge(bytes, from, to) === UNSURE) return false
      const inQuotes = isText && needsQuotes(bytes, from, to)
      if (inQuotes && (flags & FIELD_QUOTED) === 0) return false
      if (inQuotes) out[at++] = QUOTE
      for (let n = from; n < to; n++) out[at++] = bytes[n] as number
      if (inQuotes) out[at++] = QUOTE
    }
    if (at === text.length) return false
    out[at++] = LF
    text.length = at
    return true
  }
}

/** A quote inside an unquoted field has to be doubled, which is left to the long way. */
function needsQuotes(bytes: Uint8Array, from: number, to: number): boolean {
  for (let n = from; n < to; n++) {
    const byte = bytes[n]
    if (byte === COMMA || byte === QUOTE || byte === LF || byte === CR) return true
  }
  return false
}

function jsonlRow(fields: FieldRanges, plans: readonly ColumnPlan[]): SureRow {
  const { bytes } = fields
  const spare = spareBytes(plans)
  const content: Content = { from: 0, to: 0, flags: 0 }
  return (i, text) => {
    if (!fields.isWhole(i)) return false
    text.room(lengthOf(fields, i) + spare)
    const out = text.bytes
    let at = text.length
    out[at++] = OPEN
    for (let c = 0; c < plans.length; c++) {
      const { check, field, lead, isText } = plans[c] as ColumnPlan
      // Whether absence is left out or null is the schema's to say.
      if (field < 0) return false
      contentOf(fields, i, field, content)
      const { from, to, flags } = content
      if (to === from || flags >= FIELD_DOUBLED || to - from > LONGEST_FIELD) return false
      const verdict = check.judge(bytes, from, to)
      // What COPY escapes JSON escapes too, in its own way.
      if (verdict !== AS_IT_STANDS && verdict !== WITH_SUFFIX) return false
      for (let n = 0; n < lead.length; n++) out[at++] = lead[n] as number
      if (isText) out[at++] = QUOTE
      for (let n = from; n < to; n++) {
        const byte = bytes[n] as number
        if (byte === QUOTE) return false
        out[at++] = byte
      }
      if (isText) out[at++] = QUOTE
    }
    out[at++] = CLOSE
    out[at++] = LF
    text.length = at
    return true
  }
}
