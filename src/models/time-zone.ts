import { SpillwayError } from "../core/errors.ts"
import { dayText, type CalendarDay } from "./calendar.ts"

const DAY_MS = 86_400_000

/** A zone by its name, spelled as the zone database does where only case differs. Throws `CONFIG` for what is not the name of a zone. */
export function zoneName(zone: string): string {
  if (zone === "UTC") return zone
  // Offsets are refused: PostgreSQL reads "+01:00" as a zone west of Greenwich.
  if (/^[A-Za-z]/.test(zone))
    try {
      const resolved = new Intl.DateTimeFormat("en", { timeZone: zone }).resolvedOptions().timeZone
      return resolved.toLowerCase() === zone.toLowerCase() ? resolved : zone
    } catch {
      // Named below.
    }
  throw new SpillwayError("CONFIG", `${JSON.stringify(zone)} is not a time zone`, {
    hint: 'name one as "UTC" or "Europe/London"',
  })
}

/**
 * The first instant of a day, as a text that PostgreSQL reads alike whatever the session's zone: as `date` the day, as
 * `timestamp` its midnight, as `timestamptz` the instant.
 */
export function midnight(day: CalendarDay, zone: string): string {
  const local = `${dayText(day)} 00:00:00`
  if (zone === "UTC") return `${local}+00`
  return local + (firstOfTwo(day, zone) ?? ` ${zone}`)
}

/**
 * The offset of the first midnight where clocks turned back across it make two, as in Havana; PostgreSQL takes the second.
 * A midnight that a gap leaves out needs nothing: PostgreSQL takes the instant of the gap.
 */
function firstOfTwo(day: CalendarDay, zone: string): string | undefined {
  const asUtc = Date.parse(`${dayText(day)}T00:00:00Z`)
  if (Number.isNaN(asUtc)) return undefined
  const before = offsetAt(asUtc - DAY_MS, zone)
  const after = offsetAt(asUtc + DAY_MS, zone)
  const isMidnight = (offset: Offset): boolean => offsetAt(asUtc - offset.ms, zone).ms === offset.ms
  return before.ms !== after.ms && isMidnight(before) && isMidnight(after) ? before.text : undefined
}

interface Offset {
  /** East of Greenwich. */
  readonly ms: number
  /** `+01:00`, `-03:30`, `+00:00`. */
  readonly text: string
}

function offsetAt(instant: number, zone: string): Offset {
  const parts = formatter(zone).formatToParts(instant)
  const name = parts.find((part) => part.type === "timeZoneName")?.value ?? ""
  const text = name.slice("GMT".length) || "+00:00"
  const [hours = 0, minutes = 0, seconds = 0] = text.slice(1).split(":").map(Number)
  const ms = ((hours * 60 + minutes) * 60 + seconds) * 1_000
  return { ms: text.startsWith("-") ? -ms : ms, text }
}

const formatters = new Map<string, Intl.DateTimeFormat>()

/** Making one takes far longer than using it, and a model of days asks for thousands. */
function formatter(zone: string): Intl.DateTimeFormat {
  const known = formatters.get(zone)
  if (known !== undefined) return known
  const made = new Intl.DateTimeFormat("en", { timeZone: zone, timeZoneName: "longOffset" })
  formatters.set(zone, made)
  return made
}
