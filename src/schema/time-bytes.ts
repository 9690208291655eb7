import { SURE, UNSURE, WITH_SUFFIX, type ByteJudge } from "../core/byte-check.ts"

const MINUS = 0x2d
const SPACE = 0x20
const COLON = 0x3a
const LETTER_T = 0x54
const LETTER_Z = 0x5a
const ZERO = 0x30
const POINT = 0x2e
const DATE_LENGTH = 10
const LOCAL_LENGTH = 19
/** A point and at most six digits. */
const LONGEST_FRACTION = 7

/** Two digits as a number; NaN, which is within no bounds, for anything else. */
function pair(bytes: Uint8Array, at: number): number {
  const tens = (bytes[at] as number) - ZERO
  const ones = (bytes[at + 1] as number) - ZERO
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : Number.NaN
}

/** `YYYY-MM-DD`, by the calendar. */
function isDate(bytes: Uint8Array, from: number): boolean {
  if (bytes[from + 4] !== MINUS || bytes[from + 7] !== MINUS) return false
  const year = pair(bytes, from) * 100 + pair(bytes, from + 2)
  const month = pair(bytes, from + 5)
  const day = pair(bytes, from + 8)
  if (!(year >= 1 && month >= 1 && month <= 12 && day >= 1)) return false
  if (month === 2) return day <= (isLeap(year) ? 29 : 28)
  return day <= (month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31)
}

const isLeap = (year: number): boolean => year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)

/** `HH:MM:SS`. */
const isTime = (bytes: Uint8Array, from: number): boolean =>
  bytes[from + 2] === COLON &&
  bytes[from + 5] === COLON &&
  pair(bytes, from) <= 23 &&
  pair(bytes, from + 3) <= 59 &&
  pair(bytes, from + 6) <= 59

export const dateJudge: ByteJudge = (bytes, from, to) =>
  to - from === DATE_LENGTH && isDate(bytes, from) ? SURE : UNSURE

/** `YYYY-MM-DD HH:MM:SS` with or without a fraction and a `Z`. */
export const instantJudge =
  (zoneInText: boolean): ByteJudge =>
  (bytes, from, to) => {
    const length = to - from
    if (length < LOCAL_LENGTH) return UNSURE
    const separator = bytes[from + DATE_LENGTH]
    if (separator !== SPACE && separator !== LETTER_T) return UNSURE
    if (!isDate(bytes, from) || !isTime(bytes, from + DATE_LENGTH + 1)) return UNSURE
    const zoned = bytes[to - 1] === LETTER_Z
    if (!isFraction(bytes, from + LOCAL_LENGTH, zoned ? to - 1 : to)) return UNSURE
    if (zoned) return SURE
    return zoneInText ? UNSURE : SURE | WITH_SUFFIX
  }

/** Nothing, or a point and up to six digits. */
function isFraction(bytes: Uint8Array, from: number, to: number): boolean {
  if (from === to) return true
  if (bytes[from] !== POINT || to - from < 2 || to - from > LONGEST_FRACTION) return false
  for (let at = from + 1; at < to; at++) {
    const digit = (bytes[at] as number) - ZERO
    if (digit < 0 || digit > 9) return false
  }
  return true
}
