import type { SourcePartition } from "../core/contracts.ts"
import type { SpillwayError } from "../core/errors.ts"
import type { PartitionReason } from "../core/events.ts"
import type { Ports } from "../core/ports.ts"
import type { LedgerPartition } from "../ledger/partitions.ts"
import type { StagedProgress } from "../ledger/progress.ts"
import type { Session } from "../postgres/session.ts"
import type { Target } from "../postgres/target.ts"
import type { Connection } from "./connection.ts"
import type { Group, LoadFacts, RunContext } from "./run-context.ts"

/** Why a partition is (or is not) to be done, and what of it is worth telling. */
export interface Reason {
  readonly reason: PartitionReason
  /** Such as what touched the data it was built from. */
  readonly detail: string | undefined
}

export interface ListContext {
  readonly ports: Ports
  readonly directory: string
  readonly signal: AbortSignal
  /** Nothing may be written, not even notes in `ops`. */
  readonly readOnly: boolean
  /** Everything is to be read again. */
  readonly full: boolean
  /** Keys of partitions that an interrupted run, which may be continued, has read in part. */
  readonly unfinished?: readonly string[] | undefined
}

/** What a run carries out, with what it takes to do so. */
export interface Load extends LoadFacts {
  /** What an interrupted run has staged is worth going on from. */
  readonly resumable: boolean
  /** Keys of partitions end with their date. */
  readonly isDated: boolean
  /** The table as it is to be. Throws `CONFIG` when that cannot be told. */
  target(session: Session): Promise<Target>
  /** The partitions there are now, in the order in which they are to be done. */
  list(
    session: Session,
    known: ReadonlyMap<string, LedgerPartition>,
    context: ListContext,
  ): Promise<readonly SourcePartition[]>
  /** Why each is to be done, or `unchanged`. `runId`: the interrupted run that may be continued. */
  reasons(
    session: Session,
    listed: readonly SourcePartition[],
    known: ReadonlyMap<string, LedgerPartition>,
    options: { full: boolean; runId: string | undefined },
  ): Promise<ReadonlyMap<string, Reason>>
  /** Notes what the list told besides; gives what should be said aloud. */
  afterList(
    session: Session,
    listed: readonly SourcePartition[],
    before: ReadonlyMap<string, LedgerPartition>,
    unchanged: readonly SourcePartition[],
  ): Promise<SpillwayError[]>
  /** Rows that each partition would be made of, where a query tells; undefined where only reading would. */
  countRows(session: Session): Promise<ReadonlyMap<string, number> | undefined>
  /** `another` makes a further connection. */
  stager(context: RunContext, connection: Connection, another: () => Connection): Stager
}

/** The read half of a run: brings groups of partitions into their staging tables. */
export interface Stager {
  /** Stages what is left of a group. A partition that cannot be staged is marked as held. */
  stage(group: Group, resumed: ReadonlyMap<string, StagedProgress>): Promise<void>
  /** Forgets what is staged of a group. */
  startOver(group: Group, why: string): Promise<void>
}
