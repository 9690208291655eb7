import type { RecordObject } from "../core/records.ts"

/** The part of an Apache Arrow table that is read here; the library itself is never imported. */
export interface ArrowTable {
  readonly numRows: number
  readonly schema: { readonly fields: readonly ArrowField[] }
  getChildAt(index: number): Iterable<unknown> | null
}

interface ArrowField {
  readonly name: string
  readonly type: ArrowType
}

interface ArrowType {
  readonly typeId: number
  /** Of a decimal: digits behind the point. */
  readonly scale?: number
  readonly timezone?: string | null
  /** Of a dictionary: the type of its values. */
  readonly dictionary?: ArrowType
}

/** Arrow's numbers for types whose values need more than to be taken as they are. */
const DECIMAL = 7
const DATE = 8
const TIMESTAMP = 10

export function isArrowTable(value: object): value is ArrowTable {
  if (!("numRows" in value) || !("schema" in value) || !("getChildAt" in value)) return false
  const { numRows, schema, getChildAt } = value
  return (
    typeof numRows === "number" &&
    typeof getChildAt === "function" &&
    typeof schema === "object" &&
    schema !== null &&
    "fields" in schema &&
    Array.isArray(schema.fields)
  )
}

/**
 * The rows of a table, as objects. Dates and times come as ISO text, decimals as text with every digit, structs and lists as objects and
 * arrays; 64-bit integers as numbers where a number holds them, and as text for the properties in `exact`.
 */
export function* arrowRows(table: ArrowTable, exact: ReadonlySet<string>): Generator<RecordObject> {
  const columns = table.schema.fields.map(({ name, type }, c) => ({
    name,
    values: (table.getChildAt(c) ?? [])[Symbol.iterator](),
    convert: converter(type.dictionary ?? type, exact.has(name)),
  }))
  for (let row = 0; row < table.numRows; row++) {
    const record = Object.create(null) as RecordObject
    for (const { name, values, convert } of columns) {
      const next = values.next()
      const value: unknown = next.done === true ? null : next.value
      record[name] = value === null || value === undefined ? null : convert(value)
    }
    yield record
  }
}

type Convert = (value: unknown) => unknown

function converter(type: ArrowType, exact: boolean): Convert {
  switch (type.typeId) {
    case DECIMAL:
      return (value) => decimalText(value as Uint32Array, type.scale ?? 0)
    case DATE:
      return (value) => instantText(Number(value), "Z").replace(/T00:00:00\.000Z$/, "")
    case TIMESTAMP:
      return (value) => instantText(Number(value), type.timezone ? "Z" : "")
    default:
      return (value) => plain(value, exact)
  }
}

function plain(value: unknown, exact: boolean): unknown {
  if (typeof value === "bigint") {
    if (exact) return value.toString()
    const number = Number(value)
    return Number.isSafeInteger(number) ? number : value
  }
  if (typeof value !== "object" || value === null || value instanceof Date || value instanceof Uint8Array) return value
  if (Symbol.iterator in value && !("toJSON" in value && !("length" in value)))
    return Array.from(value as Iterable<unknown>, (inner) => plain(inner, false))
  if ("toJSON" in value && typeof value.toJSON === "function") return plainObject((value.toJSON as () => unknown)())
  return value
}

function plainObject(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner, false)]))
}

/** Milliseconds since the epoch as ISO text, with microseconds where there are any. */
function instantText(time: number, zone: string): string {
  const milliseconds = Math.floor(time)
  const micros = Math.round((time - milliseconds) * 1000)
  const text = new Date(milliseconds).toISOString().slice(0, -1)
  return (micros === 0 ? text : text + String(micros).padStart(3, "0")) + zone
}

/** Little-endian 32-bit words in two's complement, `scale` digits behind the point. */
function decimalText(words: Uint32Array, scale: number): string {
  let value = 0n
  for (let n = words.length - 1; n >= 0; n--) value = (value << 32n) | BigInt((words[n] as number) >>> 0)
  value = BigInt.asIntN(words.length * 32, value)
  const digits = (value < 0n ? -value : value).toString().padStart(scale + 1, "0")
  const point = digits.length - scale
  return `${value < 0n ? "-" : ""}${digits.slice(0, point)}${scale > 0 ? `.${digits.slice(point)}` : ""}`
}
