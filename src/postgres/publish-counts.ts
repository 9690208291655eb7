import { SpillwayError } from "../core/errors.ts"
import type { Counts } from "../core/events.ts"

/** Rows of one source as the publish sees them. */
export type SourceCounts = Pick<Counts, "inserted" | "updated" | "unchanged" | "duplicate" | "superseded" | "deleted">

export interface PublishResult {
  readonly counts: ReadonlyMap<string, SourceCounts>
  readonly touches: readonly { readonly by: string; readonly value: string }[]
  /** The staging table became the target. */
  readonly adopted: boolean
}

export const emptyCounts = (sources: readonly string[]): Map<string, SourceCounts> =>
  new Map(
    sources.map((source) => [
      source,
      { inserted: 0, updated: 0, unchanged: 0, duplicate: 0, superseded: 0, deleted: 0 },
    ]),
  )

export function bySource(counts: Map<string, SourceCounts>, source: string): SourceCounts {
  const found = counts.get(source)
  if (found === undefined) throw imbalanced(`staging holds rows of "${source}", which is not being published`)
  return found
}

export const imbalanced = (message: string): SpillwayError =>
  new SpillwayError("CONSERVATION", message, {
    hint: "nothing was published; a trigger or rule on the table that drops or adds rows would explain it. Please report it otherwise",
  })
