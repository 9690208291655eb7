import type { ByteCheck } from "../core/byte-check.ts"
import type { RecordSchema } from "../core/contracts.ts"
import type { Batch, LineRanges } from "../core/records.ts"
import type { CopyText } from "../engine/pipeline/copy-text.ts"
import type { GoodFormat } from "./good-rows.ts"
import { jsonLines } from "./json-lines.ts"
import { rebuiltRows } from "./rebuilt-rows.ts"
import type { SureColumn, SureRows } from "./short-way.ts"
import { VerbatimRows } from "./verbatim-rows.ts"

const QUOTE = 0x22

/**
 * For rows whose bytes tell that the schema accepts them and what it makes of them. Undefined where every record has to go the
 * long way.
 */
export function sureRows(
  schema: RecordSchema,
  batch: Batch,
  columns: readonly string[] | undefined,
  format: GoodFormat,
  text: CopyText,
): SureRows | undefined {
  const { fields, lines } = batch
  const { byteChecks } = schema
  if (lines !== undefined && byteChecks !== undefined)
    return sureLines(schema, lines, byteChecks, columns, format, text)
  if (fields === undefined || byteChecks === undefined || fields.quote !== QUOTE) return undefined
  // A column that nobody looks at may hold what cannot be decoded.
  if (!fields.columns.every((name) => byteChecks.has(name))) return undefined
  const names = format === "csv" ? columns : [...byteChecks.keys()]
  if (names?.length !== byteChecks.size) return undefined
  const plan: SureColumn[] = []
  for (const name of names) {
    const check = byteChecks.get(name)
    const field = fields.columns.indexOf(name)
    if (check === undefined || (field < 0 && !check.optional)) return undefined
    plan.push({ name, check, field })
  }
  const inOrder = plan.length === fields.columns.length && plan.every(({ field }, n) => field === n)
  // A schema may give a record's properties in its own order, or in that of the source.
  if (format === "jsonl" && !inOrder) return undefined
  return format === "csv" && inOrder ? new VerbatimRows(fields, plan, text) : rebuiltRows(fields, plan, format, text)
}

function sureLines(
  { required }: RecordSchema,
  lines: LineRanges,
  checks: ReadonlyMap<string, ByteCheck>,
  columns: readonly string[] | undefined,
  format: GoodFormat,
  text: CopyText,
): SureRows | undefined {
  const properties = [...checks].map(([name, check]) => ({ name, check, required: required.has(name) }))
  // What is not required and not optional has a default, or the like.
  if (properties.some(({ check, required }) => !required && !check.optional)) return undefined
  if (format === "csv" && columns?.join() !== [...checks.keys()].join()) return undefined
  return jsonLines(lines, properties, format, text)
}
