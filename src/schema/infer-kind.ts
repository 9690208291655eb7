import { parseTimestamp } from "./timestamp-text.ts"

/** What a text looks like, taken strictly: whatever would lose a character as a number, a truth value or a date is `text`. */
export type TextKind = "integer" | "decimal" | "boolean" | "date" | "instant" | "local-time" | "text"

/** No sign but a minus, no zero in front, no exponent: identifiers and phone numbers are written otherwise. */
const INTEGER = /^(?:0|-?[1-9]\d*)$/
const DECIMAL = /^-?(?:0|[1-9]\d*)\.\d+$/
const DATE = /^\d{4}-\d{2}-\d{2}$/
const BEGINS_AS_TIME = /^\d{4}-\d{2}-\d{2}[ T]/
/** More digits are an identifier (a card, a parcel) rather than an amount. */
const MOST_DIGITS = 18
const LONGEST = 40

export function kindOfText(text: string): TextKind {
  if (text.length > LONGEST) return "text"
  if (INTEGER.test(text)) return text.length <= MOST_DIGITS ? "integer" : "text"
  if (DECIMAL.test(text)) return "decimal"
  if (/^(?:true|false)$/i.test(text)) return "boolean"
  if (DATE.test(text)) return isDay(text) ? "date" : "text"
  if (!BEGINS_AS_TIME.test(text)) return "text"
  const time = parseTimestamp(text)
  if (typeof time === "string") return "text"
  return time.zone === undefined ? "local-time" : "instant"
}

const isDay = (date: string): boolean => typeof parseTimestamp(`${date} 00:00:00`) !== "string"
