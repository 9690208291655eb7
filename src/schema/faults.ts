import type { Fault } from "../core/records.ts"
import { joinPath, printable, shown, typeName, valueAt } from "../core/shown.ts"

/** What a schema library found, before it is put into words. */
export interface Finding {
  readonly path: readonly PropertyKey[]
  readonly rule?: string | undefined
  /** Completes "expected …". */
  readonly expected?: string | undefined
  /** The library's own sentence, where there is no `expected`. */
  readonly message?: string | undefined
}

export function toFault(record: unknown, { path, rule, expected, message }: Finding): Fault {
  const value = valueAt(record, path)
  const field = joinPath(path)
  const what = expected === undefined ? (message ?? "is not valid") : `expected ${expected}`
  const got = path.length === 0 && expected === undefined ? "" : `, got ${shown(value)}`
  return {
    code: "VALIDATION",
    step: "validate",
    message: printable(`${field === "" ? "record" : field}: ${what}${got}`),
    path: field,
    actualType: typeName(value),
    ...(rule === undefined ? {} : { rule }),
    ...(expected === undefined ? {} : { expected }),
  }
}

/** The schema's own code failed on the record. */
export function threw(error: unknown): Fault {
  const message = error instanceof Error ? error.message : String(error)
  return {
    code: "VALIDATION",
    step: "validate",
    rule: "schema_threw",
    path: "",
    message: printable(`record: the schema threw: ${message}`),
  }
}

export const notARecord = (value: unknown): Fault => ({
  code: "VALIDATION",
  step: "validate",
  rule: "not_a_record",
  path: "",
  expected: "an object",
  actualType: typeName(value),
  message: `record: expected the schema to give an object, got ${shown(value)}`,
})

const TYPE_WORDS: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  int: "an integer",
  integer: "an integer",
  boolean: "true or false",
  bigint: "an integer",
  date: "a date",
  object: "an object",
  record: "an object",
  map: "a map",
  set: "a set",
  array: "a list",
  tuple: "a list",
  null: "null",
  undefined: "nothing",
  nonoptional: "a value",
  never: "nothing",
}

/** A type as a message names it. */
export const typeWord = (type: string): string => TYPE_WORDS[type] ?? type

/** How many alternatives a message lists. */
const LISTED = 10

/** `"a", "b" or "c"`. */
export function oneOf(words: readonly string[]): string {
  const distinct = [...new Set(words)]
  if (distinct.length > LISTED) return `one of ${distinct.slice(0, LISTED).join(", ")} … (${distinct.length} in all)`
  const last = distinct.at(-1) ?? "nothing"
  return distinct.length < 2 ? last : `${distinct.slice(0, -1).join(", ")} or ${last}`
}

export const count = (n: unknown, unit: string): string => `${String(n)} ${unit}${Number(n) === 1 ? "" : "s"}`
