import type { PartitionReader, SourceContext } from "../core/contracts.ts"
import { asSpillwayError } from "../core/errors.ts"
import type { Batch, Position } from "../core/records.ts"
import { stageLetters } from "../ledger/dead-letters.ts"
import { addTally, zeroTally, type StagedProgress } from "../ledger/progress.ts"
import { quoteIdentifier } from "../postgres/quote.ts"
import { copiedColumns } from "../postgres/target.ts"
import type { Connection } from "./connection.ts"
import { copyBatch, type BatchToCopy } from "./copy-batch.ts"
import type { Pipeline } from "./definition.ts"
import { batchEncoder, type BatchEncoder, type EncodedBatch } from "./encode-batch.ts"
import type { Stager } from "./load.ts"
import { recordPath } from "./record-path.ts"
import { StagingLost, stagingTable, timed, type Group, type GroupMember, type RunContext } from "./run-context.ts"
import { isRunLevel, Staging } from "./staging.ts"

/** Takes partitions from their source, through the record path, into a staging table. */
export class PipelineStager implements Stager {
  private readonly context: RunContext
  readonly #pipeline: Pipeline
  readonly #staging: Staging
  readonly #source: SourceContext

  constructor(pipeline: Pipeline, context: RunContext, connection: Connection) {
    this.context = context
    this.#pipeline = pipeline
    this.#staging = new Staging(context, connection)
    this.#source = {
      ports: context.ports,
      directory: context.directory,
      signal: context.signal,
      exact: pipeline.schema.exact,
      maxRecordBytes: pipeline.maxRecordBytes,
    }
  }

  /** What the database server lost in a crash is staged again. */
  async stage(group: Group, resumed: ReadonlyMap<string, StagedProgress>): Promise<void> {
    let earlier = resumed
    for (;;) {
      try {
        await this.#staging.prepare(group, earlier)
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

  startOver(group: Group, why: string): Promise<void> {
    return this.#staging.startOver(group, why)
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
      await this.#staging.abandon(group, member, error)
    } finally {
      member.stagingMs += context.ports.clock.monotonic() - started
    }
    context.emit({ type: "partition.staged", partition: key, read: member.tally.read, durationMs: member.stagingMs })
    await context.ports.failpoints.hit("partition.staged", { partition: key })
  }

  async #readThrough(group: Group, member: GroupMember, from: Position | undefined): Promise<void> {
    const { emit, signal, ports } = this.context
    const pipeline = this.#pipeline
    const key = member.plan.partition.key
    const path = recordPath(pipeline, key, (warning) =>
      emit({ type: "warning", code: warning.code, partition: key, message: warning.message, hint: warning.hint }),
    )
    const origin = { pipeline: pipeline.name, partition: key, unit: pipeline.source.unit }
    const turn = (): Promise<void> => ports.clock.turn()
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
    await this.#staging.connection.retrying("completing a partition", async (session, attempt) => {
      if (attempt > 1 && (await this.#staging.wasCarriedOut(session, member))) return
      await this.#staging.advance(session, member, { position: undefined, complete: true, tally: member.tally })
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
    await this.#staging.connection.retrying("staging a batch", async (session, attempt) => {
      if (attempt > 1 && (await this.#staging.wasCarriedOut(session, member))) return
      await session.transaction(async () => {
        staged = await copyBatch(session, this.#copySql(group), toCopy)
        await stageLetters(session, context.runId, member.partitionNo, staged.letters)
        const tally = addTally(member.tally, staged.tally)
        await this.#staging.advance(session, member, { position: batch.position, complete: false, tally })
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
}
