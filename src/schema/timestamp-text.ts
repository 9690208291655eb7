export interface TimestampText {
  /** `YYYY-MM-DDTHH:MM:SS.fff`, as far as the text went and with its own separator where it carries no zone. */
  readonly local: string
  /** The zone that the text carries: `Z` or an offset as `+01:00`; undefined where it carries none. */
  readonly zone: string | undefined
}

/** Why a text is not a date and time: the rule that failed. */
export type TimestampFault = "timestamp" | "calendar" | "precision"

const SHAPE = /^(\d{4})-(\d{2})-(\d{2})[ T](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d+))?)?(?: ?(Z|[+-]\d{2}(?::?\d{2})?))?$/
const DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
/** PostgreSQL keeps microseconds and would round the rest away. */
const MAX_FRACTION = 6

/** Reads `YYYY-MM-DD HH:MM[:SS[.ffffff]][zone]` by the calendar alone, without any time zone's rules. */
export function parseTimestamp(text: string): TimestampText | TimestampFault {
  const usual = usualForm(text)
  if (usual === "local") return { local: text, zone: undefined }
  if (usual === "zoned") return { local: text.slice(0, 19), zone: "Z" }
  const match = SHAPE.exec(text)
  if (match === null) return "timestamp"
  const [, year, month, day, hour, minute, second, fraction, zone] = match
  if (!isDate(Number(year), Number(month), Number(day))) return "calendar"
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second ?? 0) > 59) return "calendar"
  if (fraction !== undefined && fraction.length > MAX_FRACTION) return "precision"
  const offset =
    zone === undefined || zone === "Z" ? zone : `${zone.slice(0, 3)}:${zone.slice(3).replace(":", "") || "00"}`
  if (offset !== undefined && offset !== "Z" && (Number(offset.slice(1, 3)) > 15 || Number(offset.slice(4)) > 59))
    return "calendar"
  const seconds = second === undefined ? "" : `:${second}${fraction === undefined ? "" : `.${fraction}`}`
  return { local: `${year}-${month}-${day}T${hour}:${minute}${seconds}`, zone: offset }
}

/**
 * Tells the way nearly all files write it, `YYYY-MM-DD HH:MM:SS` (`local`) or the same with a `Z` (`zoned`), in half the time
 * that the pattern takes; undefined for every other text, valid or not.
 */
export function usualForm(text: string): "local" | "zoned" | undefined {
  if (text.length === 19) return isUsual(text) ? "local" : undefined
  return text.length === 20 && text.charCodeAt(19) === LETTER_Z && isUsual(text) ? "zoned" : undefined
}

function isUsual(text: string): boolean {
  const separator = text.charCodeAt(10)
  if (separator !== SPACE && separator !== LETTER_T) return false
  if (
    text.charCodeAt(4) !== DASH ||
    text.charCodeAt(7) !== DASH ||
    text.charCodeAt(13) !== COLON ||
    text.charCodeAt(16) !== COLON
  )
    return false
  const year = pair(text, 0) * 100 + pair(text, 2)
  return (
    isDate(year, pair(text, 5), pair(text, 8)) && pair(text, 11) <= 23 && pair(text, 14) <= 59 && pair(text, 17) <= 59
  )
}

const SPACE = 32
const DASH = 45
const COLON = 58
const LETTER_T = 84
const LETTER_Z = 90

/** Two digits as a number; NaN, which is within no bounds, for anything else. */
function pair(text: string, at: number): number {
  const tens = text.charCodeAt(at) - 48
  const ones = text.charCodeAt(at + 1) - 48
  return tens >= 0 && tens <= 9 && ones >= 0 && ones <= 9 ? tens * 10 + ones : Number.NaN
}

function isDate(year: number, month: number, day: number): boolean {
  if (!(year >= 1 && month >= 1 && month <= 12 && day >= 1)) return false
  const leap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0)
  return day <= (month === 2 && leap ? 29 : (DAYS[month - 1] ?? 0))
}

/** The instant of a text that carries its own zone, or undefined. */
export function parseInstant(text: string): Date | undefined {
  const parsed = parseTimestamp(text)
  if (typeof parsed === "string" || parsed.zone === undefined) return undefined
  const instant = new Date(parsed.local + parsed.zone)
  return Number.isNaN(instant.getTime()) ? undefined : instant
}
