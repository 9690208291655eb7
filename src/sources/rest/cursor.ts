import { SpillwayError } from "../../core/errors.ts"
import { parseDuration } from "../../core/duration.ts"
import { printable } from "../../core/shown.ts"

/**
 * What cursor values are: ISO 8601 `timestamp`s (UTC where they name no zone) and `date`s, seconds (`unix`) or milliseconds (`unix-ms`) since
 * 1970, other `number`s, and `text` that is compared letter by letter.
 */
export type CursorType = "timestamp" | "date" | "unix" | "unix-ms" | "number" | "text"

/** A cursor value as it is compared: milliseconds since 1970 (with fractions) for times, the number, or the text. */
export type CursorKey = number | string

/** A cursor value as the API writes it. */
export type CursorValue = string | number

const INSTANT =
  /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(:\d{2})?(?:[.,](\d{1,9})\d*)?\s?(Z|[+-]\d{2}(?::?\d{2})?)?)?$/i

/** Reads, compares and writes the cursor values of one source. */
export class Cursors {
  readonly type: CursorType
  readonly isTime: boolean

  constructor(type: CursorType) {
    this.type = type
    this.isTime = type !== "number" && type !== "text"
  }

  /** Undefined for what is no cursor value of this type. */
  key(value: unknown): CursorKey | undefined {
    if (this.type === "text")
      return typeof value === "string" && value !== "" && printable(value) === value ? value : undefined
    if (this.type === "timestamp" || this.type === "date") return typeof value === "string" ? instant(value) : undefined
    const number = typeof value === "string" && /^-?\d+(?:\.\d+)?$/.test(value) ? Number(value) : value
    if (typeof number !== "number" || !Number.isFinite(number)) return undefined
    return this.type === "unix" ? number * 1_000 : number
  }

  /** A key as the API is asked for it, with as many digits after the second as `like` has. Times are rounded down to what the type can say. */
  text(key: CursorKey, like: CursorValue | undefined): string {
    if (typeof key === "string") return key
    switch (this.type) {
      case "timestamp":
        return timestamp(Math.floor(key), like)
      case "date":
        return new Date(Math.floor(key)).toISOString().slice(0, 10)
      case "unix":
        return String(Math.floor(key / 1_000))
      default:
        return String(key)
    }
  }

  /** A lag in the unit of keys. Throws `CONFIG`. */
  lag(lag: string | number | undefined): number {
    if (lag === undefined || lag === 0) return 0
    if (this.type === "text") throw refused(lag, "text has no distance: leave lag out")
    if (typeof lag === "string") {
      if (!this.isTime) throw refused(lag, "give a number in the unit of the cursor")
      return parseDuration(lag, "incremental.lag")
    }
    if (!Number.isFinite(lag) || lag < 0) throw refused(lag, "give a number above 0")
    return lag
  }
}

/** Some servers compare times as text: they are asked in the way that they write themselves. */
function timestamp(ms: number, like: CursorValue | undefined): string {
  const digits = INSTANT.exec(String(like ?? ""))?.[4]?.length ?? 0
  const [second = "", fraction = ""] = new Date(ms).toISOString().slice(0, -1).split(".")
  return digits === 0 ? `${second}Z` : `${second}.${fraction.padEnd(digits, "0").slice(0, digits)}Z`
}

const refused = (lag: string | number, hint: string): SpillwayError =>
  new SpillwayError("CONFIG", `${JSON.stringify(lag)} is not a lag for this cursor`, { where: "incremental.lag", hint })

/** Milliseconds since 1970 with fractions; undefined for what is no date or time of the calendar. */
function instant(text: string): number | undefined {
  const match = INSTANT.exec(text.trim())
  if (match === null) return undefined
  const [, date, minutes = "00:00", seconds = ":00", fraction = "", zone = "Z"] = match
  const at = Date.parse(`${date}T${minutes}${seconds}${zoneText(zone)}`)
  if (Number.isNaN(at) || !isCalendarDate(date as string)) return undefined
  return fraction === "" ? at : at + Number(`0.${fraction}`) * 1_000
}

const zoneText = (zone: string): string =>
  zone.toUpperCase() === "Z" ? "Z" : `${zone.slice(0, 3)}:${zone.slice(3).replace(":", "") || "00"}`

function isCalendarDate(date: string): boolean {
  const at = new Date(`${date}T00:00:00Z`)
  return !Number.isNaN(at.getTime()) && at.toISOString().startsWith(date)
}

/** What a start value says of the type: a number is a number, a date alone a date, other text a timestamp. */
export function cursorTypeOf(start: CursorValue | undefined): CursorType {
  if (typeof start === "number") return "number"
  if (start === undefined) return "timestamp"
  if (/^\d{4}-\d{2}-\d{2}$/.test(start)) return "date"
  return instant(start) === undefined ? "text" : "timestamp"
}
