import { AS_IT_STANDS, UNSURE, WITH_ESCAPES, WITH_SUFFIX, type ByteCheck, type Column } from "../core/contracts.ts"

/** What a schema says of a property's text, in words that can be judged by its bytes. */
export type ByteRule =
  | { readonly kind: "text"; readonly least: number; readonly most: number }
  | { readonly kind: "member"; readonly values: readonly string[] }
  | { readonly kind: "integer"; readonly holds: (value: number) => boolean }
  | { readonly kind: "number"; readonly holds: (value: number) => boolean }
  /** `plain`: every numeral without a sign is right. */
  | { readonly kind: "decimal"; readonly plain: boolean; readonly test: (text: string) => boolean }
  | { readonly kind: "instant"; readonly zoneInText: boolean }

export interface ByteField {
  readonly rule: ByteRule
  readonly optional: boolean
}

type Judge = ByteCheck["judge"]

const NOTHING = new Uint8Array(0)

/**
 * The byte check for a column, as long as the column is of the type that goes with the rule; undefined otherwise. Text is taken
 * by its bytes only where one byte is one character.
 */
export function byteCheck({ rule, optional }: ByteField, column: Column): ByteCheck | undefined {
  if (optional && !column.nullable) return undefined
  const type = column.type.trim().toLowerCase()
  const check = (judge: Judge, suffix: Uint8Array = NOTHING): ByteCheck => ({ optional, suffix, judge })
  switch (rule.kind) {
    case "text":
      return type === "text" ? check(text(rule.least, rule.most)) : undefined
    case "member":
      return type === "text" ? check(member(rule.values)) : undefined
    case "integer": {
      const limit = integerRange(type)
      return limit === undefined ? undefined : check(integer(rule.holds, limit))
    }
    case "number":
      return type === "double precision" ? check(number(rule.holds)) : undefined
    case "decimal": {
      const digits = numericDigits(type)
      return digits && check(decimal(rule, digits))
    }
    case "instant":
      return type === "timestamptz" && (rule.zoneInText ? column.zone === undefined : column.zone !== undefined)
        ? check(instant(rule.zoneInText), Buffer.from(column.zone === undefined ? "" : ` ${column.zone}`))
        : undefined
  }
}

/** The largest absolute value that is sure to fit; undefined for other types. */
const integerRange = (type: string): number | undefined =>
  type === "bigint" ? Number.MAX_SAFE_INTEGER : type === "integer" ? 2 ** 31 - 1 : undefined

const TAB = 0x09
const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d
const BACKSLASH = 0x5c
const POINT = 0x2e
const MINUS = 0x2d

const text =
  (least: number, most: number): Judge =>
  (bytes, from, to) => {
    if (to - from < least || to - from > most) return UNSURE
    let verdict: typeof AS_IT_STANDS | typeof WITH_ESCAPES = AS_IT_STANDS
    for (let at = from; at < to; at++) {
      const byte = bytes[at] as number
      if (byte > 0x7e) return UNSURE
      if (byte >= 0x20 && byte !== BACKSLASH) continue
      if (byte !== BACKSLASH && byte !== TAB && byte !== LINE_FEED && byte !== CARRIAGE_RETURN) return UNSURE
      verdict = WITH_ESCAPES
    }
    return verdict
  }

function member(values: readonly string[]): Judge {
  const simple = values.filter((value) => /^[ -[\]-~]+$/.test(value)).map((value) => Buffer.from(value))
  return (bytes, from, to) => {
    for (const value of simple) {
      if (value.length !== to - from) continue
      let at = 0
      while (at < value.length && bytes[from + at] === value[at]) at++
      if (at === value.length) return AS_IT_STANDS
    }
    return UNSURE
  }
}

/** Whole numbers as they would be written back: no sign but a minus, no zero in front. */
const integer =
  (holds: (value: number) => boolean, limit: number): Judge =>
  (bytes, from, to) => {
    const negative = bytes[from] === MINUS
    const first = negative ? from + 1 : from
    if (first === to || to - first > 15 || (bytes[first] === 0x30 && (negative || to - first > 1))) return UNSURE
    let value = 0
    for (let at = first; at < to; at++) {
      const digit = (bytes[at] as number) - 0x30
      if (digit < 0 || digit > 9) return UNSURE
      value = value * 10 + digit
    }
    if (value > limit) return UNSURE
    return holds(negative ? -value : value) ? AS_IT_STANDS : UNSURE
  }

const latin1 = (bytes: Uint8Array, from: number, to: number): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString("latin1")

const number =
  (holds: (value: number) => boolean): Judge =>
  (bytes, from, to) => {
    if (to - from > 17) return UNSURE
    const written = latin1(bytes, from, to)
    const value = Number(written)
    return String(value) === written && Number.isFinite(value) && holds(value) ? AS_IT_STANDS : UNSURE
  }

interface Digits {
  readonly whole: number
  readonly fraction: number
}

const ANY_DIGITS: Digits = { whole: Infinity, fraction: Infinity }

/** Digits that a numeric column takes without rounding or refusing; undefined for other types. */
function numericDigits(type: string): Digits | undefined {
  if (type === "numeric") return ANY_DIGITS
  const [, precision, scale] = /^numeric\((\d+),(\d+)\)$/.exec(type) ?? []
  if (precision === undefined || scale === undefined) return undefined
  return { whole: Number(precision) - Number(scale), fraction: Number(scale) }
}

/** Digits, a point, digits; other ways to write a number are rare enough for the long way. */
const decimal =
  (rule: { readonly plain: boolean; readonly test: (text: string) => boolean }, digits: Digits): Judge =>
  (bytes, from, to) => {
    let point = to
    for (let at = from; at < to; at++) {
      const byte = bytes[at] as number
      if (byte >= 0x30 && byte <= 0x39) continue
      if (byte !== POINT || point < to || at === from || at === to - 1) return UNSURE
      point = at
    }
    if (point - from > digits.whole || to - point - 1 > digits.fraction) return UNSURE
    return rule.plain || rule.test(latin1(bytes, from, to)) ? AS_IT_STANDS : UNSURE
  }

/** Two digits as a number; NaN, which is within no bounds, for anything else. */
function pair(bytes: Uint8Array, at: number): number {
  const tens = (bytes[at] as number) - 0x30
  const ones = (bytes[at + 1] as number) - 0x30
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : Number.NaN
}

const SPACE = 0x20
const COLON = 0x3a
const LETTER_T = 0x54
const LETTER_Z = 0x5a

/** `YYYY-MM-DD HH:MM:SS` with or without a `Z`; the 29th of February is left to the calendar. */
const instant =
  (zoneInText: boolean): Judge =>
  (bytes, from, to) => {
    const zoned = to - from === 20 && bytes[from + 19] === LETTER_Z
    if (!zoned && to - from !== 19) return UNSURE
    const separator = bytes[from + 10]
    if (separator !== SPACE && separator !== LETTER_T) return UNSURE
    if (bytes[from + 4] !== MINUS || bytes[from + 7] !== MINUS) return UNSURE
    if (bytes[from + 13] !== COLON || bytes[from + 16] !== COLON) return UNSURE
    const year = pair(bytes, from) * 100 + pair(bytes, from + 2)
    const month = pair(bytes, from + 5)
    const day = pair(bytes, from + 8)
    const right =
      year >= 1 &&
      month >= 1 &&
      month <= 12 &&
      day >= 1 &&
      day <= (month === 2 ? 28 : month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31) &&
      pair(bytes, from + 11) <= 23 &&
      pair(bytes, from + 14) <= 59 &&
      pair(bytes, from + 17) <= 59
    if (!right) return UNSURE
    if (zoned) return AS_IT_STANDS
    return zoneInText ? UNSURE : WITH_SUFFIX
  }
