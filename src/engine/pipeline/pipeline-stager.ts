import type { Column, PartitionReader, SourceContext } from "../../core/contracts.ts"
import { asSpillwayError } from "../../core/errors.ts"
import type { Batch, Position } from "../../core/records.ts"
import { letterLines, stageLetters } from "../../ledger/dead-letters.ts"
import { addTally, zeroTally, type StagedProgress } from "../../ledger/progress.ts"
import { addedColumns, addToStaging } from "../../postgres/evolve.ts"
import { quoteIdentifier, quoteLiteral } from "../../postgres/quote.ts"
import { stagedColumns } from "../../postgres/target.ts"
import type { Connection } from "../connection.ts"
import { copyBatch, type BatchToCopy } from "./copy-batch.ts"
import { secretFields, type Pipeline } from "../definition.ts"
import { batchEncoder, type BatchEncoder, type EncodedBatch } from "./encode-batch.ts"
import type { Stager } from "../load.ts"
import { NewColumnMet, NewColumns, preparedRecords } from "./new-columns.ts"
import { recordPath, type RecordPath } from "./record-path.ts"
import { StagingLost, stagingTable, timed, type Group, type GroupMember, type RunContext } from "../run-context.ts"
import { sourceContext } from "../source-context.ts"
import { isRunLevel, Staging } from "../staging.ts"
import { targetOf, withColumns } from "../target-of.ts"

/** Takes partitions from their source, through the record path, into a staging table. */
export class PipelineStager implements Stager {
  private readonly context: RunContext
  readonly #pipeline: Pipeline
  readonly #staging: Staging
  readonly #source: SourceContext
  /** Undefined where the table takes none. */
  readonly #newColumns: NewColumns | undefined

  constructor(pipeline: Pipeline, context: RunContext, connection: Connection) {
    this.context = context
    this.#pipeline = pipeline
    this.#staging = new Staging(context, connection)
    if (pipeline.onNewColumn === "evolve")
      this.#newColumns = new NewColumns(context.target.columns.slice(targetOf(pipeline).columns.length))
    const { ports, directory, signal, emit, breakers } = context
    this.#source = sourceContext(pipeline, { ports, directory, signal, tell: emit, breakers })
  }

  stage(group: Group, resumed: ReadonlyMap<string, StagedProgress>): Promise<void> {
    return this.#staging.stage(group, resumed, async (earlier) => {
      await this.#widen(group)
      for (const member of group.members) {
        if (member.complete || member.heldBy !== undefined) continue
        const from = member.batches > 0 ? earlier.get(member.plan.partition.key)?.position : undefined
        await this.#stagePartition(group, member, from)
      }
    })
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
      // That nothing came since the last reading is no news.
      if (member.tally.read === 0 && plan.partition.after === undefined)
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
    const path = recordPath(
      pipeline,
      key,
      ({ code, message, hint }) => emit({ type: "warning", code, partition: key, message, hint }),
      this.#newColumns,
    )
    const origin = {
      pipeline: pipeline.name,
      partition: key,
      unit: pipeline.source.unit,
      secrets: secretFields(pipeline),
    }
    const turn = (): Promise<void> => ports.clock.turn()
    const encode = batchEncoder({ pipeline, origin, seq: member.plan.seq, turn, newColumns: this.#newColumns }, path)
    const reader = pipeline.source.read(member.plan.partition, from, this.#source)
    let metColumns = false
    const meetColumns = (r: PartitionReader): void => {
      if (!metColumns) path.meetColumns(r.columns)
      metColumns = true
    }
    for await (const batch of reader) {
      meetColumns(reader)
      signal.throwIfAborted()
      await this.#stageEvolving(group, member, batch, encode, path, reader)
    }
    meetColumns(reader)
    const { state } = reader
    await this.#staging.connection.retrying("completing a partition", async (session, attempt) => {
      if (attempt > 1 && (await this.#staging.wasCarriedOut(session, member))) return
      const position = state === undefined ? undefined : { state }
      await this.#staging.advance(session, member, { position, complete: true, tally: member.tally })
    })
    member.batches++
    member.complete = true
    member.state = state
  }

  /** Stages a batch; where one of its records brings a new column, once more with that column. */
  async #stageEvolving(
    group: Group,
    member: GroupMember,
    batch: Batch,
    encode: BatchEncoder,
    path: RecordPath,
    reader: PartitionReader,
  ): Promise<void> {
    try {
      await this.#stageBatch(group, member, batch, encode, reader)
    } catch (error) {
      if (!(error instanceof NewColumnMet)) throw error
      const { schema, source, prepare } = this.#pipeline
      const records = preparedRecords(batch, prepare)
      const others = targetOf(this.#pipeline).columns
      await this.#widen(group, this.#newColumns?.propose(records, schema, source.untyped, others) ?? [], member)
      // Those of the records that were looked at before the new column was met.
      path.takeNulls()
      await this.#stageBatch(group, member, batch, encode, reader)
    }
  }

  /** Gives the group's staging table the new columns that are known, those that an earlier attempt gave it, and `more`. */
  async #widen(group: Group, more: readonly Column[] = [], member?: GroupMember): Promise<void> {
    const known = this.#newColumns
    if (known === undefined) return
    const { runNo, load, target } = this.context
    const where = { staging: stagingTable(runNo, group.number), target, pipeline: load.name }
    const columns = await this.#staging.connection.retrying("adding columns to staging", async (session, attempt) => {
      if (attempt > 1 && member !== undefined) await this.#staging.wasCarriedOut(session, member)
      return session.transaction(async () => {
        const earlier = await addedColumns(session, where.staging, load.name)
        const learnt = earlier.filter(({ property }) => known.of(property) === undefined)
        return addToStaging(session, where, [...known.columns, ...learnt, ...more])
      })
    })
    known.learn(columns)
    group.target = withColumns(targetOf(this.#pipeline), known.columns)
  }

  /**
   * Checks and copies a batch in one go, and commits it with its letters and its position. Has the next one made while the
   * server is still busy with this one.
   */
  async #stageBatch(
    group: Group,
    member: GroupMember,
    batch: Batch,
    encode: BatchEncoder,
    reader: PartitionReader,
  ): Promise<void> {
    const { context } = this
    const { clock, failpoints } = context.ports
    const key = member.plan.partition.key
    const begun = clock.monotonic()
    const readBefore = context.steps["read"] ?? 0
    const encoding = encode(batch)
    const linesOf = ({ letters }: EncodedBatch): Buffer => letterLines(context.runId, member.partitionNo, letters)
    let letters: Buffer | undefined
    const toCopy: BatchToCopy = {
      encoded: undefined,
      encode: (send) => timed(context, "read", () => encoding.encode(send)),
      sent: (encoded) => {
        letters = linesOf(encoded)
        reader.prepare?.()
      },
    }
    let staged: EncodedBatch | undefined
    await this.#staging.connection.retrying("staging a batch", async (session, attempt) => {
      if (attempt > 1 && (await this.#staging.wasCarriedOut(session, member))) return
      await session.transaction(async () => {
        staged = await copyBatch(session, this.#copySql(group, encoding.delimiter), toCopy)
        await stageLetters(session, staged === toCopy.encoded && letters ? letters : linesOf(staged))
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

  #copySql(group: Group, delimiter: string): string {
    const names = stagedColumns(group.target).map(quoteIdentifier).join(", ")
    return `COPY ${stagingTable(this.context.runNo, group.number)} (${names}) FROM STDIN (DELIMITER ${quoteLiteral(delimiter)})`
  }
}
