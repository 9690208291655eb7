import { SpillwayError } from "../core/errors.ts"
import { quoteIdentifier, quoteLiteral } from "../postgres/quote.ts"
import { nextDay, nextMonth, parseCalendarDate, type CalendarDay } from "./calendar.ts"
import { lexSql } from "./sql-lexer.ts"
import { midnight, zoneName } from "./time-zone.ts"

/** What a table is divided by. Made by `month`, `day`, `value` and `whole`. */
export interface PartitionUnit {
  readonly kind: "month" | "day" | "value" | "whole"
  /** For `month`, `day` and a `value` that is a column. */
  readonly column?: string
  /** For `month` and `day`: where they begin, for a column of type `timestamptz`. */
  readonly zone?: string
  /** For a `value` that is no column: SQL over the table's columns. */
  readonly expression?: string
}

/** One partition and where it lies. What its unit does not have is undefined. */
export interface PartitionBounds {
  readonly key: string
  /**
   * Its first instant, as a text that PostgreSQL reads right as `date`, `timestamp` and `timestamptz`:
   * `2011-03-01 00:00:00+00`, `2011-03-01 00:00:00 Europe/London`.
   */
  readonly start: string | undefined
  /** The first instant of the next partition. */
  readonly end: string | undefined
  readonly year: number | undefined
  /** 1 to 12. */
  readonly month: number | undefined
}

/** The only key of a table that is not divided. */
export const WHOLE_KEY = "all"

/** Months of a `date`, `timestamp` or `timestamptz` column; `zone` (default UTC) says where those of a `timestamptz` begin. Throws `CONFIG`. */
export const month = (column: string, zone = "UTC"): PartitionUnit => timed("month", column, zone)

/** Days of a `date`, `timestamp` or `timestamptz` column; `zone` (default UTC) says where those of a `timestamptz` begin. Throws `CONFIG`. */
export const day = (column: string, zone = "UTC"): PartitionUnit => timed("day", column, zone)

/** The table as one partition. */
export const whole = (): PartitionUnit => ({ kind: "whole" })

/**
 * Each value of a column (a plain name), or of a SQL expression over the table's columns, as text. Rows where it is NULL
 * are in no partition. Throws `CONFIG` for an expression that is not one by its looks.
 */
export function value(columnOrExpression: string): PartitionUnit {
  const text = columnOrExpression.trim()
  if (/^[A-Za-z_\u0080-\u{10ffff}][\w\u0080-\u{10ffff}]*$/u.test(text)) return { kind: "value", column: text }
  const fault = expressionFault(text)
  if (fault !== undefined)
    throw new SpillwayError("CONFIG", `value(${JSON.stringify(columnOrExpression)}): the expression ${fault}`, {
      hint: 'give a column, or one SQL expression over the columns such as "upper(country)"',
    })
  return { kind: "value", expression: text }
}

function timed(kind: "month" | "day", column: string, zone: string): PartitionUnit {
  if (column.trim() === "")
    throw new SpillwayError("CONFIG", `${kind}() names no column`, { hint: `write ${kind}("sale_date")` })
  return { kind, column, zone: zoneName(zone) }
}

function expressionFault(text: string): string | undefined {
  const tokens = lexSql(text)
  if (tokens.length === 0) return "is empty"
  let depth = 0
  for (const { kind, closed, text: token } of tokens) {
    if (!closed) return `has a ${kind} that is not closed`
    if (kind === "placeholder" || kind === "parameter") return `has ${token} in it, which nothing stands for`
    if (kind === "comment") return "has a comment in it"
    if (kind === "symbol" && token === ";") return "has a semicolon in it"
    if (kind === "symbol" && token === "(") depth += 1
    if (kind === "symbol" && token === ")") depth -= 1
    if (depth < 0) return "closes a parenthesis that it did not open"
  }
  return depth === 0 ? undefined : "has a parenthesis that is not closed"
}

/** The unit by a stable text, as tables of the ledger name it: `month(sale_date)`, `day(sold_at, Europe/London)`, `value(upper(country))`, `whole`. */
export function by(unit: PartitionUnit): string {
  if (unit.kind === "whole") return "whole"
  const zone = unit.zone === undefined || unit.zone === "UTC" ? "" : `, ${unit.zone}`
  return `${unit.kind}(${unit.expression ?? unit.column ?? ""}${zone})`
}

/**
 * SQL for the key of a row's partition, as text: `2011-03`, `2011-03-09`, `all`, the value. NULL for rows that are in none:
 * their column is NULL or infinite. `columnType` is the column's type as in DDL; `alias` the row's name in the query.
 * Dates are those of the years 0001 to 9999. Throws `CONFIG` when the column's type has no months or days.
 */
export function keyExpression(unit: PartitionUnit, columnType: string, alias?: string): string {
  if (unit.kind === "whole") return `'${WHOLE_KEY}'::text`
  // The query around it may have other rows with columns of the same names.
  if (unit.expression !== undefined)
    return alias === undefined
      ? `(${unit.expression})::text`
      : `(SELECT (${unit.expression})::text FROM (SELECT ${alias}.*) AS partition_row)`
  const column = `${alias === undefined ? "" : `${alias}.`}${quoteIdentifier(unit.column ?? "")}`
  if (unit.kind === "value") return `${column}::text`
  const local = isZoned(unit, columnType) ? `${column} AT TIME ZONE ${quoteLiteral(unit.zone ?? "UTC")}` : column
  return `to_char(${local}, '${unit.kind === "month" ? "YYYY-MM" : "YYYY-MM-DD"}')`
}

function isZoned(unit: PartitionUnit, columnType: string): boolean {
  const type = columnType.toLowerCase().replace(/\s*\(\s*\d\s*\)/, "")
  if (type === "timestamptz" || type === "timestamp with time zone") return true
  if (type === "date" || type === "timestamp" || type === "timestamp without time zone") return false
  throw new SpillwayError("CONFIG", `${by(unit)}: the column "${unit.column}" has the type ${columnType}`, {
    hint: `${unit.kind}() needs a date, timestamp or timestamptz; for other types there is value("${unit.column}")`,
  })
}

/** Whether the unit's partitions follow one another in time. */
export const isTimed = (unit: PartitionUnit | undefined): boolean => unit?.kind === "month" || unit?.kind === "day"

/** Where a partition lies. Throws `CONFIG` for a key that its unit cannot have. */
export function bounds(unit: PartitionUnit, key: string): PartitionBounds {
  const first = firstDay(unit, key)
  if (typeof first === "string") throw new SpillwayError("CONFIG", first, { hint: keyHint(unit), where: by(unit) })
  if (first === undefined) return { key, start: undefined, end: undefined, year: undefined, month: undefined }
  const next = unit.kind === "month" ? nextMonth(first) : nextDay(first)
  const zone = unit.zone ?? "UTC"
  return { key, start: midnight(first, zone), end: midnight(next, zone), year: first.year, month: first.month }
}

/** Whether a unit can have a partition of this key. */
export const isKey = (unit: PartitionUnit, key: string): boolean => keyFault(unit, key) === undefined

/** Why a unit cannot have a partition of this key, in words; undefined when it can. */
export function keyFault(unit: PartitionUnit, key: string): string | undefined {
  const first = firstDay(unit, key)
  return typeof first === "string" ? first : undefined
}

/** How the unit's keys are written. */
export function keyHint(unit: PartitionUnit): string {
  switch (unit.kind) {
    case "month":
      return "write a month as 2011-03"
    case "day":
      return "write a day as 2011-03-09"
    case "whole":
      return `the only partition is "${WHOLE_KEY}"`
    case "value":
      return "write the value as PostgreSQL shows it"
  }
}

/** The first day of a key's partition; undefined where the unit has no days; the fault in words. */
function firstDay(unit: PartitionUnit, key: string): CalendarDay | string | undefined {
  const named = JSON.stringify(key)
  if (unit.kind === "value") return key.includes("\0") ? `${named} contains a NUL character` : undefined
  if (unit.kind === "whole") return key === WHOLE_KEY ? undefined : `${named} is not a partition of an undivided table`
  const date = parseCalendarDate(key)
  if (typeof date === "string") return `${named} is not a ${unit.kind}: it ${date}`
  const { year, month = 1, day = 1 } = date
  const isPrecise = unit.kind === "month" ? date.month !== undefined && date.day === undefined : date.day !== undefined
  return isPrecise ? { year, month, day } : `${named} is not a ${unit.kind}`
}
