import type { ByteCheck } from "../core/byte-check.ts"
import type { Column, RecordSchema, Validation } from "../core/contracts.ts"
import { SpillwayError } from "../core/errors.ts"
import { canonicalJson, type JsonValue } from "../core/json.ts"
import type { RecordObject } from "../core/records.ts"
import { withoutSecrets } from "../core/secret-fields.ts"
import { byteCheck, type ByteField } from "./byte-checks.ts"
import { ownOverride, toColumns, type ColumnOverrides } from "./columns.ts"
import { jsonByteFields } from "./json-byte-fields.ts"
import { notARecord, threw } from "./faults.ts"
import { fitter, isNumeric, toInputs, type Input } from "./fit.ts"
import { compileJsonSchema, type JsonSchema } from "./json-schema.ts"
import { secretPaths } from "./secrets.ts"
import { readRecordShape, refusesObjects, type RecordShape } from "./shape.ts"
import { snakeCase } from "./snake-case.ts"
import { isStandardSchema, type StandardResult, type StandardSchema } from "./standard.ts"
import { issueFaults } from "./standard-faults.ts"
import { valibotJsonSchema } from "./valibot.ts"
import { refuseCoercion, zodOptions } from "./zod.ts"
import { zodAcceptor } from "./zod-accept.ts"

/** A schema of any library that implements Standard Schema (zod, valibot, arktype …), or a JSON Schema as a plain object. */
export type AnySchema = StandardSchema | JsonSchema

interface Sides {
  readonly input: RecordShape | undefined
  readonly output: RecordShape | undefined
}

/**
 * A schema as the engine sees it. `columns` names and types columns, by property, and wins over what the schema tells.
 * Throws `CONFIG` when it is neither a Standard Schema nor a JSON Schema of a record. A property whose column type cannot be
 * told is named by a `CONFIG` error when `columns` of the result is read, since only what is stored needs one. `secrets` names
 * fields whose values are never shown, besides those that the schema itself marks (`.meta({ secret: true })`, `"secret": true`, `"writeOnly": true`).
 */
export function toRecordSchema(
  schema: AnySchema,
  columns?: ColumnOverrides,
  secrets: readonly string[] = [],
): RecordSchema {
  if (isStandardSchema(schema)) return fromStandardSchema(schema, columns, secrets)
  if (isJsonSchema(schema)) return fromJsonSchema(schema, columns, secrets)
  throw new SpillwayError("CONFIG", "the schema is neither a Standard Schema nor a JSON Schema", {
    hint: 'give a schema of zod, valibot, arktype …, such as z.object({ id: z.string() }), or a JSON Schema, such as { type: "object", properties: { … } }',
  })
}

function fromStandardSchema(
  schema: StandardSchema,
  overrides: ColumnOverrides | undefined,
  named: readonly string[],
): RecordSchema {
  const standard = schema["~standard"]
  const json = { input: sideOf(schema, "input"), output: sideOf(schema, "output") }
  const sides: Sides = {
    input: json.input && readRecordShape(json.input),
    output: json.output && readRecordShape(json.output),
  }
  const notes = new Map<string, string>()
  for (const [property, { note }] of sides.input?.properties ?? [])
    if (note.expected !== undefined) notes.set(property, note.expected)
  const toValidation = (record: RecordObject, result: StandardResult<unknown>): Validation => {
    if (result.issues) return { faults: issueFaults(record, standard.vendor, result.issues, notes) }
    return isObject(result.value) ? { value: result.value } : { faults: [notARecord(result.value)] }
  }
  const about = { vendor: standard.vendor, input: json.input, output: json.output }
  const acceptor = standard.vendor === "zod" ? zodAcceptor(schema) : undefined
  const byteFields = acceptor?.byteFields
  const secrets = new Set([...named, ...secretPaths(json.input), ...secretPaths(json.output)])
  return recordSchema({ sides, overrides, secrets, verbatim: new Set(), about, byteFields }, (record) => {
    const accepted = acceptor?.accept(record)
    if (accepted !== undefined) return { value: accepted }
    try {
      const result = standard.validate(standard.vendor === "zod" ? record : withoutAbsent(record))
      if (!(result instanceof Promise)) return toValidation(record, result)
      return result.then(
        (settled) => toValidation(record, settled),
        (error: unknown) => ({ faults: [threw(error)] }),
      )
    } catch (error) {
      return { faults: [threw(error)] }
    }
  })
}

/** The record without properties that are undefined, which some libraries take for values; itself when it has none. */
function withoutAbsent(record: RecordObject): RecordObject {
  const entries = Object.entries(record)
  const present = entries.filter(([, value]) => value !== undefined)
  return present.length === entries.length ? record : Object.fromEntries(present)
}

/** One side of a schema as JSON Schema; undefined where the library cannot give it. */
function sideOf(schema: StandardSchema, side: "input" | "output"): JsonSchema | undefined {
  const standard = schema["~standard"]
  if (standard.vendor === "valibot" && standard.jsonSchema === undefined) return valibotJsonSchema(schema, side)
  const coerced = new Map<string, string>()
  let json: JsonSchema | undefined
  try {
    json = standard.jsonSchema?.[side]({
      target: "draft-2020-12",
      ...(standard.vendor === "zod" ? { libraryOptions: zodOptions(coerced) } : {}),
    })
  } catch {
    return undefined
  }
  refuseCoercion(coerced)
  if (json !== undefined) refuseOtherThanRecords(json)
  return json
}

function fromJsonSchema(
  schema: JsonSchema,
  overrides: ColumnOverrides | undefined,
  named: readonly string[],
): RecordSchema {
  refuseOtherThanRecords(schema)
  const shape = readRecordShape(schema)
  const numbers = toInputs(shape, overrides).filter(
    ({ kind, columnType }) => (kind === "number" || kind === "integer") && isNumeric(columnType),
  )
  const verbatim = new Set(numbers.map(({ property }) => property))
  const validate = compileJsonSchema(schema, verbatim)
  const about = { vendor: "json-schema", input: schema }
  const secrets = new Set([...named, ...secretPaths(schema)])
  const sides = { input: shape, output: shape }
  const parts = { sides, overrides, secrets, verbatim, about, byteFields: jsonByteFields(schema) }
  return recordSchema(parts, (record) => {
    const faults = validate(record)
    return faults.length === 0 ? { value: record } : { faults }
  })
}

interface Parts {
  readonly sides: Sides
  readonly overrides: ColumnOverrides | undefined
  readonly secrets: ReadonlySet<string>
  /** Properties of the input whose text is stored while the number it says is validated. */
  readonly verbatim: ReadonlySet<string>
  readonly about: Readonly<Record<string, unknown>>
  readonly byteFields: ReadonlyMap<string, ByteField> | undefined
}

function recordSchema(
  { sides, overrides, secrets, verbatim, about, byteFields }: Parts,
  validate: RecordSchema["validate"],
): RecordSchema {
  const inputs = toInputs(sides.input, overrides)
  const exact = inputs.filter(
    ({ kind, property }) => kind === "decimal-text" || kind === "bigint" || verbatim.has(property),
  )
  const properties = [...(sides.input?.properties ?? [])]
  // Made when they are asked for, and once: each batch asks.
  let columns: { readonly told: RecordSchema["columns"] } | undefined
  let checks: { readonly told: RecordSchema["byteChecks"] } | undefined
  return {
    get columns() {
      columns ??= { told: toColumns(sides.output, overrides) }
      return columns.told
    },
    inputs:
      sides.input === undefined || sides.input.open ? undefined : new Set(properties.map(([property]) => property)),
    required: new Set(properties.filter(([, shape]) => shape.required).map(([property]) => property)),
    exact: new Set(exact.map(({ property }) => property)),
    secrets: withColumnNames(secrets, overrides),
    fit: fitter(inputs, verbatim),
    validate: secrets.size === 0 ? validate : discreet(validate, secrets),
    get byteChecks() {
      checks ??= { told: byteFields && checksOrNone(byteFields, inputs, () => this.columns) }
      return checks.told
    },
    description: JSON.parse(
      canonicalJson({ ...(withoutDefaults(about) as object), columns: overrides ?? null }),
    ) as JsonValue,
  }
}

/** Validation whose faults tell nothing of what secret fields hold. */
function discreet(validate: RecordSchema["validate"], secrets: ReadonlySet<string>): RecordSchema["validate"] {
  return (record) => {
    const clean = (validation: Validation): Validation =>
      "value" in validation
        ? validation
        : { faults: validation.faults.map((fault) => withoutSecrets(fault, record, secrets)) }
    const validation = validate(record)
    return validation instanceof Promise ? validation.then(clean) : clean(validation)
  }
}

/** The database names fields by their columns. */
function withColumnNames(secrets: ReadonlySet<string>, overrides: ColumnOverrides | undefined): ReadonlySet<string> {
  const names = [...secrets].filter((path) => !/[.[]/.test(path))
  return new Set([...secrets, ...names.map((name) => ownOverride(overrides, name).name ?? snakeCase(name))])
}

/** None where a property's name gives no column's: whoever needs columns is told so, records can be judged without. */
function checksOrNone(
  fields: ReadonlyMap<string, ByteField>,
  inputs: readonly Input[],
  columns: () => RecordSchema["columns"],
): RecordSchema["byteChecks"] {
  try {
    return checksByColumn(fields, inputs, columns() ?? [])
  } catch {
    return undefined
  }
}

/** A byte check for every column, or undefined when one of them has none. */
function checksByColumn(
  fields: ReadonlyMap<string, ByteField>,
  inputs: readonly Input[],
  columns: readonly Column[],
): ReadonlyMap<string, ByteCheck> | undefined {
  const checks = new Map<string, ByteCheck>()
  const acceptNull = new Set(inputs.flatMap(({ property, acceptsNull }) => (acceptsNull ? [property] : [])))
  for (const column of columns) {
    const field = fields.get(column.property)
    const check = field && byteCheck(field, column, acceptNull.has(column.property))
    if (check === undefined) return undefined
    checks.set(column.property, check)
  }
  return checks
}

/** Defaults may be made anew at every start (the time of day), and what is secret changes no record: they would make equal schemas look different. */
function withoutDefaults(value: unknown, isPropertyList = false): unknown {
  if (Array.isArray(value)) return value.map((item) => withoutDefaults(item))
  if (!isObject(value)) return value
  const kept = Object.entries(value).filter(([key]) => isPropertyList || (key !== "default" && key !== "secret"))
  return Object.fromEntries(
    kept.map(([key, inner]) => [key, withoutDefaults(inner, key === "properties" && !isPropertyList)]),
  )
}

const isObject = (value: unknown): value is RecordObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

const ROOT_KEYWORDS = [
  "$schema",
  "$ref",
  "type",
  "properties",
  "required",
  "allOf",
  "anyOf",
  "oneOf",
  "additionalProperties",
  "patternProperties",
]

function isJsonSchema(value: unknown): value is JsonSchema {
  if (!isObject(value)) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return false
  return ROOT_KEYWORDS.some((keyword) => keyword in value) && !Object.values(value).some(isStandardSchema)
}

function refuseOtherThanRecords(json: JsonSchema): void {
  if (!refusesObjects(json)) return
  throw new SpillwayError("CONFIG", `the schema describes ${JSON.stringify(json.type)}, not a record`, {
    hint: "the schema of a pipeline describes an object with named properties",
  })
}
