import { PARTITION_ONLY, type SpillwayError } from "../core/errors.ts"
import type { Position } from "../core/records.ts"
import { lockPositions } from "../ledger/partitions.ts"
import {
  advanceProgress,
  clearProgress,
  progressOf,
  startProgress,
  zeroTally,
  type StagedProgress,
  type Tally,
} from "../ledger/progress.ts"
import type { Session } from "../postgres/session.ts"
import { createStaging, inspectTarget } from "../postgres/target.ts"
import type { Connection } from "./connection.ts"
import { leaseLost, StagingLost, stagingTable, type Group, type GroupMember, type RunContext } from "./run-context.ts"

/** The staging tables of a run and the progress that goes with them, whatever fills them. */
export class Staging {
  readonly connection: Connection
  private readonly context: RunContext

  constructor(context: RunContext, connection: Connection) {
    this.context = context
    this.connection = connection
  }

  /** Prepares a group and stages it with `body`; what the database server lost in a crash is staged again. */
  async stage(
    group: Group,
    resumed: ReadonlyMap<string, StagedProgress>,
    body: (earlier: ReadonlyMap<string, StagedProgress>) => Promise<void>,
  ): Promise<void> {
    let earlier = resumed
    for (;;) {
      try {
        await this.#prepare(group, earlier)
        await body(earlier)
        return
      } catch (error) {
        if (!(error instanceof StagingLost)) throw error
        await this.startOver(group, error.message)
        earlier = new Map()
      }
    }
  }

  /** Forgets what is staged of a group. */
  async startOver(group: Group, why: string): Promise<void> {
    const { runId, runNo, emit } = this.context
    const keys = group.members.map((member) => member.plan.partition.key)
    await this.connection.retrying("emptying the staging table", (session) =>
      session.transaction(async () => {
        await this.fence(session, group.members)
        await session.query(`DROP TABLE IF EXISTS ${stagingTable(runNo, group.number)}`)
        await clearProgress(session, runId, keys)
      }),
    )
    for (const member of group.members) {
      member.tally = zeroTally()
      member.batches = 0
      member.complete = false
      member.state = undefined
      member.heldBy = undefined
      member.built = undefined
      emit({ type: "partition.restarted", partition: member.plan.partition.key, message: why })
    }
  }

  /** Makes the staging table and every member's progress; takes up what an earlier attempt left. */
  async #prepare(group: Group, resumed: ReadonlyMap<string, StagedProgress>): Promise<void> {
    const { runId, runNo, target, ports } = this.context
    const staging = stagingTable(runNo, group.number)
    await this.connection.retrying("preparing the staging table", async (session) => {
      await session.query("SET synchronous_commit = off")
      await session.transaction(async () => {
        await this.fence(session, group.members)
        const { rows } = await session.query(`SELECT FROM pg_class WHERE oid = to_regclass($1)`, [staging])
        if (rows.length === 0) {
          if ([...resumed.values()].some((p) => p.groupNo === group.number)) throw new StagingLost("its table")
          await createStaging(session, staging, target, await inspectTarget(session, target))
        }
        for (const member of group.members) {
          const before = resumed.get(member.plan.partition.key)
          if (before !== undefined && continues(before, member)) continue
          if (before !== undefined) await this.#forget(session, staging, member)
          await startProgress(session, runId, {
            key: member.plan.partition.key,
            partitionNo: member.partitionNo,
            groupNo: group.number,
            version: member.plan.partition.version,
            seq: member.plan.seq,
            epoch: member.plan.epoch,
          })
        }
      })
      for (const member of group.members) {
        const before = resumed.get(member.plan.partition.key)
        if (before === undefined || !continues(before, member)) continue
        member.tally = before.tally
        member.batches = before.batches
        member.complete = before.complete
        member.state = before.complete ? before.position?.["state"] : undefined
      }
      await this.#requireStaged(session, group, staging)
    })
    await ports.failpoints.hit("staging.created", { group: group.number })
  }

  /** Staging is begun, or begun anew, by the holder of the leases alone: whoever took over may have cleared it away. */
  async fence(session: Session, members: readonly GroupMember[]): Promise<void> {
    const { load } = this.context
    const epochs = members.map(({ plan }) => ({ key: plan.partition.key, epoch: plan.epoch }))
    const held = await lockPositions(session, load.name, epochs)
    if (held !== epochs.length) throw leaseLost(this.context, `${epochs.length - held} of ${epochs.length} partitions`)
  }

  async #forget(session: Session, staging: string, member: GroupMember): Promise<void> {
    await session.query(`DELETE FROM ${staging} WHERE _source = $1`, [member.plan.partition.key])
    await clearProgress(session, this.context.runId, [member.plan.partition.key])
  }

  /** Staged rows and tallies were written together; a difference means that somebody took one of them away. */
  async #requireStaged(session: Session, group: Group, staging: string): Promise<void> {
    const expected = group.members.reduce((sum, member) => sum + member.tally.staged, 0)
    if (expected === 0) return
    const { rows } = await session.query<{ n: string }>(`SELECT count(*) AS n FROM ${staging}`)
    if (Number(rows[0]?.n) !== expected) throw new StagingLost(`${rows[0]?.n} of ${expected} rows`)
  }

  /** Moves a member's progress on by one batch, in the caller's transaction. */
  async advance(
    session: Session,
    member: GroupMember,
    to: { position: Position | undefined; complete: boolean; tally: Tally },
  ): Promise<void> {
    const { key } = member.plan.partition
    const moved = await advanceProgress(session, this.context.runId, {
      key,
      epoch: member.plan.epoch,
      batches: member.batches + 1,
      ...to,
    })
    if (moved) return
    await this.#progress(session, member)
    throw leaseLost(this.context, key)
  }

  /** After a lost connection: whether the batch in question is in staging. */
  async wasCarriedOut(session: Session, member: GroupMember): Promise<boolean> {
    const now = await this.#progress(session, member)
    return now.batches === member.batches + 1
  }

  /** A member's progress in the database. Staging does not wait for the disk: a crash may have taken the last batches, whole. */
  async #progress(session: Session, { plan, batches }: GroupMember): Promise<StagedProgress> {
    const { key } = plan.partition
    const now = await progressOf(session, this.context.runId, key)
    if (now === undefined) throw new StagingLost(`the progress of ${key}`)
    if (now.epoch === plan.epoch && now.batches < batches)
      throw new StagingLost(`${batches - now.batches} batches of ${key}`)
    return now
  }

  /** Takes the rows of a partition that cannot be staged to its end out of staging again; its letters stay. */
  async abandon(group: Group, member: GroupMember, error: SpillwayError): Promise<void> {
    const staging = stagingTable(this.context.runNo, group.number)
    const { key } = member.plan.partition
    const tally = { ...member.tally, staged: 0 }
    await this.connection.retrying("taking out a partition", async (session, attempt) => {
      if (attempt > 1 && (await this.wasCarriedOut(session, member))) return
      await session.transaction(async () => {
        await session.query(`DELETE FROM ${staging} WHERE _source = $1`, [key])
        await this.advance(session, member, { position: undefined, complete: false, tally })
      })
    })
    member.batches++
    member.tally = tally
    member.heldBy = error
  }
}

/** Whether what an earlier attempt staged is the beginning of this partition as it is now. */
const continues = (before: StagedProgress, member: GroupMember): boolean =>
  before.version === member.plan.partition.version &&
  (before.complete || before.position !== undefined || before.batches === 0)

/** Codes that concern the run, not the partition that was being staged when they came up. */
const RUN_LEVEL = new Set([
  "LEASE_LOST",
  "DB_UNAVAILABLE",
  "DB_SERIALIZATION",
  "AUTH",
  "CONSERVATION",
  "CHECKPOINT",
  "CANCELLED",
  "CONFIG",
  // The other side is away or wants to be left alone: what is staged stays, and the next run goes on there.
  "HTTP_429",
  "HTTP_5XX",
  "TIMEOUT",
  "NETWORK",
  "DNS",
  "TLS",
  "CIRCUIT_OPEN",
  "RETRY_EXHAUSTED",
  "RETRY_BUDGET",
])

/** A database server without room is everybody's; a file that cannot be read is its partition's, and so is what its source says is. */
export const isRunLevel = (error: SpillwayError): boolean =>
  (RUN_LEVEL.has(error.code) && error.context[PARTITION_ONLY] !== true) ||
  (error.code === "RESOURCE" && error.context["sqlState"] !== undefined)
