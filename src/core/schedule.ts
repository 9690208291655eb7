/** When something is to run by itself. */
export interface Schedule {
  /** Five fields (minute hour day month weekday), six with seconds in front, or `@daily` and the like. */
  readonly cron: string
  /** The zone in which the fields are read: `UTC`, `Europe/London`. */
  readonly timezone: string
  /** What becomes of ticks that nobody was there for: only the latest is run, each one, or none. */
  readonly catchUp: "latest" | "all" | "none"
}

/** By when a partition has to be done: so long after the end of its month or day. */
export interface Expected {
  readonly unit: "month" | "day"
  readonly days: number
  readonly hours: number
  /** The zone in which months and days end. */
  readonly timezone: string
}

/** A cron expression alone is read in UTC, and of missed ticks only the latest is run. */
export type ScheduleOption = string | (Pick<Schedule, "cron"> & Partial<Schedule>)

/** A schedule with its defaults filled in. */
export function scheduleOf(option: ScheduleOption | undefined): Schedule | undefined {
  if (option === undefined) return undefined
  const given = typeof option === "string" ? { cron: option } : option
  return { timezone: "UTC", catchUp: "latest", ...given }
}
