import type { RecordSchema, Validation } from "../../src/core/contracts.ts"
import type { Fault, RecordObject } from "../../src/core/records.ts"

/** Fits and validates a copy of the record, as the engine does. Fails for a schema that answers with a promise. */
export function judged(schema: RecordSchema, record: RecordObject, untyped = false): Validation {
  const copy = { ...record }
  schema.fit(copy, untyped)
  const validation = schema.validate(copy)
  if (validation instanceof Promise) throw new Error("expected an answer, not a promise")
  return validation
}

export function faultsOf(schema: RecordSchema, record: RecordObject, untyped = false): readonly Fault[] {
  const validation = judged(schema, record, untyped)
  return "faults" in validation ? validation.faults : []
}

export function valueOf(schema: RecordSchema, record: RecordObject, untyped = false): RecordObject {
  const validation = judged(schema, record, untyped)
  if ("faults" in validation) throw new Error(validation.faults.map((fault) => fault.message).join("; "))
  return validation.value
}
