import { numberText, parseDecimal } from "../core/decimal.ts"
import type { RecordObject } from "../core/records.ts"
import { ownOverride, type ColumnOverrides } from "./columns.ts"
import type { RecordShape, ValueKind } from "./shape.ts"
import { parseInstant } from "./timestamp-text.ts"

/** What is known of one property of the input. */
export interface Input {
  readonly property: string
  readonly kind: ValueKind
  readonly acceptsNull: boolean
  readonly columnType: string | undefined
}

/** Gives the value in the schema's type, or the value itself when it does not convert in full. */
type Convert = (value: unknown, untyped: boolean) => unknown

export const isNumeric = (type: string | undefined): boolean => type !== undefined && /^(numeric|decimal)\b/i.test(type)

/** The inputs as the schema's input side tells them, or else as the columns do. */
export function toInputs(shape: RecordShape | undefined, overrides: ColumnOverrides | undefined): readonly Input[] {
  if (shape === undefined) {
    return Object.entries(overrides ?? {}).map(([property, { type }]) => {
      return { property, kind: kindOfColumn(type), acceptsNull: false, columnType: type }
    })
  }
  return [...shape.properties].map(([property, { kind, acceptsNull, note }]) => {
    const columnType = ownOverride(overrides, property).type ?? note.type
    return { property, kind: kind === "text" && isNumeric(columnType) ? "decimal-text" : kind, acceptsNull, columnType }
  })
}

function kindOfColumn(type: string | undefined): ValueKind {
  if (type === undefined) return "opaque"
  if (isNumeric(type)) return "decimal-text"
  if (/^(bigint|integer|int[248]?|smallint)$/i.test(type)) return "integer"
  if (/^(double precision|real|float[48]?)$/i.test(type)) return "number"
  if (/^bool(ean)?$/i.test(type)) return "boolean"
  if (/^jsonb?$/i.test(type)) return "json"
  return /^(text|varchar|char|character)\b/i.test(type) ? "text" : "opaque"
}

/** The `fit` of a record schema. Texts of `verbatim` properties stay texts: their digits are kept beside what is validated. */
export function fitter(
  inputs: readonly Input[],
  verbatim: ReadonlySet<string>,
): (record: RecordObject, untyped: boolean) => void {
  const rules = inputs.map((input) => ({
    property: input.property,
    inherited: input.property in Object.prototype,
    nothing: input.acceptsNull ? null : undefined,
    blankIsNothing: input.kind !== "text" && input.kind !== "opaque",
    convert: verbatim.has(input.property) ? toDecimalText : converter(input),
  }))
  return (record, untyped) => {
    for (const { property, inherited, nothing, blankIsNothing, convert } of rules) {
      if (inherited && !Object.hasOwn(record, property)) continue
      const value = record[property]
      if (value === undefined) continue
      if (value === null || (value === "" && blankIsNothing)) {
        if (untyped && value !== nothing) record[property] = nothing
        continue
      }
      if (convert === undefined) continue
      const fitted = convert(value, untyped)
      if (fitted !== value) record[property] = fitted
    }
  }
}

function converter({ kind, columnType }: Input): Convert | undefined {
  switch (kind) {
    case "number":
      return isNumeric(columnType) ? toNumberKeepingDigits : toNumber
    case "integer":
      return toInteger
    case "boolean":
      return toBoolean
    case "decimal-text":
      return toDecimalText
    case "bigint":
      return toBigInt
    case "date":
      return (value) => (typeof value === "string" ? (parseInstant(value) ?? value) : value)
    case "json":
      return toJson
    case "text":
    case "date-text":
    case "time-text":
    case "instant-text":
    case "uuid-text":
    case "null":
    case "opaque":
      return undefined
  }
}

const NUMERAL = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/
const SHORT_INTEGER = /^[+-]?\d{1,15}$/
/** A double tells any two numerals of up to this many digits apart. */
const SAFE_DIGITS = 15

/** A whole numeral as a number; undefined for anything else, and where the number would be infinite or vanish to 0. */
export function numberOf(text: string): number | undefined {
  if (!NUMERAL.test(text)) return undefined
  const number = Number(text)
  if (number === 0) return /^[^eE]*[1-9]/.test(text) ? undefined : number
  return Number.isFinite(number) ? number : undefined
}

/** A numeral of a whole number (`12`, `12.0`) as a number, as long as a double holds it exactly. */
export function integerOf(text: string): number | undefined {
  if (SHORT_INTEGER.test(text)) return Number(text) + 0
  const decimal = parseDecimal(text)
  if (decimal === undefined || decimal.fraction !== "") return undefined
  const number = Number(decimal.whole) * decimal.sign
  return Number.isSafeInteger(number) ? number + 0 : undefined
}

const toNumber: Convert = (value, untyped) =>
  untyped && typeof value === "string" ? (numberOf(value) ?? value) : value

const toNumberKeepingDigits: Convert = (value, untyped) => {
  if (!untyped || typeof value !== "string") return value
  const number = numberOf(value)
  if (number === undefined || value.length <= SAFE_DIGITS) return number ?? value
  return sameDecimal(value, String(number)) ? number : value
}

function sameDecimal(a: string, b: string): boolean {
  return JSON.stringify(parseDecimal(a)) === JSON.stringify(parseDecimal(b))
}

const toInteger: Convert = (value, untyped) => {
  if (typeof value === "string") return untyped ? (integerOf(value) ?? value) : value
  // Decoded from more digits than a double holds: which integer it was is no longer known, so validation has to refuse it.
  return typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value) ? String(value) : value
}

const toBoolean: Convert = (value, untyped) => {
  if (!untyped || typeof value !== "string") return value
  const word = value.length <= 5 ? value.toLowerCase() : ""
  return word === "true" ? true : word === "false" ? false : value
}

const toDecimalText: Convert = (value) => {
  if (typeof value === "number") return Number.isFinite(value) ? numberText(value) : value
  return typeof value === "bigint" ? value.toString() : value
}

const toBigInt: Convert = (value) => {
  if (typeof value === "number") return Number.isSafeInteger(value) ? BigInt(value) : value
  if (typeof value !== "string") return value
  const decimal = parseDecimal(value)
  if (decimal === undefined || decimal.fraction !== "") return value
  const magnitude = BigInt(decimal.whole)
  return decimal.sign < 0 ? -magnitude : magnitude
}

const toJson: Convert = (value, untyped) => {
  if (!untyped || typeof value !== "string" || (value[0] !== "{" && value[0] !== "[")) return value
  try {
    return JSON.parse(value) as unknown
  } catch {
    return value
  }
}
