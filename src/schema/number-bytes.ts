import { COPY_FIRST_BYTE, CUT_SHIFT, SURE, UNSURE, type ByteJudge } from "../core/byte-check.ts"

const POINT = 0x2e
const MINUS = 0x2d
const ZERO = 0x30
/** A double holds any whole number of so many digits, and tells any two numerals of so many apart. */
const SAFE_DIGITS = 15
/** A longer numeral is never the shortest one of a double. */
const LONGEST_NUMBER = 24
/** Numbers from 0.000001 on are written without an exponent. */
const ZEROS_BEHIND_POINT = 5

/**
 * Whole numbers: no sign but a minus, no zero in front; zeros behind a point are cut off. `limit` is the largest absolute value
 * that the column takes.
 */
export const integerJudge =
  (holds: (value: number) => boolean, limit: number): ByteJudge =>
  (bytes, from, to) => {
    const negative = bytes[from] === MINUS
    const first = negative ? from + 1 : from
    let value = 0
    let at = first
    for (; at < to; at++) {
      const digit = (bytes[at] as number) - ZERO
      if (digit < 0 || digit > 9) break
      value = value * 10 + digit
    }
    const digits = at - first
    if (digits === 0 || digits > SAFE_DIGITS) return UNSURE
    if (bytes[first] === ZERO && (negative || digits > 1)) return UNSURE
    if (at < to && !isZeros(bytes, at, to)) return UNSURE
    if (value > limit || !holds(negative ? -value : value)) return UNSURE
    return SURE | ((to - at) << CUT_SHIFT)
  }

/** Whether a point and one zero or more is all there is; not too many, for the verdict's bits. */
function isZeros(bytes: Uint8Array, from: number, to: number): boolean {
  if (bytes[from] !== POINT || to - from < 2 || to - from > LONGEST_NUMBER) return false
  for (let at = from + 1; at < to; at++) if (bytes[at] !== ZERO) return false
  return true
}

const POWERS = Array.from({ length: SAFE_DIGITS + 1 }, (_, n) => 10 ** n)

/** Numbers as JavaScript would write them, but for zeros at the end, which are cut off. */
export const numberJudge =
  (holds: (value: number) => boolean): ByteJudge =>
  (bytes, from, to) => {
    const negative = bytes[from] === MINUS
    const first = negative ? from + 1 : from
    let point = -1
    let digits = 0
    // What lies behind the last digit that is no zero.
    let last = first
    let at = first
    for (; at < to; at++) {
      const byte = bytes[at] as number
      if (byte === POINT && point < 0) {
        point = at
        continue
      }
      const digit = byte - ZERO
      if (digit < 0 || digit > 9) return UNSURE
      digits = digits * 10 + digit
      if (digit !== 0) last = at + 1
    }
    const whole = (point < 0 ? to : point) - first
    const count = to - first - (point < 0 ? 0 : 1)
    if (whole === 0 || point === to - 1) return UNSURE
    if (count > SAFE_DIGITS) return longNumber(bytes, from, to, holds)
    if (bytes[first] === ZERO && whole > 1) return UNSURE
    if (digits === 0 && negative) return UNSURE
    if (point >= 0 && digits > 0 && bytes[first] === ZERO && !startsSoon(bytes, point + 1)) return UNSURE
    const value = point < 0 ? digits : digits / (POWERS[to - point - 1] as number)
    if (!holds(negative ? -value : value)) return UNSURE
    const end = point < 0 ? to : last > point ? last : point
    return SURE | ((to - end) << CUT_SHIFT)
  }

function startsSoon(bytes: Uint8Array, from: number): boolean {
  let at = from
  while (bytes[at] === ZERO) at++
  return at - from <= ZEROS_BEHIND_POINT
}

function longNumber(bytes: Uint8Array, from: number, to: number, holds: (value: number) => boolean): number {
  if (to - from > LONGEST_NUMBER) return UNSURE
  const written = latin1(bytes, from, to)
  const value = Number(written)
  return String(value) === written && Number.isFinite(value) && holds(value) ? SURE : UNSURE
}

const latin1 = (bytes: Uint8Array, from: number, to: number): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset + from, to - from).toString("latin1")

/** Digits before and behind the point. */
export interface Digits {
  readonly whole: number
  readonly fraction: number
}

/** Digits, a point, digits; other ways to write a number are rare enough for the long way. `plain`: each of these is right. */
export const decimalJudge =
  (rule: { readonly plain: boolean; readonly test: (text: string) => boolean }, digits: Digits): ByteJudge =>
  (bytes, from, to) => {
    let point = to
    for (let at = from; at < to; at++) {
      const byte = bytes[at] as number
      if (byte >= ZERO && byte <= 0x39) continue
      if (byte !== POINT || point < to || at === from || at === to - 1) return UNSURE
      point = at
    }
    if (point - from > digits.whole || to - point - 1 > digits.fraction) return UNSURE
    return rule.plain || rule.test(latin1(bytes, from, to)) ? SURE : UNSURE
  }

const TRUE = Buffer.from("true")
const FALSE = Buffer.from("false")

/** The words as JSON and CSV have them. */
export const booleanJudge: ByteJudge = (bytes, from, to) => {
  const word = to - from === TRUE.length ? TRUE : FALSE
  if (to - from !== word.length) return UNSURE
  for (let n = 0; n < word.length; n++) if (bytes[from + n] !== word[n]) return UNSURE
  return SURE | COPY_FIRST_BYTE
}
