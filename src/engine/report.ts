import type { ErrorCode, ReportedError } from "../core/errors.ts"
import type { Counts, PartitionReason, RunStatus } from "../core/events.ts"

/** A partition that was read and not published, and why. */
export interface HeldPartition extends ReportedError {
  readonly partition: string
  /** Records read from it, and how many of them were set aside. */
  readonly read: number
  readonly deadLettered: number
}

/** A property that the schema does not know, and the column that was added for it. */
export interface NewColumnReport {
  readonly property: string
  readonly column: string
  /** As in DDL. */
  readonly type: string
}

export interface StageReport {
  readonly stage: string
  /** `skipped`: an earlier attempt completed it and nothing changed since. Stages that were not reached are not listed. */
  readonly status: Exclude<RunStatus, "running"> | "skipped"
  readonly runId: string | undefined
  readonly counts: Readonly<Counts>
  readonly durationMs: number
}

/** What a run did. Everything in it is also in `ops`. */
export interface RunReport {
  readonly pipeline: string
  readonly table: string
  readonly runId: string
  readonly attempt: number
  readonly status: Exclude<RunStatus, "running">
  readonly counts: Readonly<Counts>
  /** Partitions the source has, chosen for this run (by reason), published, held, and left as they were. */
  readonly partitions: {
    readonly total: number
    readonly chosen: number
    readonly reasons: Partial<Record<PartitionReason, number>>
    readonly published: number
    readonly held: number
    readonly unchanged: number
  }
  /** Read but not published; their records are not part of `counts`. */
  readonly held: readonly HeldPartition[]
  /** Dead letters of this run, known ones included, by code. */
  readonly deadLetters: Readonly<Record<string, number>>
  /** Null values per property over the records read. */
  readonly nulls: Readonly<Record<string, number>>
  /** Milliseconds spent: `read` (read, decode, validate), `stage` (waiting for COPY), `gate`, `publish`. They overlap. */
  readonly steps: Readonly<Record<string, number>>
  /** Of a pipeline made of stages: what became of each. */
  readonly stages?: readonly StageReport[]
  /** With `onNewColumn: "evolve"`, what was added to the table. */
  readonly newColumns?: readonly NewColumnReport[]
  readonly warnings: readonly { readonly code: ErrorCode; readonly message: string }[]
  readonly durationMs: number
  readonly error: ReportedError | undefined
}
