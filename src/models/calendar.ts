/** A year, a month or a day, as written: `2011`, `2011-03`, `2011-03-09`. */
export interface CalendarDate {
  readonly year: number
  readonly month: number | undefined
  readonly day: number | undefined
}

export interface CalendarDay {
  readonly year: number
  readonly month: number
  readonly day: number
}

const WRITTEN = /^(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?$/

/** Reads `2011`, `2011-03` or `2011-03-09` (years 0001 to 9999), or says in words what is wrong with it. */
export function parseCalendarDate(text: string): CalendarDate | string {
  const match = WRITTEN.exec(text)
  if (match === null) return "is not written as 2011, 2011-03 or 2011-03-09"
  const year = Number(match[1])
  const month = match[2] === undefined ? undefined : Number(match[2])
  const day = match[3] === undefined ? undefined : Number(match[3])
  if (year === 0) return "has the year 0000; years begin at 0001"
  if (month !== undefined && (month < 1 || month > 12)) return `has the month ${match[2]}; months are 01 to 12`
  if (month !== undefined && day !== undefined) {
    const days = daysInMonth(year, month)
    if (day < 1 || day > days) return `has the day ${match[3]}; that month has days 01 to ${days}`
  }
  return { year, month, day }
}

export function daysInMonth(year: number, month: number): number {
  if (month === 2) return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28
  return [4, 6, 9, 11].includes(month) ? 30 : 31
}

/** The first day of the next month. */
export const nextMonth = ({ year, month }: CalendarDay): CalendarDay =>
  month === 12 ? { year: year + 1, month: 1, day: 1 } : { year, month: month + 1, day: 1 }

export const nextDay = (date: CalendarDay): CalendarDay =>
  date.day === daysInMonth(date.year, date.month) ? nextMonth(date) : { ...date, day: date.day + 1 }

/** `2011-03-09`. */
export const dayText = ({ year, month, day }: CalendarDay): string =>
  `${String(year).padStart(4, "0")}-${String(month).padStart(2, "0")}-${String(day).padStart(2, "0")}`
