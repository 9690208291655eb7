import { SpillwayError } from "../core/errors.ts"
import { parseCalendarDate } from "../models/calendar.ts"
import type { PartitionUnit } from "../models/partition-unit.ts"
import { parseSelection, selects, type Selection } from "../models/selection.ts"
import { periodOf, periodText } from "./calendar.ts"
import type { PartitionState } from "./workload.ts"

/** Which partitions a backfill is about, as written. Bounds are `2011`, `2011-03` or `2011-03-09`, and inclusive. */
export interface BackfillRange {
  readonly start?: string | undefined
  readonly end?: string | undefined
  /** `failed`, `missing`, `stale`, several with commas; undefined: all that are not done. */
  readonly only?: string | undefined
}

/** What of a range does not depend on how it was written: the same backfill again is told by it. */
export interface RangeIdentity {
  readonly start: string | null
  readonly end: string | null
  readonly only: readonly string[] | null
  readonly [key: string]: string | readonly string[] | null
}

/** Throws `CONFIG` for what is no year, month or date, for a start after the end, and for an unknown word in `only`. */
export function checkRange(range: BackfillRange): RangeIdentity {
  const { start, end } = range
  for (const [flag, text] of [
    ["--start", start],
    ["--end", end],
  ] as const) {
    const date = text === undefined ? undefined : parseCalendarDate(text)
    if (typeof date === "string")
      throw new SpillwayError("CONFIG", `${flag} ${text} is not a date: it ${date}`, {
        hint: `write ${flag} 2011, 2011-03 or 2011-03-09`,
      })
  }
  const length = Math.min(start?.length ?? 0, end?.length ?? 0)
  if (start !== undefined && end !== undefined && start.slice(0, length) > end.slice(0, length))
    throw new SpillwayError("CONFIG", `--start ${start} is after --end ${end}`, {
      hint: "swap them; both ends are included",
    })
  const { only } = selectionOf(range)
  return { start: start ?? null, end: end ?? null, only: only === undefined ? null : [...only].sort() }
}

const selectionOf = ({ start, end, only }: BackfillRange): Selection => parseSelection({ from: start, to: end, only })

export interface ChosenPartitions {
  /** In the order of the source. */
  readonly chosen: readonly PartitionState[]
  /** In the range, and not to be done: done already, or left out by `only`. */
  readonly skipped: readonly PartitionState[]
}

/** Keys that are looked at here are written as days or months. */
const BY_TIME: PartitionUnit = { kind: "day" }

/** The partitions that a range is about. Throws `CONFIG` (not found) when none lies in it. */
export function choosePartitions(
  pipeline: string,
  range: BackfillRange,
  partitions: readonly PartitionState[],
): ChosenPartitions {
  const { only, ...bounds } = selectionOf(range)
  const bounded = bounds.from !== undefined || bounds.to !== undefined
  const inRange = partitions.filter(({ key, reason }) => {
    if (!bounded) return true
    const period = periodOf(key)
    return period !== undefined && selects({ ...bounds, only: undefined }, BY_TIME, periodText(period), reason)
  })
  if (inRange.length === 0) throw nothingInRange(pipeline, range, partitions)
  const anyTime = { ...bounds, from: undefined, to: undefined, only }
  const wanted = ({ key, reason }: PartitionState): boolean =>
    reason !== "unchanged" && selects(anyTime, undefined, key, reason)
  return { chosen: inRange.filter(wanted), skipped: inRange.filter((partition) => !wanted(partition)) }
}

function nothingInRange(
  pipeline: string,
  { start, end }: BackfillRange,
  partitions: readonly PartitionState[],
): SpillwayError {
  const dated = partitions.flatMap(({ key }) => periodOf(key) ?? []).map(periodText)
  const sorted = dated.sort()
  const hint =
    partitions.length === 0
      ? "there is nothing at its source"
      : sorted.length === 0
        ? "its partitions have no date in their names: leave out --start and --end"
        : `it has partitions from ${sorted[0]} to ${sorted.at(-1)}`
  const range = start === undefined && end === undefined ? "at all" : `in ${start ?? "…"} to ${end ?? "…"}`
  return new SpillwayError("CONFIG", `there is no partition of "${pipeline}" ${range}`, {
    where: `pipeline ${pipeline}`,
    hint,
    context: { notFound: true },
  })
}
