import type { RecordSchema } from "../core/contracts.ts"
import { SpillwayError } from "../core/errors.ts"
import type { RecordSteps } from "../engine/pipeline/record-path.ts"

/**
 * The engine's steps for a record that only has to meet a schema. What becomes of properties that the schema does not name is the
 * schema's own affair (zod leaves them out, strict schemas refuse them), so no column is looked at beforehand.
 */
export function stepsFor(schema: RecordSchema, untyped: boolean): RecordSteps {
  const judged: RecordSchema = {
    columns: undefined,
    inputs: undefined,
    byteChecks: undefined,
    required: schema.required,
    exact: schema.exact,
    secrets: schema.secrets,
    description: schema.description,
    fit: (record, fromText) => schema.fit(record, fromText),
    validate: (record) => schema.validate(record),
  }
  return {
    schema: judged,
    output: judged,
    prepare: undefined,
    transform: undefined,
    checks: [],
    onNewColumn: "ignore",
    source: { untyped },
  }
}

/** The properties that a schema gives, in its order; undefined when it does not tell. */
export function outputProperties(schema: RecordSchema): readonly string[] | undefined {
  const columns = columnsOf(schema)
  if (columns !== undefined) return columns.length === 0 ? undefined : columns
  return schema.inputs === undefined ? undefined : [...schema.inputs]
}

/** A property whose type for a table cannot be told still has a name. */
function columnsOf(schema: RecordSchema): readonly string[] | undefined {
  try {
    return schema.columns?.map(({ property }) => property)
  } catch (error) {
    if (error instanceof SpillwayError && error.code === "CONFIG") return undefined
    throw error
  }
}
