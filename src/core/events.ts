import type { ErrorCode, ReportedError } from "./errors.ts"

/** What became of the records of a partition or a run. `read + expanded` equals the sum of the rest, always. */
export interface Counts {
  read: number
  /** Further records that a transform made of one. */
  expanded: number
  inserted: number
  updated: number
  /** Equal to what the table holds: nothing written. */
  unchanged: number
  /** The same key again in the partition. */
  duplicate: number
  /** A newer version of the key is already there. */
  superseded: number
  filtered: number
  deadLettered: number
  /** Rows of the target that the source no longer has; outside the equation. */
  deleted: number
}

export const zeroCounts = (): Counts => ({
  read: 0,
  expanded: 0,
  inserted: 0,
  updated: 0,
  unchanged: 0,
  duplicate: 0,
  superseded: 0,
  filtered: 0,
  deadLettered: 0,
  deleted: 0,
})

export function addCounts(into: Counts, more: Readonly<Counts>): void {
  for (const key of Object.keys(into) as (keyof Counts)[]) into[key] += more[key]
}

/** `read + expanded` minus the sum of what became of them: 0 when nothing was lost or made up. */
export function imbalance(counts: Readonly<Counts>): number {
  const { read, expanded, inserted, updated, unchanged, duplicate, superseded, filtered, deadLettered } = counts
  return read + expanded - (inserted + updated + unchanged + duplicate + superseded + filtered + deadLettered)
}

/** Why a partition is (or is not) to be done in this run. */
export type PartitionReason =
  | "new"
  | "changed"
  /** What it was built from was touched since. */
  | "stale"
  | "held-before"
  | "failed-before"
  | "resumed"
  | "full"
  | "unchanged"

export type RunStatus = "running" | "completed" | "partial" | "failed" | "cancelled"

/** Everything that happens in a run. Logs, checkpoints, metrics, the progress line and the report are all fed from this. */
export type RunEvent = {
  readonly time: number
  readonly pipeline: string
  readonly runId: string
  readonly attempt: number
} & (
  | {
      readonly type: "run.started"
      readonly resumed: boolean
      readonly definitionVersion: string
      readonly full: boolean
    }
  | {
      readonly type: "run.planned"
      readonly total: number
      readonly todo: number
      readonly unchanged: number
      readonly bytes: number
      readonly reasons: Partial<Record<PartitionReason, number>>
    }
  | { readonly type: "stage.started"; readonly stage: string }
  | {
      readonly type: "stage.finished"
      readonly stage: string
      /** Of the run that the stage was; `skipped`: an earlier attempt completed it and nothing changed since. */
      readonly status: Exclude<RunStatus, "running"> | "skipped"
      /** The run of the stage itself, which has its own log. */
      readonly stageRunId: string | undefined
      readonly counts: Readonly<Counts>
      readonly durationMs: number
      readonly error: { readonly code: ErrorCode; readonly message: string } | undefined
    }
  | {
      readonly type: "partition.started"
      readonly partition: string
      readonly reason: PartitionReason
      /** The partition goes on after what an earlier attempt had staged. */
      readonly resumedAfter: number | undefined
    }
  | {
      readonly type: "batch.staged"
      readonly partition: string
      readonly bytes: number
      readonly read: number
      readonly staged: number
      readonly filtered: number
      readonly deadLettered: number
      readonly durationMs: number
    }
  | {
      readonly type: "partition.staged"
      readonly partition: string
      readonly read: number
      readonly durationMs: number
    }
  | {
      readonly type: "check.judged"
      readonly partition: string
      readonly check: string
      readonly severity: "warn" | "fail"
      readonly passed: boolean
      readonly observed: number | null
      readonly message: string
    }
  | {
      readonly type: "partition.published"
      readonly partition: string
      readonly counts: Readonly<Counts>
      /** The content replaced an earlier version of this partition. */
      readonly replaced: boolean
      readonly durationMs: number
    }
  | ({
      readonly type: "partition.held"
      readonly partition: string
      readonly counts: Readonly<Counts>
    } & ReportedError)
  | { readonly type: "partition.restarted"; readonly partition: string; readonly message: string }
  | {
      readonly type: "group.published"
      readonly partitions: number
      readonly rows: number
      readonly durationMs: number
      /** How long each statement family took, in milliseconds. */
      readonly steps: Readonly<Record<string, number>>
    }
  | {
      readonly type: "retry"
      readonly what: string
      /** Tries so far. */
      readonly tries: number
      readonly delayMs: number
      readonly code: ErrorCode
      readonly message: string
    }
  | { readonly type: "commit.resolved"; readonly outcome: "committed" | "aborted"; readonly message: string }
  | {
      readonly type: "warning"
      readonly code: ErrorCode
      readonly partition: string | undefined
      readonly message: string
      readonly hint: string | undefined
    }
  | {
      readonly type: "run.finished"
      readonly status: Exclude<RunStatus, "running">
      readonly counts: Readonly<Counts>
      readonly published: number
      readonly held: number
      readonly unchanged: number
      /** Null values per property over the records read, where they were decoded. */
      readonly nulls: Readonly<Record<string, number>>
      readonly durationMs: number
      readonly error: ReportedError | undefined
    }
)

/** The same without the fields that the run itself fills in. */
export type RunEventBody = RunEvent extends infer E
  ? E extends RunEvent
    ? Omit<E, "time" | "pipeline" | "runId" | "attempt">
    : never
  : never
