import { parseDuration } from "../core/duration.ts"
import { SpillwayError } from "../core/errors.ts"

/** Milliseconds as a number, or a whole number with a unit: `"200ms"`, `"1s"`, `"30 minutes"`, `"2h"`, `"1 day"`. */
export type Duration = number | string

/** A duration in milliseconds. The number `Infinity` means no limit. Throws `CONFIG`, with the `option` as `where`, for anything negative or unreadable. */
export function milliseconds(duration: Duration, option: string): number {
  if (typeof duration === "string") return parseDuration(duration, option)
  if (duration >= 0) return duration
  throw new SpillwayError("CONFIG", `${duration} is not a duration`, {
    where: option,
    hint: 'give milliseconds as a number from 0, or a whole number with a unit: "200ms", "1s", "30 minutes"',
  })
}

/** Milliseconds as a message shows them: `250 ms`, `7.2 s`, `5 min`. */
export function spoken(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)} ms`
  if (ms < 120_000) return `${Math.round(ms / 100) / 10} s`
  return `${Math.round(ms / 6_000) / 10} min`
}
