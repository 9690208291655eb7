import { SpillwayError } from "../core/errors.ts"
import type { Expected } from "../core/schedule.ts"
import { zoneName } from "../models/time-zone.ts"
import { endOf, following, periodOf, periodText, within, type Period } from "./calendar.ts"

/**
 * A rule such as `expected("month + 2 days")` or `expected("day + 6 hours", { timezone: "Europe/London" })`; the zone
 * defaults to UTC. Days are days of the calendar, also when the clocks change. Throws `CONFIG`.
 */
export function expected(rule: string, options: { timezone?: string } = {}): Expected {
  const timezone = zoneName(options.timezone ?? "UTC")
  const match = /^\s*(month|day)\s*\+\s*(\d{1,4})\s*(days?|hours?)\s*$/.exec(rule)
  if (match === null)
    throw new SpillwayError("CONFIG", `expected(${JSON.stringify(rule)}) is not a rule`, {
      hint: 'write "month + 2 days" or "day + 6 hours": so long after the end of the partition\'s month or day',
    })
  const amount = Number(match[2])
  const inDays = match[3]?.startsWith("day") === true
  return { unit: match[1] as Expected["unit"], days: inDays ? amount : 0, hours: inDays ? 0 : amount, timezone }
}

/** When the partitions of a period have to be done: milliseconds since the epoch. */
export const dueAt = (rule: Expected, period: Period): number =>
  endOf(period, rule.timezone, rule.days) + rule.hours * 3_600_000

export interface Standing {
  readonly key: string
  /** `unchanged`: it is done. Anything else says what is to be done about it. */
  readonly reason: string
}

export interface Overdue {
  readonly key: string
  readonly dueAt: number
  readonly reason: string
}

/** Periods after the last one there is, that are looked for: what stopped so long ago is not news. */
const PERIODS_AWAITED = 400

/**
 * The partitions that should be done by `now` and are not, and the periods after the last known one that should have come.
 * What has no date in its key is never overdue; nor is anything where nothing with a date was ever there.
 */
export function overdue(rule: Expected, partitions: readonly Standing[], now: number): Overdue[] {
  const dated = partitions.flatMap(({ key, reason }) => {
    const period = periodOf(key)
    return period === undefined ? [] : [{ key, reason, period: within(rule.unit, period) }]
  })
  const late = dated
    .filter(({ reason, period }) => reason !== "unchanged" && dueAt(rule, period) < now)
    .map(({ key, reason, period }) => ({ key, reason, dueAt: dueAt(rule, period) }))
  const last = dated
    .map(({ period }) => periodText(period))
    .sort()
    .at(-1)
  const known = dated.find(({ period }) => periodText(period) === last)
  return known === undefined ? late : [...late, ...missingAfter(rule, known.period, now)]
}

function missingAfter(rule: Expected, last: Period, now: number): Overdue[] {
  const missing: Overdue[] = []
  let period = following(last)
  while (dueAt(rule, period) < now && missing.length < PERIODS_AWAITED) {
    missing.push({ key: periodText(period), reason: "missing", dueAt: dueAt(rule, period) })
    period = following(period)
  }
  return missing
}
