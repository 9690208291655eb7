import { createRequire } from "node:module"
import type { ErrorObject, ValidateFunction } from "ajv"
import type { Ajv2020 } from "ajv/dist/2020.js"
import type { FormatsPlugin } from "ajv-formats"
import { parseDecimal } from "../core/decimal.ts"
import { SpillwayError } from "../core/errors.ts"
import type { Fault, RecordObject } from "../core/records.ts"
import { count, oneOf, threw, toFault, typeWord, type Finding } from "./faults.ts"
import { shown } from "../core/shown.ts"

/** A JSON Schema as a plain object. */
export type JsonSchema = Readonly<Record<string, unknown>>

export type JsonSchemaValidation = (record: RecordObject) => readonly Fault[]

/**
 * Compiles a JSON Schema: draft 2020-12, or what its `$schema` names (draft-07, draft-06, 2019-09). `verbatim` properties arrive as text and
 * are judged as the numbers they say. Throws `CONFIG` with the reason when it is not a valid JSON Schema.
 */
export function compileJsonSchema(schema: JsonSchema, verbatim: ReadonlySet<string>): JsonSchemaValidation {
  const validate = compile(schema)
  const integers = integerProperties(schema)
  return (record) => {
    const judged = verbatim.size === 0 ? record : withNumbers(record, verbatim, integers)
    try {
      if (validate(judged)) return []
    } catch (error) {
      return [threw(error)]
    }
    return withoutAlternatives(validate.errors ?? []).map((error) => toFault(record, toFinding(judged, error)))
  }
}

function compile(schema: JsonSchema): ValidateFunction {
  const keys = allKeys(schema)
  try {
    const ajv = newAjv(typeof schema.$schema === "string" ? schema.$schema : "", keys)
    for (const key of keys) if (key.startsWith("x-")) ajv.addKeyword(key)
    return ajv.compile(schema)
  } catch (error) {
    throw new SpillwayError(
      "CONFIG",
      `the JSON Schema is not valid: ${error instanceof Error ? error.message : String(error)}`,
      {
        hint: "mend the schema; keywords of your own must begin with x-",
        cause: error,
      },
    )
  }
}

/** ajv is loaded here and not with the module: who uses no JSON Schema does not pay for it. */
function newAjv(dialect: string, keys: ReadonlySet<string>): Ajv2020 {
  const require = createRequire(import.meta.url)
  const entry = /draft-0[67]/.test(dialect)
    ? "ajv"
    : dialect.includes("2019-09")
      ? "ajv/dist/2019.js"
      : "ajv/dist/2020.js"
  const { default: Ajv } = require(entry) as { default: typeof Ajv2020 }
  const { default: addFormats } = require("ajv-formats") as { default: FormatsPlugin }
  const ajv = new Ajv({
    allErrors: true,
    strict: true,
    strictTypes: false,
    strictTuples: false,
    strictRequired: false,
    allowUnionTypes: true,
    // 1.1 is a multiple of 0.01, whatever binary fractions say.
    multipleOfPrecision: 9,
    // A property named "constructor" is not there only because every object has one; asked for by name only, since it costs time.
    ownProperties: [...keys].some((key) => key in Object.prototype),
    logger: false,
  })
  addFormats(ajv)
  ajv.addKeyword({ keyword: "secret", schemaType: "boolean" })
  return ajv
}

/** Every key of a document, at any depth. */
function allKeys(value: unknown, found = new Set<string>()): ReadonlySet<string> {
  if (typeof value !== "object" || value === null) return found
  for (const [key, inner] of Object.entries(value)) {
    found.add(key)
    allKeys(inner, found)
  }
  return found
}

function integerProperties(schema: JsonSchema): ReadonlySet<string> {
  const properties =
    typeof schema.properties === "object" && schema.properties !== null ? Object.entries(schema.properties) : []
  return new Set(
    properties.filter(([, value]) => (value as JsonSchema | null)?.type === "integer").map(([property]) => property),
  )
}

function withNumbers(record: RecordObject, verbatim: ReadonlySet<string>, integers: ReadonlySet<string>): RecordObject {
  const copy: RecordObject = Object.assign(Object.create(null) as RecordObject, record)
  for (const property of verbatim) {
    const value = record[property]
    const decimal = typeof value === "string" ? parseDecimal(value) : undefined
    if (decimal === undefined || (decimal.fraction !== "" && integers.has(property))) continue
    const number = Number(value)
    if (Number.isFinite(number)) copy[property] = number
  }
  return copy
}

/** Where every alternative failed, only the whole is told, not each of them. */
function withoutAlternatives(errors: readonly ErrorObject[]): readonly ErrorObject[] {
  const choices = errors
    .filter(({ keyword }) => keyword === "anyOf" || keyword === "oneOf")
    .map(({ schemaPath }) => `${schemaPath}/`)
  return choices.length === 0
    ? errors
    : errors.filter(({ schemaPath }) => !choices.some((choice) => schemaPath.startsWith(choice)))
}

function toFinding(record: RecordObject, error: ErrorObject): Finding {
  const path = pathOf(record, error.instancePath)
  const params = error.params as Readonly<Record<string, unknown>>
  const rule = error.keyword
  if (rule === "required") return { path: [...path, String(params.missingProperty)], rule, expected: "a value" }
  const surplus = params.additionalProperty ?? params.unevaluatedProperty
  if (typeof surplus === "string") return { path: [...path, surplus], rule, expected: "no such property" }
  return { path, rule, expected: expectedOf(error, params), message: error.message }
}

/** The keys of a JSON pointer, with the indices of lists as numbers. */
function pathOf(record: RecordObject, pointer: string): PropertyKey[] {
  const path: PropertyKey[] = []
  let value: unknown = record
  for (const part of pointer.split("/").slice(1)) {
    const key = part.replaceAll("~1", "/").replaceAll("~0", "~")
    path.push(Array.isArray(value) ? Number(key) : key)
    value = typeof value === "object" && value !== null ? (value as RecordObject)[key] : undefined
  }
  return path
}

function expectedOf({ keyword }: ErrorObject, params: Readonly<Record<string, unknown>>): string | undefined {
  const { limit } = params
  switch (keyword) {
    case "type": {
      const types = Array.isArray(params.type) ? params.type : String(params.type).split(",")
      return oneOf(types.map((type) => typeWord(String(type))))
    }
    case "minimum":
      return `a number ≥ ${String(limit)}`
    case "maximum":
      return `a number ≤ ${String(limit)}`
    case "exclusiveMinimum":
      return `a number > ${String(limit)}`
    case "exclusiveMaximum":
      return `a number < ${String(limit)}`
    case "multipleOf":
      return `a multiple of ${String(params.multipleOf)}`
    case "minLength":
      return `at least ${count(limit, "character")}`
    case "maxLength":
      return `at most ${count(limit, "character")}`
    case "minItems":
      return `at least ${count(limit, "item")}`
    case "maxItems":
      return `at most ${count(limit, "item")}`
    case "pattern":
      return `text that matches /${String(params.pattern)}/`
    case "format":
      return `text in the format ${String(params.format)}`
    case "const":
      return shown(params.allowedValue)
    case "enum":
      return oneOf((params.allowedValues as unknown[]).map(shown))
    default:
      return undefined
  }
}
