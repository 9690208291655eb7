import type { Column } from "../core/contracts.ts"
import { parseDecimal } from "../core/decimal.ts"
import type { Fault, RecordObject } from "../core/records.ts"
import { joinPath, printable, shown, typeName } from "../core/shown.ts"
import { usualForm } from "./timestamp-text.ts"

/** Gives the field in COPY text format, or what PostgreSQL would not take. */
type FieldEncoder = (value: unknown) => string | Unfit

/** Why a value does not go into its column. */
class Unfit {
  readonly rule: string
  readonly expected: string

  constructor(rule: string, expected: string) {
    this.rule = rule
    this.expected = expected
  }
}

const NULL = "\\N"
const NOT_NULL = new Unfit("not_null", "a value, since the column is not null")
const NUL = new Unfit("nul", "text without the NUL character, which PostgreSQL cannot hold")
const SURROGATE = new Unfit("surrogate", "well-formed Unicode text without lone surrogates")

/**
 * Encodes records as lines of PostgreSQL's COPY text format, without the line end: the columns in order, joined by tabs.
 * Gives a fault (code `DB_CONSTRAINT`, step `load`, rule `not_null`, `type`, `range`, `scale`, `precision`, `zone`, `nul` or `surrogate`)
 * for the first value that PostgreSQL could not hold as it is.
 */
export function rowEncoder(columns: readonly Column[]): (record: RecordObject) => string | Fault {
  const fields = columns.map((column) => ({
    column,
    property: column.property,
    nullable: column.nullable,
    encode: fieldEncoder(column),
  }))
  return (record) => {
    let row = ""
    let first = true
    for (const { column, property, nullable, encode } of fields) {
      const value = record[property]
      const field = value === undefined || value === null ? (nullable ? NULL : NOT_NULL) : encode(value)
      if (typeof field !== "string") return toFault(column, value, field)
      if (first) {
        row = field
        first = false
      } else {
        row += "\t" + field
      }
    }
    return row
  }
}

function toFault(column: Column, value: unknown, { rule, expected }: Unfit): Fault {
  const path = joinPath([column.property])
  return {
    code: "DB_CONSTRAINT",
    step: "load",
    rule,
    path,
    expected,
    actualType: typeName(value),
    message: `${path}: expected ${expected}, got ${shown(value)} (column ${printable(column.name)} ${printable(column.type)})`,
  }
}

function fieldEncoder(column: Column): FieldEncoder {
  const type = column.type.trim().toLowerCase().replace(/\s+/g, " ")
  const numeric = /^(?:numeric|decimal)(?: ?\( ?(\d+) ?(?:, ?(\d+) ?)?\))?$/.exec(type)
  if (numeric !== null) return numericEncoder(numeric[1], numeric[2])
  const bits = INTEGER_BITS[type]
  if (bits !== undefined) return integerEncoder(bits)
  switch (type) {
    case "double precision":
    case "float8":
    case "real":
    case "float4":
      return encodeFloat
    case "boolean":
    case "bool":
      return encodeBoolean
    case "json":
    case "jsonb":
      return encodeJson
    case "date":
      return encodeDate
    case "timestamp":
    case "timestamp without time zone":
      return encodeLocalTime
    case "timestamptz":
    case "timestamp with time zone":
      return instantEncoder(column.zone)
    default:
      return encodeText
  }
}

const NEEDS_CARE = /[\\\t\n\r\0\ud800-\udfff]/
const ESCAPES: Readonly<Record<string, string>> = { "\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r" }

function escaped(text: string): string | Unfit {
  if (!NEEDS_CARE.test(text)) return text
  if (text.includes("\0")) return NUL
  if (!text.isWellFormed()) return SURROGATE
  return text.replace(/[\\\t\n\r]/g, (character) => ESCAPES[character] ?? character)
}

const NOT_TEXT = new Unfit("type", "text")

const encodeText: FieldEncoder = (value) => {
  if (typeof value === "string") return escaped(value)
  if (typeof value === "number" || typeof value === "bigint") return String(value)
  if (typeof value === "boolean") return value ? "true" : "false"
  return value instanceof Date ? isoText(value) : NOT_TEXT
}

const NOT_BOOLEAN = new Unfit("type", "true or false")
const BOOLEAN_WORDS: Readonly<Record<string, string>> = { true: "t", t: "t", false: "f", f: "f" }

const encodeBoolean: FieldEncoder = (value) => {
  if (typeof value === "boolean") return value ? "t" : "f"
  return (
    (typeof value === "string" && Object.hasOwn(BOOLEAN_WORDS, value) ? BOOLEAN_WORDS[value] : undefined) ?? NOT_BOOLEAN
  )
}

const INTEGER_BITS: Readonly<Record<string, bigint>> = {
  smallint: 16n,
  int2: 16n,
  integer: 32n,
  int: 32n,
  int4: 32n,
  bigint: 64n,
  int8: 64n,
}

function integerEncoder(bits: bigint): FieldEncoder {
  const limit = 2n ** (bits - 1n)
  const high = Number(limit) - 1
  const notInteger = new Unfit("type", "an integer")
  const outside = new Unfit("range", `an integer from ${-limit} to ${limit - 1n}`)
  const encodeBig = (value: bigint): string | Unfit => (value >= -limit && value < limit ? value.toString() : outside)
  return (value) => {
    if (typeof value === "number") {
      if (!Number.isInteger(value)) return notInteger
      if (!Number.isSafeInteger(value)) return outside
      return value <= high && value >= -high - 1 ? String(value) : outside
    }
    if (typeof value === "bigint") return encodeBig(value)
    if (typeof value !== "string" || !/^[+-]?\d{1,40}$/.test(value)) return notInteger
    return value.length <= 4 ? value : encodeBig(BigInt(value.startsWith("+") ? value.slice(1) : value))
  }
}

const NOT_NUMERIC = new Unfit("type", "a finite number")

function numericEncoder(precision: string | undefined, scale: string | undefined): FieldEncoder {
  const fits = precision === undefined ? undefined : digitsJudge(Number(precision), Number(scale ?? 0))
  return (value) => {
    let text: string
    if (typeof value === "string") {
      if (!PLAIN_NUMERAL.test(value) && parseDecimal(value) === undefined) return NOT_NUMERIC
      text = value
    } else if (typeof value === "number") {
      if (!Number.isFinite(value)) return NOT_NUMERIC
      text = String(value)
    } else if (typeof value === "bigint") {
      text = value.toString()
    } else {
      return NOT_NUMERIC
    }
    return fits?.(text) ?? text
  }
}

const PLAIN_NUMERAL = /^[+-]?\d+(?:\.\d+)?$/

/** PostgreSQL would round a surplus of digits away without a word. */
function digitsJudge(precision: number, scale: number): (text: string) => Unfit | undefined {
  const before = precision - scale
  const tooPrecise = new Unfit("scale", `a number with at most ${scale} digits behind the point`)
  const tooLarge = new Unfit("precision", `a number with at most ${before} digits before the point`)
  return (text) => {
    if (text.length <= before && !text.includes(".") && !text.includes("e")) return undefined
    const decimal = parseDecimal(text)
    if (decimal === undefined) return NOT_NUMERIC
    if (decimal.fraction.length > scale) return tooPrecise
    return decimal.whole.length > before ? tooLarge : undefined
  }
}

const NOT_FLOAT = new Unfit("type", "a number")

const encodeFloat: FieldEncoder = (value) => {
  if (typeof value === "number") return Object.is(value, -0) ? "-0" : String(value)
  if (typeof value === "bigint") return value.toString()
  return typeof value === "string" && (parseDecimal(value) !== undefined || /^(?:NaN|-?Infinity)$/.test(value))
    ? value
    : NOT_FLOAT
}

const NOT_JSON = new Unfit("type", "a value that JSON can carry")
/** `\u0000`, and the surrogates that JSON.stringify writes as escapes because they are alone, unless the backslash is itself escaped. */
const UNSTORABLE_ESCAPE = /(?<!\\)(?:\\\\)*\\u(0000|d[89a-f])/

const encodeJson: FieldEncoder = (value) => {
  let json: string | undefined
  try {
    json = JSON.stringify(value)
  } catch {
    return NOT_JSON
  }
  // Not a string for functions and symbols, whatever its type says.
  if (typeof json !== "string") return NOT_JSON
  if (!json.includes("\\")) return json
  const unstorable = UNSTORABLE_ESCAPE.exec(json)
  if (unstorable !== null) return unstorable[1] === "0000" ? NUL : SURROGATE
  return json.replaceAll("\\", "\\\\")
}

const ISO_DATE = /^\d{4,6}-\d{2}-\d{2}$/
const ISO_LOCAL = /^\d{4,6}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?)?$/
const ISO_ZONED =
  /^\d{4,6}-\d{2}-\d{2}[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?(?: ?[zZ]| ?[+-]\d{2}(?::?\d{2})?| [A-Z][\w+-]*(?:\/[\w+-]+)*)$/

const NOT_DATE = new Unfit("type", "a date such as 2010-12-31")
const NOT_LOCAL_TIME = new Unfit("type", "a date and time such as 2010-12-31 23:59:00, without a zone")
const NOT_INSTANT = new Unfit("type", "a date and time such as 2010-12-31 23:59:00Z")
const NO_ZONE = new Unfit("zone", "a date and time that carries its zone, since the column names none")
const NO_ISO_YEAR = new Unfit("range", "a date from year 1 to year 9999")

/** Without the final `Z`, which a `date` or `timestamp` column has no place for, when `length` cuts it off. */
function isoText(value: Date, length?: number): string | Unfit {
  const time = value.getTime()
  if (Number.isNaN(time)) return new Unfit("type", "a valid date")
  const year = value.getUTCFullYear()
  return year < 1 || year > 9999 ? NO_ISO_YEAR : value.toISOString().slice(0, length)
}

const encodeDate: FieldEncoder = (value) => {
  if (typeof value === "string") return ISO_DATE.test(value) ? value : NOT_DATE
  return value instanceof Date ? isoText(value, 10) : NOT_DATE
}

const encodeLocalTime: FieldEncoder = (value) => {
  if (typeof value === "string") return ISO_LOCAL.test(value) ? value : NOT_LOCAL_TIME
  return value instanceof Date ? isoText(value, 23) : NOT_LOCAL_TIME
}

function instantEncoder(zone: string | undefined): FieldEncoder {
  const suffix = zone === undefined ? undefined : ` ${zone}`
  return (value) => {
    if (typeof value === "string") {
      const usual = usualForm(value)
      if (usual === "zoned") return value
      if (usual === "local" || ISO_LOCAL.test(value)) return suffix === undefined ? NO_ZONE : value + suffix
      return ISO_ZONED.test(value) ? value : NOT_INSTANT
    }
    return value instanceof Date ? isoText(value) : NOT_INSTANT
  }
}
