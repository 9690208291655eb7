import type { BreakerStore } from "../core/breakers.ts"
import type { Check } from "../core/contracts.ts"
import { SpillwayError } from "../core/errors.ts"
import type { Counts, RunEventBody } from "../core/events.ts"
import type { JsonValue } from "../core/json.ts"
import type { Ports } from "../core/ports.ts"
import { zeroTally, type Tally } from "../ledger/progress.ts"
import type { Target } from "../postgres/target.ts"
import type { FileOutput } from "./files/file-output.ts"
import type { HeldPartition, NewColumnReport } from "./report.ts"
import type { PlannedPartition } from "./plan.ts"

/**
 * What a run carries out: partitions on their way into one table. A pipeline and a model are two kinds of it; leases, staging,
 * gate, commit and ledger are the same for both.
 */
export interface LoadFacts {
  readonly kind: "pipeline" | "model"
  readonly name: string
  readonly definitionVersion: string
  /** `schema.name` of the table, or the folder. */
  readonly table: string
  /** Where the rows go that go into no table. */
  readonly output: FileOutput | undefined
  readonly checks: readonly Check[]
  readonly publish: "partition" | "run"
  /** Milliseconds. */
  readonly leaseMs: number
  /** Bytes of what is read after which small partitions no longer share a transaction. */
  readonly groupBytes: number
  /** Partitions are files, which have a ledger of their own. */
  readonly files: boolean
  /** Partitions are months, which `ops.processed_months` lists too. */
  readonly months: boolean
}

/** What the parts of one run share. */
export interface RunContext {
  readonly load: LoadFacts
  readonly target: Target
  readonly ports: Ports
  readonly directory: string
  readonly runId: string
  readonly runNo: number
  readonly attempt: number
  readonly holder: string
  readonly correlationId: string | undefined
  /** Aborted when the run is to stop: asked for, or its leases are lost. */
  readonly signal: AbortSignal
  readonly emit: (event: RunEventBody) => void
  /** Shared by all runs on the database. */
  readonly breakers: BreakerStore
  readonly totals: RunningTotals
  /** Milliseconds per step. */
  readonly steps: Record<string, number>
  /** Columns that this run has added to the table. */
  readonly newColumns: NewColumnReport[]
}

/** What the run amounts to so far, over all its attempts. */
export interface RunningTotals {
  counts: Counts
  nulls: Record<string, number>
  codes: Record<string, number>
  published: number
  unchanged: number
  held: HeldPartition[]
}

/** A partition of the group being staged or published. */
export interface GroupMember {
  readonly plan: PlannedPartition
  readonly partitionNo: number
  tally: Tally
  /** The position up to which it is staged, and in how many batches. */
  batches: number
  complete: boolean
  /** What its source is to be told when it lists it again. */
  state: JsonValue | undefined
  /** Set when the partition cannot be published. */
  heldBy: SpillwayError | undefined
  /** What a model's rows were built from; undefined for a pipeline's. */
  built: Built | undefined
  stagingMs: number
}

/** What the ledger is told of a partition that was built by SQL. */
export interface Built {
  /** The snapshot that the query saw, as `pg_snapshot`. */
  readonly snapshot: string
  /** Sums over its rows by column, exact, as text. */
  readonly sums: Readonly<Record<string, string>>
}

/** Partitions that are staged in one table and published in one transaction. */
export interface Group {
  readonly number: number
  readonly members: GroupMember[]
  /** The table with what the group's rows hold besides the columns of the schema. */
  target: Target
  /** Settles when an index on the keys of the staged rows is made, or could not be; undefined where none is under way. */
  indexed?: Promise<void>
}

export const newMember = (plan: PlannedPartition, partitionNo: number): GroupMember => ({
  plan,
  partitionNo,
  tally: zeroTally(),
  batches: 0,
  complete: false,
  state: undefined,
  heldBy: undefined,
  built: undefined,
  stagingMs: 0,
})

export const stagingTable = (runNo: number, groupNo: number): string => `ops_staging.run_${runNo}_${groupNo}`

/** What is staged cannot be published as it is: the group starts over. Never leaves the engine. */
export class StagingUnusable extends Error {}

/** A server crash has emptied it. */
export class StagingLost extends StagingUnusable {
  constructor(what: string) {
    super(`what was staged is gone (${what})`)
    this.name = "StagingLost"
  }
}

/** The table has changed since. */
export class StagingOutdated extends StagingUnusable {
  constructor(why: string) {
    super(`what was staged no longer fits the table (${why})`)
    this.name = "StagingOutdated"
  }
}

export const leaseLost = (context: Pick<RunContext, "load" | "runId">, partition: string): SpillwayError =>
  new SpillwayError(
    "LEASE_LOST",
    `another run took over ${partition} while this one was out of touch; nothing was written`,
    {
      where: `${context.load.kind} ${context.load.name}, run ${context.runId}`,
      hint: "this run stops; the other one carries on: spillway status",
    },
  )

/** Times `body` into `steps[name]`. */
export async function timed<T>(
  context: Pick<RunContext, "ports" | "steps">,
  name: string,
  body: () => Promise<T>,
): Promise<T> {
  const start = context.ports.clock.monotonic()
  try {
    return await body()
  } finally {
    context.steps[name] = (context.steps[name] ?? 0) + context.ports.clock.monotonic() - start
  }
}
