import { nextDay, nextMonth, parseCalendarDate, type CalendarDay } from "../models/calendar.ts"

/** A month or a day of the calendar; `day` is 1 where it is a month. */
export interface Period extends CalendarDay {
  readonly unit: "day" | "month"
}

const DATE = /(?<!\d)\d{4}-\d{2}(?:-\d{2})?(?!\d)/g

/** The month or day that a partition's key speaks of: `2011-03`, `2011-03-09`, `data/2011-03-09.csv`. The last one in it counts; undefined where there is none. */
export function periodOf(key: string): Period | undefined {
  for (const text of (key.match(DATE) ?? []).reverse()) {
    const date = parseCalendarDate(text)
    if (typeof date === "string" || date.month === undefined) continue
    const { year, month, day } = date
    return { unit: day === undefined ? "month" : "day", year, month, day: day ?? 1 }
  }
  return undefined
}

/** `2011-03`, `2011-03-09`. */
export function periodText({ unit, year, month, day }: Period): string {
  const two = (n: number): string => String(n).padStart(2, "0")
  const text = `${String(year).padStart(4, "0")}-${two(month)}`
  return unit === "month" ? text : `${text}-${two(day)}`
}

/** The month that contains a day, where `unit` is a month; otherwise the period itself. */
export const within = (unit: "day" | "month", period: Period): Period =>
  unit === "month" ? { ...period, unit, day: 1 } : period

/** The period after this one. */
export const following = (period: Period): Period => ({
  unit: period.unit,
  ...(period.unit === "month" ? nextMonth(period) : nextDay(period)),
})

/** When a period is over in a zone, `days` of the calendar later: milliseconds since the epoch. */
export function endOf(period: Period, zone: string, days = 0): number {
  const { year, month, day } = following(period)
  const local = Date.UTC(year, month - 1, day + days)
  const guess = local - offsetAt(local, zone)
  // The clocks may change between the guess and what it was made from.
  return local - offsetAt(guess, zone)
}

/** How far the clocks of a zone are ahead of UTC at a time, in milliseconds. */
function offsetAt(time: number, zone: string): number {
  const parts = new Intl.DateTimeFormat("en-US", {
    timeZone: zone,
    hourCycle: "h23",
    year: "numeric",
    month: "numeric",
    day: "numeric",
    hour: "numeric",
    minute: "numeric",
    second: "numeric",
  }).formatToParts(time)
  const of = (type: Intl.DateTimeFormatPartTypes): number => Number(parts.find((part) => part.type === type)?.value)
  const shown = Date.UTC(of("year"), of("month") - 1, of("day"), of("hour"), of("minute"), of("second"))
  return shown - Math.floor(time / 1000) * 1000
}
