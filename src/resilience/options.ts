import { SpillwayError } from "../core/errors.ts"

/** A number that an option holds. Throws `CONFIG` when it is not within `min` and `max`, or not whole where it has to be. */
export function numberOption(
  option: string,
  value: number,
  limits: { readonly min: number; readonly max?: number; readonly whole?: boolean },
): number {
  const { min, max = Infinity, whole = false } = limits
  if (value >= min && value <= max && (!whole || value === Infinity || Number.isInteger(value))) return value
  const range = max === Infinity ? `of at least ${min}` : `from ${min} to ${max}`
  throw new SpillwayError("CONFIG", `${option}: ${value} is not possible here`, {
    where: option,
    hint: `give a ${whole ? "whole number" : "number"} ${range}`,
  })
}
