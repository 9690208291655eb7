import type { RecordCheck, SetCheck } from "../core/contracts.ts"
import { SpillwayError } from "../core/errors.ts"
import type { JsonValue } from "../core/json.ts"
import { shown } from "../core/shown.ts"
import { checkFault, isRecordLevel, propertiesOf, severityOf, type RecordLevel, type SetLevel } from "./declaration.ts"
import { literal, type Comparable } from "./literal.ts"
import { aggregate, rows } from "./observed.ts"
import { orderOf } from "./order.ts"

type Column = (property: string) => string

/** One rule about one property, in its two forms. */
interface PropertyRule {
  readonly name: string
  readonly property: string
  readonly description: JsonValue
  /** Completes "expected …", of a single value. */
  readonly expected: string
  /** What is counted: `null`, `value outside`. */
  readonly counted: string
  /** True for a value that keeps the rule. */
  readonly holds: (value: unknown) => boolean
  /** SQL that is true for a row that breaks the rule. */
  readonly broken: (column: Column) => string
}

/** No null. As a set check it counts them, as a record check it sets each such record aside. Throws `CONFIG`. */
export function notNull(property: string, options: RecordLevel): RecordCheck
export function notNull(property: string, options?: SetLevel): SetCheck
export function notNull(property: string, options: RecordLevel | SetLevel = {}): RecordCheck | SetCheck {
  const name = `notNull(${property})`
  propertiesOf(name, [property])
  const rule: PropertyRule = {
    name,
    property,
    description: { check: "notNull", property },
    expected: "a value",
    counted: "nulls",
    holds: (value) => value !== null && value !== undefined,
    broken: (column) => `${column(property)} IS NULL`,
  }
  return isRecordLevel(name, options) ? recordForm(rule) : setForm(rule, options)
}

/** Only these values (or null). Throws `CONFIG`. */
export function accepted(property: string, values: readonly Comparable[], options: RecordLevel): RecordCheck
export function accepted(property: string, values: readonly Comparable[], options?: SetLevel): SetCheck
export function accepted(
  property: string,
  values: readonly Comparable[],
  options: RecordLevel | SetLevel = {},
): RecordCheck | SetCheck {
  const name = `accepted(${property})`
  propertiesOf(name, [property])
  if (values.length === 0)
    throw new SpillwayError("CONFIG", `${name}: there are no values to accept`, { hint: "list at least one" })
  const literals = values.map((value) => literal(name, value))
  const texts = new Set(values.map(String))
  const rule: PropertyRule = {
    name,
    property,
    description: { check: "accepted", property, values },
    expected: values.length > 10 ? `one of ${values.length} values` : values.map(shown).join(" or "),
    counted: "other values",
    holds: (value) => isNothing(value) || (isScalar(value) && texts.has(String(value))),
    broken: (column) => `${column(property)} NOT IN (${literals.join(", ")})`,
  }
  return isRecordLevel(name, options) ? recordForm(rule) : setForm(rule, options)
}

export interface Range {
  /** Inclusive. Numerals as text or whole numbers, compared exactly; or an ISO date or time, taken as UTC without a zone. */
  min?: string | number
  max?: string | number
}

/** Between `min` and `max`, both included (or null). Throws `CONFIG`. */
export function range(property: string, bounds: Range, options: RecordLevel): RecordCheck
export function range(property: string, bounds: Range, options?: SetLevel): SetCheck
export function range(property: string, bounds: Range, options: RecordLevel | SetLevel = {}): RecordCheck | SetCheck {
  const name = `range(${property})`
  propertiesOf(name, [property])
  const { min, max } = bounds
  if (min === undefined && max === undefined)
    throw new SpillwayError("CONFIG", `${name}: neither min nor max is given`, { hint: "give at least one" })
  const low = min === undefined ? undefined : { literal: literal(name, min), order: orderOf(name, min) }
  const high = max === undefined ? undefined : { literal: literal(name, max), order: orderOf(name, max) }
  const rule: PropertyRule = {
    name,
    property,
    description: { check: "range", property, min: min ?? null, max: max ?? null },
    expected: [min === undefined ? "" : `≥ ${min}`, max === undefined ? "" : `≤ ${max}`].filter(Boolean).join(" and "),
    counted: "values outside",
    holds: (value) =>
      isNothing(value) ||
      ((low === undefined || low.order(value) >= 0) && (high === undefined || high.order(value) <= 0)),
    broken: (column) => {
      const below = low && `${column(property)} < ${low.literal}`
      const above = high && `${column(property)} > ${high.literal}`
      return [below, above].filter((condition) => condition !== undefined).join(" OR ")
    },
  }
  return isRecordLevel(name, options) ? recordForm(rule) : setForm(rule, options)
}

const isScalar = (value: unknown): value is Comparable | bigint =>
  ["string", "number", "boolean", "bigint"].includes(typeof value)

const isNothing = (value: unknown): boolean => value === null || value === undefined

const recordForm = ({ name, property, description, expected, holds }: PropertyRule): RecordCheck => ({
  level: "record",
  name,
  description: { level: "record", ...(description as object) },
  judge: (record) => {
    const value = record[property]
    return holds(value)
      ? undefined
      : checkFault(name, `${property}: expected ${expected}, got ${shown(value)}`, property, expected)
  },
})

function setForm({ name, description, expected, counted, broken }: PropertyRule, options: SetLevel): SetCheck {
  const severity = severityOf(name, options)
  return {
    level: "set",
    name,
    severity,
    description: { level: "set", severity, ...(description as object) },
    aggregates: (column) => ({ broken: `count(*) FILTER (WHERE ${broken(column)})` }),
    failingWhere: broken,
    judge: (measures) => {
      const found = aggregate(measures, "broken")
      const what = counted === "nulls" ? "0 nulls" : `${expected}, so 0 ${counted}`
      return {
        passed: found === 0,
        observed: found,
        message: `${name}: expected ${what}, found ${found} of ${rows(measures.staged)}`,
      }
    },
  }
}

/** No two rows of the partition with the same values; rows with a null among them are left out, as in a SQL unique constraint. Throws `CONFIG`. */
export function unique(properties: string | readonly string[], options: SetLevel = {}): SetCheck {
  const list = typeof properties === "string" ? [properties] : properties
  const name = `unique(${list.join(", ")})`
  propertiesOf(name, list)
  if (isRecordLevel(name, options))
    throw new SpillwayError("CONFIG", `${name}: a single record cannot be judged for being unique`, {
      hint: 'leave level out; a sink with mode "upsert" sets duplicates aside',
    })
  const severity = severityOf(name, options)
  const columns = (column: Column): string => list.map(column).join(", ")
  const complete = (column: Column): string => list.map((property) => `${column(property)} IS NOT NULL`).join(" AND ")
  return {
    level: "set",
    name,
    severity,
    description: { level: "set", severity, check: "unique", properties: list },
    aggregates: (column) => ({
      surplus: `count(*) FILTER (WHERE ${complete(column)}) - count(DISTINCT (${columns(column)})) FILTER (WHERE ${complete(column)})`,
    }),
    failingWhere: (column) =>
      `(${columns(column)}) IN (SELECT ${columns(column)} FROM staged GROUP BY ${columns(column)} HAVING count(*) > 1)`,
    judge: (measures) => {
      const surplus = aggregate(measures, "surplus")
      const message = `${name}: expected every row to differ, found ${rows(surplus)} that repeat${surplus === 1 ? "s" : ""} another, of ${measures.staged}`
      return { passed: surplus === 0, observed: surplus, message }
    },
  }
}
