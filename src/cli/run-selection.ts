import type { Source } from "../core/contracts.ts"
import { partitionName } from "../core/partition-name.ts"
import type { SpillwayError } from "../core/errors.ts"
import type { PartitionPlan } from "../engine/plan-partitions.ts"
import { partsOf, type Runnable } from "../engine/project.ts"
import type { RunOptions } from "../engine/run.ts"
import { checkSelection, describeSelection, parseSelection, selects, type Selection } from "../models/selection.ts"
import { isTimed, type PartitionUnit } from "../models/partition-unit.ts"
import { notFound, usageError } from "./errors.ts"

export interface SelectionOptions {
  readonly partition?: string[]
  readonly year?: string
  readonly month?: string
  readonly from?: string
  readonly to?: string
  readonly only?: string
}

/** What is asked for of each of the runnables. */
export interface RunSelection {
  readonly words: string
  readonly narrows: boolean
  /** What a run of it is told. */
  of(runnable: Runnable): Pick<RunOptions, "partitions" | "select">
  /** Those of its partitions that are asked for. Throws `CONFIG` (not found) for keys, months or years that it does not have. */
  pick(runnable: Runnable, partitions: readonly PartitionPlan[]): PartitionPlan[]
}

/**
 * Reads the flags that say which partitions are meant. `named`: the user named the pipelines; then each of them has to have the
 * months or days that are asked for. Of a whole project, those that have none run as ever. Throws `CONFIG`.
 */
export function runSelection(flags: SelectionOptions, runnables: readonly Runnable[], named: boolean): RunSelection {
  const selection = parseSelection(flags)
  if (flags.partition !== undefined && runnables.length !== 1)
    throw usageError(
      "--partition is about one pipeline, but several would run",
      "name the pipeline: spillway run PIPELINE --partition KEY",
    )
  const byTime = [selection.year, selection.month, selection.from, selection.to].some((given) => given !== undefined)
  const own = (runnable: Runnable): Selection => {
    const isByTime = isTimed(unitOf(runnable))
    if (isByTime && selection.keys !== undefined)
      return { ...selection, keys: new Set([...selection.keys].map((key) => nameIn(runnable, key))) }
    return byTime && !isByTime
      ? { ...selection, year: undefined, month: undefined, from: undefined, to: undefined }
      : selection
  }
  for (const runnable of runnables)
    if (named) checkSelection({ ...selection, keys: own(runnable).keys }, unitOf(runnable), runnable.name)
  const narrows = byTime || selection.only !== undefined || selection.keys !== undefined
  return {
    words: describeSelection(selection),
    narrows,
    of(runnable) {
      const mine = own(runnable)
      const unit = unitOf(runnable)
      const asked = byTime && isTimed(unit)
      return {
        ...(flags.partition === undefined ? {} : { partitions: flags.partition }),
        ...(asked || mine.only !== undefined
          ? {
              select: {
                words: describeSelection(mine),
                // That none of a month is stale, say, is no mistake.
                byKey: asked && mine.only === undefined,
                matches: (key, reason) => selects(mine, unit, nameIn(runnable, key), reason),
              },
            }
          : {}),
      }
    },
    pick(runnable, partitions) {
      const mine = own(runnable)
      const there = new Set(partitions.map(({ key }) => nameIn(runnable, key)))
      const unknown = [...(mine.keys ?? [])].filter((key) => !there.has(key)).map((key) => JSON.stringify(key))
      if (unknown.length > 0) throw noneOf(runnable, unknown.join(", "), partitions)
      const picked = partitions.filter(({ key, reason }) =>
        selects(mine, unitOf(runnable), nameIn(runnable, key), reason),
      )
      if (picked.length === 0 && partitions.length > 0 && mine.only === undefined)
        throw noneOf(runnable, `of ${describeSelection(mine)}`, partitions)
      return picked
    },
  }
}

function noneOf(runnable: Runnable, words: string, partitions: readonly PartitionPlan[]): SpillwayError {
  const [first, last] = [partitions[0]?.key, partitions.at(-1)?.key]
  return notFound(`${runnable.kind} "${runnable.name}" has no partition ${words}`, {
    where: `${runnable.kind} ${runnable.name}`,
    hint: first === undefined ? "it has none at all" : `it has ${partitions.length}, from ${first} to ${last}`,
  })
}

/** What all parts of a runnable are divided by; undefined for files and for parts that differ. */
function unitOf(runnable: Runnable): PartitionUnit | undefined {
  const units = partsOf(runnable).map((part) => (part.kind === "model" ? part.partition : unitOfSource(part.source)))
  const [first] = units
  return units.every((unit) => unit?.kind === first?.kind) ? first : undefined
}

const unitOfSource = ({ dividedBy }: Source): PartitionUnit | undefined =>
  dividedBy === undefined ? undefined : { kind: dividedBy }

/** What a partition is selected by. */
const nameIn = (runnable: Runnable, key: string): string => partitionName(key, isTimed(unitOf(runnable)))
