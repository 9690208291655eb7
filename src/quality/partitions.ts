import type { PartitionMeasures, SetCheck } from "../core/contracts.ts"
import { SpillwayError } from "../core/errors.ts"
import { propertiesOf, ratioOf, severityOf, type SetOptions } from "./declaration.ts"
import { aggregate, rows, share } from "./observed.ts"

/** At least the share `min` of the records read is good: neither undecodable nor refused. Filtered records are good. Throws `CONFIG`. */
export function passRate(min: number, options: SetOptions = {}): SetCheck {
  const name = "passRate"
  const severity = severityOf(name, options)
  ratioOf(name, "min", min)
  return {
    level: "set",
    name,
    severity,
    wholePartition: true,
    description: { level: "set", severity, check: name, min },
    judge: ({ read, deadLettered }) => {
      if (read === 0) return { passed: true, observed: null, message: `${name}: no records` }
      const rate = (read - deadLettered) / read
      const found = `${share(rate)} (${read - deadLettered} of ${read}, ${deadLettered} dead-lettered)`
      return {
        passed: rate >= min,
        observed: rate,
        message: `${name}: expected at least ${share(min)} good records, found ${found}`,
      }
    },
  }
}

export interface RowCount {
  /** Inclusive. */
  min?: number
  max?: number
}

/** How many rows a partition has. Throws `CONFIG`. */
export function rowCount(bounds: RowCount, options: SetOptions = {}): SetCheck {
  const name = "rowCount"
  const severity = severityOf(name, options)
  const { min, max } = bounds
  const given = [min, max].filter((bound) => bound !== undefined)
  if (
    given.length === 0 ||
    given.some((bound) => !Number.isSafeInteger(bound) || bound < 0) ||
    (min ?? 0) > (max ?? Infinity)
  )
    throw new SpillwayError(
      "CONFIG",
      `${name}: min ${min ?? "(none)"} and max ${max ?? "(none)"} are no range of row counts`,
      {
        hint: "give min, max or both as whole numbers, min not above max",
      },
    )
  const expected = [min === undefined ? "" : `at least ${min}`, max === undefined ? "" : `at most ${max}`]
    .filter(Boolean)
    .join(" and ")
  return {
    level: "set",
    name,
    severity,
    wholePartition: true,
    description: { level: "set", severity, check: name, min: min ?? null, max: max ?? null },
    judge: ({ staged }) => ({
      passed: staged >= (min ?? 0) && staged <= (max ?? Infinity),
      observed: staged,
      message: `${name}: expected ${expected} rows, found ${staged}`,
    }),
  }
}

export interface NullRatio extends SetOptions {
  /** The largest share of nulls, 0 to 1. Without it the share is measured and always passes. */
  max?: number
}

/** The share of rows in which a property is null. Throws `CONFIG`. */
export function nullRatio(property: string, options: NullRatio = {}): SetCheck {
  const name = `nullRatio(${property})`
  propertiesOf(name, [property])
  const { max } = options
  const severity = severityOf(name, options, max === undefined ? "warn" : "fail")
  if (max !== undefined) ratioOf(name, "max", max)
  const judge = (measures: PartitionMeasures): ReturnType<SetCheck["judge"]> => {
    const { staged } = measures
    if (staged === 0) return { passed: true, observed: null, message: `${name}: no rows` }
    const nulls = aggregate(measures, "nulls")
    const ratio = nulls / staged
    const found = `${share(ratio)} nulls (${nulls} of ${rows(staged)})`
    if (max === undefined) return { passed: true, observed: ratio, message: `${name}: ${found}` }
    return {
      passed: ratio <= max,
      observed: ratio,
      message: `${name}: expected at most ${share(max)} nulls, found ${found}`,
    }
  }
  return {
    level: "set",
    name,
    severity,
    wholePartition: true,
    description: { level: "set", severity, check: "nullRatio", property, max: max ?? null },
    aggregates: (column) => ({ nulls: `count(*) FILTER (WHERE ${column(property)} IS NULL)` }),
    ...(max === undefined
      ? {}
      : { failingWhere: (column: (property: string) => string) => `${column(property)} IS NULL` }),
    judge,
  }
}
