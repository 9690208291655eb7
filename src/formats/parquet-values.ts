import { isUtf8 } from "node:buffer"
import type { SchemaElement, TimeUnit } from "hyparquet"
import { exactNumber, parseJsonExactly } from "../core/exact-number.ts"
import { numberText } from "../core/decimal.ts"

/** Text that is not valid UTF-8. */
export class BadText {
  readonly bytes: Uint8Array
  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }
}

/** What is stored, never null, as a record carries it; `exact`: numbers are wanted as text. */
export type LeafValue = (stored: unknown, exact: boolean) => unknown

const MAX_SAFE = BigInt(Number.MAX_SAFE_INTEGER)

/** The kinds of column whose bytes are text. */
export function isText({ type, converted_type: converted, logical_type: logical }: SchemaElement): boolean {
  if (type !== "BYTE_ARRAY") return false
  return isOneOf(logical?.type, ["STRING", "ENUM", "JSON"]) || isOneOf(converted, ["UTF8", "ENUM", "JSON"])
}

const isOneOf = (name: string | undefined, names: readonly string[]): boolean =>
  name !== undefined && names.includes(name)

/** How the values of a column are to be understood, by its annotations. */
export function leafValue(element: SchemaElement, binaryAsText: boolean): LeafValue {
  const { type, converted_type: converted, logical_type: logical } = element
  if (isText(element)) return logical?.type === "JSON" || converted === "JSON" ? json : same
  if (logical?.type === "DECIMAL") return decimal(logical.scale)
  if (converted === "DECIMAL") return decimal(element.scale ?? 0)
  if (logical?.type === "TIMESTAMP") return timestamp(logical.unit, logical.isAdjustedToUTC)
  // Before logical types, timestamps counted from midnight in UTC.
  if (converted === "TIMESTAMP_MILLIS") return timestamp("MILLIS", true)
  if (converted === "TIMESTAMP_MICROS") return timestamp("MICROS", true)
  // Whoever wrote it may have meant any zone.
  if (type === "INT96") return timestamp("NANOS", false)
  if (logical?.type === "TIME") return time(logical.unit, logical.isAdjustedToUTC)
  if (converted === "TIME_MILLIS") return time("MILLIS", true)
  if (converted === "TIME_MICROS") return time("MICROS", true)
  if (logical?.type === "DATE" || converted === "DATE") return date
  if (isUnsigned(element)) return unsigned
  if (logical?.type === "UUID") return uuid
  if (logical?.type === "FLOAT16") return float16
  if (converted === "INTERVAL") return interval
  return PHYSICAL[type ?? "BOOLEAN"](binaryAsText)
}

const same: LeafValue = (stored) => stored
const json: LeafValue = (stored) => (stored instanceof BadText ? stored : parseJsonExactly(stored as string))
const whole: LeafValue = (stored, exact) => integer(BigInt(stored as number | bigint), exact)
const single: LeafValue = (stored, exact) => finite(shortest(stored as number), exact)
const double: LeafValue = (stored, exact) => finite(stored as number, exact)
const bytes =
  (asText: boolean): LeafValue =>
  (stored) => {
    const binary = stored as Uint8Array
    if (!asText) return `\\x${hex(binary)}`
    return isUtf8(binary) ? Buffer.from(binary).toString() : new BadText(binary)
  }

const PHYSICAL: Record<NonNullable<SchemaElement["type"]>, (binaryAsText: boolean) => LeafValue> = {
  BOOLEAN: () => same,
  INT32: () => whole,
  INT64: () => whole,
  INT96: () => same,
  FLOAT: () => single,
  DOUBLE: () => double,
  BYTE_ARRAY: bytes,
  FIXED_LEN_BYTE_ARRAY: () => bytes(false),
}

function integer(value: bigint, exact: boolean): number | string {
  const fits = value <= MAX_SAFE && value >= -MAX_SAFE
  return exact || !fits ? value.toString() : Number(value)
}

function finite(value: number, exact: boolean): number | string {
  if (!Number.isFinite(value)) return String(value)
  return exact ? numberText(value) : value
}

/** The shortest decimal that is the same single-precision number. */
function shortest(value: number): number {
  for (let digits = 6; digits < 9; digits++) {
    const rounded = Number(value.toPrecision(digits))
    if (Math.fround(rounded) === value) return rounded
  }
  return Number(value.toPrecision(9))
}

const hex = (binary: Uint8Array): string => Buffer.from(binary.buffer, binary.byteOffset, binary.length).toString("hex")

/** Big-endian, two's complement. */
function bigInteger(stored: unknown): bigint {
  if (!(stored instanceof Uint8Array)) return BigInt(stored as number | bigint)
  return stored.length === 0 ? 0n : BigInt.asIntN(8 * stored.length, BigInt(`0x${hex(stored)}`))
}

function decimal(scale: number): LeafValue {
  return (stored, exact) => exactNumber(decimalText(bigInteger(stored), scale), exact)
}

function decimalText(unscaled: bigint, scale: number): string {
  const sign = unscaled < 0n ? "-" : ""
  const digits = (unscaled < 0n ? -unscaled : unscaled).toString().padStart(scale + 1, "0")
  const point = digits.length - scale
  return sign + digits.slice(0, point) + (scale === 0 ? "" : `.${digits.slice(point)}`)
}

const isUnsigned = ({ converted_type: converted, logical_type: logical }: SchemaElement): boolean =>
  converted?.startsWith("UINT_") === true || (logical?.type === "INTEGER" && !logical.isSigned)

const unsigned: LeafValue = (stored, exact) =>
  integer(typeof stored === "bigint" ? BigInt.asUintN(64, stored) : BigInt.asUintN(32, BigInt(stored as number)), exact)

const PER_SECOND: Record<TimeUnit, bigint> = { MILLIS: 1_000n, MICROS: 1_000_000n, NANOS: 1_000_000_000n }
const DAY_SECONDS = 86_400n

/** ISO 8601 with three, six or nine digits of a second, as many as it takes; `Z` where the column counts in UTC. */
function timestamp(unit: TimeUnit, utc: boolean): LeafValue {
  return (stored) => {
    const { seconds, rest } = divided(BigInt(stored as number | bigint), PER_SECOND[unit])
    const { seconds: days, rest: inDay } = divided(seconds, DAY_SECONDS)
    return `${dateText(Number(days))}T${clockText(inDay, rest, unit)}${utc ? "Z" : ""}`
  }
}

function time(unit: TimeUnit, utc: boolean): LeafValue {
  return (stored) => {
    const { seconds, rest } = divided(BigInt(stored as number | bigint), PER_SECOND[unit])
    return clockText(seconds, rest, unit) + (utc ? "Z" : "")
  }
}

const date: LeafValue = (stored) => dateText(Number(stored))

/** Rounded down, so that what is before 1970 comes out right. */
function divided(value: bigint, by: bigint): { seconds: bigint; rest: bigint } {
  const rest = ((value % by) + by) % by
  return { seconds: (value - rest) / by, rest }
}

/** Days since 1970 as `YYYY-MM-DD`; beyond the years 0 to 9999 as ISO 8601 writes them, with a sign. */
function dateText(days: number): string {
  const moment = new Date(days * 86_400_000)
  return Number.isNaN(moment.getTime()) ? `day ${days}` : moment.toISOString().split("T")[0]!
}

function clockText(seconds: bigint, rest: bigint, unit: TimeUnit): string {
  const two = (n: bigint): string => n.toString().padStart(2, "0")
  const clock = `${two(seconds / 3600n)}:${two((seconds / 60n) % 60n)}:${two(seconds % 60n)}`
  const digits = rest.toString().padStart(PER_SECOND[unit].toString().length - 1, "0")
  const fraction = digits.replace(/(?:000)+$/, "")
  return fraction === "" ? clock : `${clock}.${fraction}`
}

const uuid: LeafValue = (stored) =>
  hex(stored as Uint8Array).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5")

const float16: LeafValue = (stored, exact) => {
  const [low = 0, high = 0] = stored as Uint8Array
  const sign = high & 0x80 ? -1 : 1
  const exponent = (high >> 2) & 0x1f
  const fraction = ((high & 3) << 8) | low
  if (exponent === 0x1f) return fraction === 0 ? (sign < 0 ? "-Infinity" : "Infinity") : "NaN"
  return finite(sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25)), exact)
}

const interval: LeafValue = (stored) => {
  const binary = stored as Uint8Array
  const view = new DataView(binary.buffer, binary.byteOffset, binary.length)
  const millis = BigInt(view.getUint32(8, true))
  const fraction = (millis % 1000n).toString().padStart(3, "0")
  return `P${view.getUint32(0, true)}M${view.getUint32(4, true)}DT${millis / 1000n}.${fraction}S`
}
