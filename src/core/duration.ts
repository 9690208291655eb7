import { SpillwayError } from "./errors.ts"

const UNIT_MS: Readonly<Record<string, number>> = {
  ms: 1,
  millisecond: 1,
  s: 1_000,
  second: 1_000,
  m: 60_000,
  minute: 60_000,
  h: 3_600_000,
  hour: 3_600_000,
  d: 86_400_000,
  day: 86_400_000,
  w: 604_800_000,
  week: 604_800_000,
}

/** Beyond this, dates can no longer be reckoned with. */
const LONGEST_MS = 1_000 * 366 * 86_400_000

/**
 * Milliseconds of a duration: a whole number and a unit, as `30 days`, `1 hour`, `90d`, `15m`, `200ms`. Units are
 * milliseconds, seconds, minutes, hours, days and weeks. Throws `CONFIG`, with `where` as the place.
 */
export function parseDuration(text: string, where?: string): number {
  const match = /^(\d+)\s*([a-z]+)$/.exec(text.trim().toLowerCase())
  const word = match?.[2] ?? ""
  const unit = UNIT_MS[word] ?? (word.length > 2 && word.endsWith("s") ? UNIT_MS[word.slice(0, -1)] : undefined)
  const ms = Number(match?.[1]) * (unit ?? NaN)
  if (Number.isNaN(ms) || ms > LONGEST_MS)
    throw new SpillwayError("CONFIG", `${JSON.stringify(text)} is not a duration`, {
      where,
      hint: 'write a whole number and a unit: "30 days", "12 hours", "15m", at most 1000 years',
    })
  return ms
}
