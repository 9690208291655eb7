import { Cron } from "croner"
import { SpillwayError } from "../core/errors.ts"
import type { Schedule } from "../core/schedule.ts"
import { zoneName } from "../models/time-zone.ts"

/** Throws `CONFIG` when the expression, the zone or the policy is not one, or the expression never comes true. */
export function checkSchedule(schedule: Schedule, where: string): void {
  const refuse = (message: string, hint: string, cause?: unknown): never => {
    throw new SpillwayError("CONFIG", message, { where, hint, cause })
  }
  const { cron, timezone, catchUp } = schedule
  if (!["latest", "all", "none"].includes(catchUp))
    refuse(`catchUp is ${JSON.stringify(catchUp)}`, 'write "latest", "all" or "none"')
  if (!isZone(timezone)) refuse(`there is no time zone ${JSON.stringify(timezone)}`, "write UTC or Europe/London")
  if (cron.includes("?"))
    refuse(
      `the schedule ${JSON.stringify(cron)} has a "?"`,
      "write * for any value: what ? stands for changes with each start",
    )
  let first: Date | null = null
  try {
    first = parsed(schedule).nextRun(new Date(0))
  } catch (error) {
    refuse(
      `${JSON.stringify(cron)} is not a cron expression: ${error instanceof Error ? error.message : String(error)}`,
      'write minute, hour, day of month, month, weekday: "0 3 * * *" is every day at 03:00',
      error,
    )
  }
  if (first === null) refuse(`the schedule ${JSON.stringify(cron)} never comes true`, "see whether that day exists")
}

/** The first tick after a time; undefined when there is none any more. Times are milliseconds since the epoch. */
export function nextTick(schedule: Schedule, after: number): number | undefined {
  return parsed(schedule).nextRun(new Date(after))?.getTime()
}

/** The ticks after one time and up to another, ascending; where there are more than `most`, the newest. */
export function ticksBetween(schedule: Schedule, after: number, upTo: number, most: number): number[] {
  const cron = parsed(schedule)
  const ticks: number[] = []
  for (let at = cron.nextRun(new Date(after)); at !== null && at.getTime() <= upTo; at = cron.nextRun(at)) {
    ticks.push(at.getTime())
    if (ticks.length > most) return newest(cron, upTo, most)
  }
  return ticks
}

// Strictly before the reference, so that the millisecond after `upTo` includes it.
const newest = (cron: Cron, upTo: number, most: number): number[] =>
  cron
    .previousRuns(most, new Date(upTo + 1_000))
    .map((tick) => tick.getTime())
    .filter((tick) => tick <= upTo)
    .sort((a, b) => a - b)

const parsed = ({ cron, timezone }: Schedule): Cron => new Cron(cron, { timezone, mode: "5-or-6-parts" })

function isZone(timezone: string): boolean {
  try {
    zoneName(timezone)
    return true
  } catch {
    return false
  }
}
