import { compareDecimals, parseDecimal } from "../core/decimal.ts"
import { SpillwayError } from "../core/errors.ts"

/** Below 0 when the value is less than the bound, 0 when equal, above 0 when greater; NaN when the two cannot be compared. */
export type Order = (value: unknown) => number

const ISO = /^\d{4}-\d{2}-\d{2}(?:[ T]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?( ?(?:Z|[+-]\d{2}:?\d{2}))?$/

/** How values compare with a bound: exactly as decimals, or as instants where the bound is an ISO date or time. Throws `CONFIG`. */
export function orderOf(check: string, bound: string | number): Order {
  const decimal = parseDecimal(String(bound))
  if (decimal !== undefined) {
    return (value) => {
      const other =
        typeof value === "number" || typeof value === "bigint" || typeof value === "string"
          ? parseDecimal(String(value))
          : undefined
      return other === undefined ? Number.NaN : compareDecimals(other, decimal)
    }
  }
  const instant = toInstant(bound)
  if (Number.isNaN(instant))
    throw new SpillwayError(
      "CONFIG",
      `${check}: ${JSON.stringify(bound)} is neither a number nor an ISO date or time`,
      {
        hint: 'write "0.01" or "2010-12-31"',
      },
    )
  return (value) => toInstant(value) - instant
}

/** Milliseconds since the epoch; text without a zone is taken as UTC. */
function toInstant(value: unknown): number {
  if (value instanceof Date) return value.getTime()
  const match = typeof value === "string" ? ISO.exec(value) : null
  if (match === null) return Number.NaN
  const iso = match[0].replace(/^(\S+) (?=\d)/, "$1T").replaceAll(" ", "")
  return new Date(match[1] === undefined && iso.length > 10 ? `${iso}Z` : iso).getTime()
}
