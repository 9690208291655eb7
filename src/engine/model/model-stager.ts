import { SpillwayError, asSpillwayError } from "../../core/errors.ts"
import { markInProgress } from "../../ledger/partitions.ts"
import { zeroTally, type StagedProgress, type Tally } from "../../ledger/progress.ts"
import { keyFault } from "../../models/partition-unit.ts"
import type { SqlTemplate } from "../../models/template.ts"
import { quoteIdentifier } from "../../postgres/quote.ts"
import type { Session } from "../../postgres/session.ts"
import type { Connection } from "../connection.ts"
import { SEQ_STRIDE } from "../pipeline/encode-batch.ts"
import type { Stager } from "../load.ts"
import { exampleKey, asDeclared, valuesOf, type PreparedModel } from "./prepared-model.ts"
import { sumOf } from "../publish/reconcile.ts"
import {
  StagingLost,
  stagingTable,
  timed,
  type Built,
  type Group,
  type GroupMember,
  type RunContext,
} from "../run-context.ts"
import { isRunLevel, Staging } from "../staging.ts"

/** More would take the database from its other users. */
const BUILDS_AT_A_TIME = 2

/** Builds partitions by their query into a staging table. An interrupted build leaves nothing: it is done again. */
export class ModelStager implements Stager {
  private readonly context: RunContext
  readonly #prepared: PreparedModel
  readonly #staging: Staging
  readonly #another: () => Staging
  /** Besides the first: connections on which other partitions are built at the same time. */
  readonly #others: Staging[] = []

  constructor(prepared: PreparedModel, context: RunContext, connection: Connection, another: () => Connection) {
    this.context = context
    this.#prepared = prepared
    this.#staging = new Staging(context, connection)
    this.#another = () => new Staging(context, another())
  }

  stage(group: Group, resumed: ReadonlyMap<string, StagedProgress>): Promise<void> {
    return this.#staging.stage(group, resumed, async () => {
      await this.#markInProgress(group)
      await this.#stageMembers(group)
    })
  }

  startOver(group: Group, why: string): Promise<void> {
    return this.#staging.startOver(group, why)
  }

  /** A server process builds one partition, on one processor; another can build the next meanwhile. */
  async #stageMembers(group: Group): Promise<void> {
    const queue = group.members.filter((member) => !member.complete && member.heldBy === undefined)
    while (this.#others.length + 1 < Math.min(BUILDS_AT_A_TIME, queue.length)) this.#others.push(this.#another())
    let failure: unknown
    const build = async (staging: Staging): Promise<void> => {
      try {
        for (let member = queue.shift(); member !== undefined; member = queue.shift()) {
          this.context.signal.throwIfAborted()
          await this.#stagePartition(staging, group, member)
        }
      } catch (error) {
        failure ??= error
        queue.length = 0
      }
    }
    await Promise.all([this.#staging, ...this.#others].map(build))
    if (failure !== undefined) throw failure as Error
  }

  async #markInProgress(group: Group): Promise<void> {
    const { load, runId } = this.context
    const where = { pipeline: load.name, runId, definitionVersion: load.definitionVersion, months: load.months }
    const keys = group.members.filter((member) => !member.complete).map((member) => member.plan.partition.key)
    await this.#staging.connection.retrying("marking what is being built", (session) =>
      session.transaction(async () => {
        await this.#staging.fence(session, group.members)
        await markInProgress(session, where, keys)
      }),
    )
  }

  async #stagePartition(staging: Staging, group: Group, member: GroupMember): Promise<void> {
    const { context } = this
    const { clock, failpoints } = context.ports
    const { partition, reason } = member.plan
    const started = clock.monotonic()
    context.emit({ type: "partition.started", partition: partition.key, reason, resumedAfter: undefined })
    try {
      this.#requireKey(partition.key)
      const { tally, built } = await timed(context, "read", () => this.#build(staging, group, member))
      member.tally = tally
      member.built = built
      member.batches++
      member.complete = true
    } catch (thrown) {
      if (thrown instanceof StagingLost) throw thrown
      const error = asSpillwayError(thrown, "UNKNOWN", { where: partition.key })
      if (context.signal.aborted || (isRunLevel(error) && error.code !== "CONSERVATION")) throw error
      await staging.abandon(group, member, error)
    } finally {
      member.stagingMs += clock.monotonic() - started
    }
    context.emit({
      type: "batch.staged",
      partition: partition.key,
      bytes: partition.bytes ?? 0,
      read: member.tally.read,
      staged: member.tally.staged,
      filtered: 0,
      deadLettered: 0,
      durationMs: member.stagingMs,
    })
    context.emit({
      type: "partition.staged",
      partition: partition.key,
      read: member.tally.read,
      durationMs: member.stagingMs,
    })
    await failpoints.hit("partition.staged", { partition: partition.key })
  }

  /** Everything that a build reads, it reads from one snapshot: the rows, and the sums they are compared with. */
  async #build(staging: Staging, group: Group, member: GroupMember): Promise<{ tally: Tally; built: Built }> {
    let done: { tally: Tally; built: Built } | undefined
    await staging.connection.retrying("building a partition", async (session, attempt) => {
      if (attempt > 1 && done !== undefined && (await staging.wasCarriedOut(session, member))) return
      done = await session.transaction(async () => {
        await session.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET LOCAL synchronous_commit = off")
        await staging.fence(session, [member])
        const { rows } = await session.query<{ snapshot: string }>("SELECT pg_current_snapshot()::text AS snapshot")
        const staged = await this.#insert(session, group, member)
        const sums = await this.#compareSums(session, group, member)
        const tally = { ...zeroTally(), read: staged, staged }
        // Set before COMMIT, so that it is known when the answer to COMMIT is lost.
        done = { tally, built: { snapshot: rows[0]?.snapshot ?? "", sums } }
        await staging.advance(session, member, { position: undefined, complete: true, tally })
        return done
      })
    })
    if (done === undefined) throw new SpillwayError("UNKNOWN", "a partition was built and nobody knows how")
    return done
  }

  async #insert(session: Session, group: Group, member: GroupMember): Promise<number> {
    const { model, query } = this.#prepared
    const { target, runId, runNo } = this.context
    const { key } = member.plan.partition
    const { text, values } = query.bind(valuesOf(model, key, runId))
    const columns = target.columns.map((column) => quoteIdentifier(column.name))
    const cast = target.columns.map(({ name, type }) => `q.${quoteIdentifier(name)}::${type}`)
    const seq = (BigInt(member.plan.seq) * BigInt(SEQ_STRIDE)).toString()
    const n = values.length
    const { rowCount } = await asDeclared(query, key, () =>
      session.query(
        `INSERT INTO ${stagingTable(runNo, group.number)} (${columns.join(", ")}, _source, _position, _seq)
         SELECT ${cast.join(", ")}, $${n + 1}::text, 0, $${n + 2}::bigint FROM (${text}) q`,
        [...values, key, seq],
      ),
    )
    return rowCount
  }

  /** The declared sums over the rows of a partition, each equal to what their query gives. Throws `CONSERVATION`. */
  async #compareSums(session: Session, group: Group, member: GroupMember): Promise<Record<string, string>> {
    const { sums: template, model } = this.#prepared
    if (template === undefined) return {}
    const { runId, runNo, target } = this.context
    const { key } = member.plan.partition
    const { text, values } = template.bind(valuesOf(model, key, runId))
    const columns = await this.#summedColumns(session, template)
    const parts = columns.map((name, i) => {
      const column = quoteIdentifier(name)
      return `r.s${i}::text AS sum_${i}, coalesce(w.${column}, 0)::numeric::text AS wanted_${i}, r.s${i} = coalesce(w.${column}, 0)::numeric AS same_${i}`
    })
    const staged = columns.map((name, i) => `${sumOf(target, name)} AS s${i}`)
    const { rows } = await asDeclared(template, key, () =>
      session.query<Record<string, string | boolean>>(
        `SELECT ${parts.join(", ")} FROM (${text}) w,
           (SELECT ${staged.join(", ")} FROM ${stagingTable(runNo, group.number)} WHERE _source = $${values.length + 1}) r`,
        [...values, key],
      ),
    )
    const [found] = rows
    if (found === undefined || rows.length > 1)
      throw new SpillwayError("CONFIG", `sums gave ${rows.length} rows for ${key}; it has to give one`, {
        where: template.where,
        hint: "write a query of one row: SELECT count(*) AS lines, sum(amount) AS revenue FROM … WHERE …",
      })
    const differing = columns.flatMap((name, i) =>
      found[`same_${i}`] === true
        ? []
        : [
            `${name} sums to ${String(found[`sum_${i}`])}, but to ${String(found[`wanted_${i}`])} in what it was built from`,
          ],
    )
    if (differing.length > 0)
      throw new SpillwayError("CONSERVATION", `${key}: ${differing.join("; ")}`, {
        where: `model ${model.name}, ${key}`,
        hint: "the query loses or multiplies rows (a join?), or the sum declared is another one; nothing of it was published",
      })
    return Object.fromEntries(columns.map((name, i) => [name, String(found[`sum_${i}`])]))
  }

  #summed: readonly string[] | undefined

  /** The columns that `sums` is about: those that its query names. Throws `CONFIG` for one that the model does not give. */
  async #summedColumns(session: Session, template: SqlTemplate): Promise<readonly string[]> {
    if (this.#summed !== undefined) return this.#summed
    const { target } = this.context
    const { text, values } = template.bind(
      valuesOf(this.#prepared.model, exampleKey(this.#prepared.model.partition), this.context.runId),
    )
    const { fields } = await asDeclared(template, undefined, () =>
      session.query(`SELECT * FROM (${text}) w LIMIT 0`, values),
    )
    const names = fields.map((field) => field.name)
    const unknown = names.filter((name) => !target.columns.some((column) => column.name === name))
    if (unknown.length > 0 || names.length === 0)
      throw new SpillwayError(
        "CONFIG",
        `sums names ${unknown.map((name) => `"${name}"`).join(", ")}, which the model does not give`,
        {
          where: template.where,
          hint: `name its columns by those of the model with AS: ${target.columns.map((column) => column.name).join(", ")}`,
        },
      )
    this.#summed = names
    return names
  }

  /** One row with a date beyond what months and days can stand for does not stop the others. */
  #requireKey(key: string): void {
    const { model } = this.#prepared
    const fault = keyFault(model.partition, key)
    if (fault === undefined) return
    throw new SpillwayError("VALIDATION", fault, {
      where: `model ${model.name}, ${key}`,
      hint: `correct the rows that lie there: the years are 0001 to 9999 (${model.reads.map((read) => read.table).join(", ")})`,
    })
  }
}
