import type { PartitionReader, SourceContext } from "../core/contracts.ts"
import type { SpillwayError } from "../core/errors.ts"
import { asSpillwayError } from "../core/errors.ts"
import type { Batch, Position } from "../core/records.ts"
import { stageLetters } from "../ledger/dead-letters.ts"
import { lockPositions } from "../ledger/partitions.ts"
import {
  addTally,
  advanceProgress,
  clearProgress,
  progressOf,
  startProgress,
  zeroTally,
  type StagedProgress,
  type Tally,
} from "../ledger/progress.ts"
import type { Session } from "../postgres/session.ts"
import { copiedColumns, createStaging, inspectTarget } from "../postgres/target.ts"
import { quoteIdentifier } from "../postgres/quote.ts"
import type { Connection } from "./connection.ts"
import { copyBatch, type BatchToCopy } from "./copy-batch.ts"
import { batchEncoder, type BatchEncoder, type EncodedBatch } from "./encode-batch.ts"
import { recordPath } from "./record-path.ts"
import {
  leaseLost,
  StagingLost,
  stagingTable,
  timed,
  type Group,
  type GroupMember,
  type RunContext,
} from "./run-context.ts"

/** The read half of a run: takes partitions from their source, through the record path, into a staging table. */
export class Stager {
  private readonly context: RunContext
  readonly #connection: Connection
  readonly #source: SourceContext

  constructor(context: RunContext, connection: Connection) {
    this.context = context
    this.#connection = connection
    this.#source = {
      ports: context.ports,
      directory: context.directory,
      signal: context.signal,
      exact: context.pipeline.schema.exact,
      maxRecordBytes: context.pipeline.maxRecordBytes,
    }
  }

  /**
   * Stages what is left of a group. A partition that cannot be read to its end is marked as held; what the database
   * server lost in a crash is staged again.
   */
  async stage(group: Group, resumed: ReadonlyMap<string, StagedProgress>): Promise<void> {
    let earlier = resumed
    for (;;) {
      try {
        await this.#prepare(group, earlier)
        for (const member of group.members) {
          if (member.complete || member.heldBy !== undefined) continue
          await this.#stagePartition(
            group,
            member,
            member.batches > 0 ? earlier.get(member.plan.partition.key)?.position : undefined,
          )
        }
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
    await this.#connection.retrying("emptying the staging table", (session) =>
      session.transaction(async () => {
        await this.#fence(session, group)
        await session.query(`DROP TABLE IF EXISTS ${stagingTable(runNo, group.number)}`)
        await clearProgress(session, runId, keys)
      }),
    )
    for (const member of group.members) {
      member.tally = zeroTally()
      member.batches = 0
      member.complete = false
      member.heldBy = undefined
      emit({ type: "partition.restarted", partition: member.plan.partition.key, message: why })
    }
  }

  /** Makes the staging table and every member's progress; takes up what an earlier attempt left. */
  async #prepare(group: Group, resumed: ReadonlyMap<string, StagedProgress>): Promise<void> {
    const { runId, runNo, target, ports } = this.context
    const staging = stagingTable(runNo, group.number)
    await this.#connection.retrying("preparing the staging table", async (session) => {
      await session.query("SET synchronous_commit = off")
      await session.transaction(async () => {
        await this.#fence(session, group)
        const { rows } = await session.query(`SELECT FROM pg_class WHERE oid = to_regclass($1)`, [staging])
        if (rows.length === 0) {
          if ([...resumed.values()].some((p) => p.groupNo === group.number)) throw new StagingLost("its table")
          await createStaging(session, staging, target, await inspectTarget(session, target), runId)
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
      }
      await this.#requireStaged(session, group, staging)
    })
    await ports.failpoints.hit("staging.created", { group: group.number })
  }

  /** Staging is begun, or begun anew, by the holder of the leases alone: whoever took over may have cleared it away. */
  async #fence(session: Session, group: Group): Promise<void> {
    const { pipeline } = this.context
    const epochs = group.members.map(({ plan }) => ({ key: plan.partition.key, epoch: plan.epoch }))
    const held = await lockPositions(session, pipeline.name, epochs)
    if (held !== epochs.length) throw leaseLost(this.context, `${epochs.length - held} of ${epochs.length} partitions`)
  }

  async #forget(session: Session, staging: string, member: GroupMember): Promise<void> {
    await session.query(`DELETE FROM ${staging} WHERE _source = $1`, [member.plan.partition.key])
    await clearProgress(session, this.context.runId, [member.plan.partition.key])
  }

  /** Staged rows and tallies were written together; a difference means that the server lost one of them. */
  async #requireStaged(session: Session, group: Group, staging: string): Promise<void> {
    const expected = group.members.reduce((sum, member) => sum + member.tally.staged, 0)
    if (expected === 0) return
    const { rows } = await session.query<{ n: string }>(`SELECT count(*) AS n FROM ${staging}`)
    if (Number(rows[0]?.n) !== expected) throw new StagingLost(`${rows[0]?.n} of ${expected} rows`)
  }

  async #stagePartition(group: Group, member: GroupMember, from: Position | undefined): Promise<void> {
    const { context } = this
    const { plan } = member
    const key = plan.partition.key
    const started = context.ports.clock.monotonic()
    context.emit({
      type: "partition.started",
      partition: key,
      reason: member.batches > 0 ? "resumed" : plan.reason,
      resumedAfter: member.batches > 0 ? member.tally.read : undefined,
    })
    try {
      await this.#readThrough(group, member, from)
      if (member.tally.read === 0)
        context.emit({
          type: "warning",
          code: "DATA_LOSS",
          partition: key,
          message: `${key} holds no records`,
          hint: "it is published as empty; if it should not be, check what wrote it",
        })
    } catch (thrown) {
      if (thrown instanceof StagingLost) throw thrown
      const error = asSpillwayError(thrown, "UNKNOWN", { where: key })
      // What stops the whole run stops it here; everything else is about this partition alone.
      if (context.signal.aborted || isRunLevel(error)) throw error
      await this.#abandon(group, member, error)
    } finally {
      member.stagingMs += context.ports.clock.monotonic() - started
    }
    context.emit({ type: "partition.staged", partition: key, read: member.tally.read, durationMs: member.stagingMs })
    await context.ports.failpoints.hit("partition.staged", { partition: key })
  }

  async #readThrough(group: Group, member: GroupMember, from: Position | undefined): Promise<void> {
    const { context } = this
    const { pipeline, emit, signal } = context
    const key = member.plan.partition.key
    const path = recordPath(pipeline, key, (warning) =>
      emit({ type: "warning", code: warning.code, partition: key, message: warning.message, hint: warning.hint }),
    )
    const origin = { pipeline: pipeline.name, partition: key, unit: pipeline.source.unit }
    const turn = (): Promise<void> => context.ports.clock.turn()
    const encode = batchEncoder({ pipeline, origin, seq: member.plan.seq, turn }, path)
    const reader = pipeline.source.read(member.plan.partition, from, this.#source)
    let metColumns = false
    const meetColumns = (r: PartitionReader): void => {
      if (!metColumns) path.meetColumns(r.columns)
      metColumns = true
    }
    for await (const batch of reader) {
      meetColumns(reader)
      signal.throwIfAborted()
      await this.#stageBatch(group, member, batch, encode)
    }
    meetColumns(reader)
    await this.#connection.retrying("completing a partition", async (session, attempt) => {
      if (attempt > 1 && (await this.#wasCarriedOut(session, member))) return
      await this.#advance(session, member, { position: undefined, complete: true, tally: member.tally })
    })
    member.batches++
    member.complete = true
  }

  /** Reads, checks and copies a batch in one go, and commits it with its letters and its position. */
  async #stageBatch(group: Group, member: GroupMember, batch: Batch, encode: BatchEncoder): Promise<void> {
    const { context } = this
    const { clock, failpoints } = context.ports
    const key = member.plan.partition.key
    const begun = clock.monotonic()
    const readBefore = context.steps["read"] ?? 0
    const toCopy: BatchToCopy = {
      encoded: undefined,
      encode: (send) => timed(context, "read", () => encode(batch, send)),
    }
    let staged: EncodedBatch | undefined
    await this.#connection.retrying("staging a batch", async (session, attempt) => {
      if (attempt > 1 && (await this.#wasCarriedOut(session, member))) return
      await session.transaction(async () => {
        staged = await copyBatch(session, this.#copySql(group), toCopy)
        await stageLetters(session, context.runId, member.partitionNo, staged.letters)
        const tally = addTally(member.tally, staged.tally)
        await this.#advance(session, member, { position: batch.position, complete: false, tally })
      })
    })
    const { tally } = staged ?? { tally: zeroTally() }
    member.tally = addTally(member.tally, tally)
    member.batches++
    const durationMs = clock.monotonic() - begun
    context.steps["stage"] = (context.steps["stage"] ?? 0) + durationMs - ((context.steps["read"] ?? 0) - readBefore)
    const { read, filtered, deadLettered } = tally
    context.emit({
      type: "batch.staged",
      partition: key,
      bytes: batch.bytes,
      read,
      staged: tally.staged,
      filtered,
      deadLettered,
      durationMs,
    })
    await failpoints.hit("batch.staged", { partition: key, batch: member.batches })
  }

  #copySql(group: Group): string {
    const names = copiedColumns(this.context.target).map(quoteIdentifier).join(", ")
    return `COPY ${stagingTable(this.context.runNo, group.number)} (${names}) FROM STDIN`
  }

  async #advance(
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

  /** A member's progress in the database. Staging does not wait for the disk: a crash may have taken the last batches, whole. */
  async #progress(session: Session, { plan, batches }: GroupMember): Promise<StagedProgress> {
    const { key } = plan.partition
    const now = await progressOf(session, this.context.runId, key)
    if (now === undefined) throw new StagingLost(`the progress of ${key}`)
    if (now.epoch === plan.epoch && now.batches < batches)
      throw new StagingLost(`${batches - now.batches} batches of ${key}`)
    return now
  }

  /** After a lost connection: whether the batch in question is in staging. */
  async #wasCarriedOut(session: Session, member: GroupMember): Promise<boolean> {
    const now = await this.#progress(session, member)
    return now.batches === member.batches + 1
  }

  /** Takes the rows of a partition that cannot be read to its end out of staging again; its letters stay. */
  async #abandon(group: Group, member: GroupMember, error: SpillwayError): Promise<void> {
    const staging = stagingTable(this.context.runNo, group.number)
    const { key } = member.plan.partition
    const tally = { ...member.tally, staged: 0 }
    await this.#connection.retrying("taking out a partition", async (session, attempt) => {
      if (attempt > 1 && (await this.#wasCarriedOut(session, member))) return
      await session.transaction(async () => {
        await session.query(`DELETE FROM ${staging} WHERE _source = $1`, [key])
        await this.#advance(session, member, { position: undefined, complete: false, tally })
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

/** Codes that concern the run, not the partition that was being read when they came up. */
const RUN_LEVEL = new Set([
  "LEASE_LOST",
  "DB_UNAVAILABLE",
  "DB_SERIALIZATION",
  "AUTH",
  "CONSERVATION",
  "CHECKPOINT",
  "CANCELLED",
  "CONFIG",
])

/** A database server without room is everybody's; a file that cannot be read is its partition's. */
const isRunLevel = (error: SpillwayError): boolean =>
  RUN_LEVEL.has(error.code) || (error.code === "RESOURCE" && error.context["sqlState"] !== undefined)
