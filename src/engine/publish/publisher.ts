import { reportedError, asSpillwayError, SpillwayError } from "../../core/errors.ts"
import { zeroCounts, type Counts } from "../../core/events.ts"
import { replayedLetters } from "../../ledger/dead-letters.ts"
import { releaseLeases } from "../../ledger/leases.ts"
import { movePositions, recordOutcomes, rivalPipeline } from "../../ledger/partitions.ts"
import { outputFiles, type FilesByPartition } from "../../ledger/output-files.ts"
import { clearProgress, stagedProgress } from "../../ledger/progress.ts"
import { insertQualityResults, type QualityResult } from "../../ledger/quality.ts"
import { updateRunTotals } from "../../ledger/runs.ts"
import { recordTouches, trackedSlices } from "../../ledger/touched.ts"
import { lockTarget, publishStaging } from "../../postgres/publish.ts"
import type { PublishResult } from "../../postgres/publish-counts.ts"
import type { Session } from "../../postgres/session.ts"
import { indexKeys } from "../../postgres/staged-keys.ts"
import { commitKnowing } from "./commit.ts"
import type { Connection } from "../connection.ts"
import type { WrittenFiles } from "../files/file-output.ts"
import { judgeGroup } from "./gate.ts"
import { addNewColumns, noteNewColumns, requireNewColumns, tellNewColumns } from "./columns.ts"
import { writeLetters } from "./letters.ts"
import { countsOf, holdAllWithOne, nextTotals, outcomeOf, requireBalance } from "./outcome.ts"
import { requireBuilt } from "./reconcile.ts"
import {
  leaseLost,
  StagingLost,
  stagingTable,
  timed,
  type Group,
  type GroupMember,
  type RunContext,
  type RunningTotals,
} from "../run-context.ts"

/** Fewer are indexed in less time than another connection takes. */
const MANY_ROWS = 50_000

/** The write half of a run: judges a staged group and makes it visible, with everything that belongs to it, in one transaction. */
export class Publisher {
  private readonly context: RunContext
  readonly #connection: Connection
  /** For what can be done beside a transaction. */
  readonly #beside: Connection

  constructor(context: RunContext, connection: Connection, beside: Connection) {
    this.context = context
    this.#connection = connection
    this.#beside = beside
  }

  /** Publishes what passes its gate and holds what does not. Throws `StagingLost` when there is nothing staged any more. */
  async publish(group: Group): Promise<void> {
    const { context } = this
    const started = context.ports.clock.monotonic()
    group.indexed = this.#indexKeys(group)
    const results = await timed(context, "gate", () => this.#judge(group))
    const gateMs = context.ports.clock.monotonic() - started
    await context.ports.failpoints.hit("gate.judged", { group: group.number })
    await addNewColumns(context, this.#connection, group)
    const done = await timed(context, "publish", () => this.#commit(group, results))
    if (done === undefined) return
    this.#tell(group, { ...done, steps: { gate: gateMs, ...done.steps } }, context.ports.clock.monotonic() - started)
    await context.ports.failpoints.hit("publish.committed", { group: group.number })
  }

  async #judge(group: Group): Promise<QualityResult[]> {
    const { context } = this
    const judged = group.members.filter((member) => member.heldBy === undefined)
    const results = await this.#connection.retrying("judging a group", (session) =>
      judgeGroup(
        session,
        context,
        stagingTable(context.runNo, group.number),
        judged.map(({ plan, tally }) => ({ key: plan.partition.key, tally })),
      ),
    )
    for (const result of results)
      context.emit({
        type: "check.judged",
        partition: result.partition,
        check: result.check,
        severity: result.severity,
        passed: result.passed,
        observed: result.observed,
        message: result.message,
      })
    for (const member of judged) {
      const failed = results.filter(
        (r) => r.partition === member.plan.partition.key && !r.passed && r.severity === "fail",
      )
      if (failed.length > 0)
        member.heldBy = new SpillwayError("QUALITY_GATE", failed.map((r) => r.message).join("; "), {
          where: member.plan.partition.key,
          hint: "correct the source and run again, or loosen the check if the data is right; its dead letters are kept",
        })
    }
    if (context.load.publish === "run") holdAllWithOne(group.members)
    return results
  }

  /** Commits the group; where the database refuses it as a whole, each partition by itself, so that one cannot hold up the others. */
  async #commit(group: Group, results: readonly QualityResult[]): Promise<Published | undefined> {
    const { context } = this
    try {
      return await this.#publishOnce(group, results)
    } catch (error) {
      if (!(error instanceof SpillwayError) || error.code !== "DB_CONSTRAINT") throw error
      const open = group.members.filter((member) => member.heldBy === undefined)
      if (open.length > 1 && context.load.publish === "partition") {
        await this.#oneByOne(group, results)
        return undefined
      }
      for (const member of open)
        member.heldBy = new SpillwayError("DB_CONSTRAINT", error.message, {
          cause: error,
          where: member.plan.partition.key,
          hint: "a constraint of the table refuses these rows as a set; correct the source or the constraint and run again",
        })
      return this.#publishOnce(group, results)
    }
  }

  async #publishOnce(group: Group, results: readonly QualityResult[]): Promise<Published> {
    const done = await this.#connection.retrying("publishing", (session) => this.#transaction(session, group, results))
    try {
      await done.files?.settle()
    } catch (error) {
      // Published all the same; the next run clears it away.
      const { code, message, hint } = asSpillwayError(error)
      this.context.emit({ type: "warning", code, partition: undefined, message, hint })
    }
    return done
  }

  /** Gives every partition of a group a staging table of its own and publishes them one after the other. */
  async #oneByOne(group: Group, results: readonly QualityResult[]): Promise<void> {
    const { context } = this
    const from = stagingTable(context.runNo, group.number)
    for (const [n, member] of group.members.entries()) {
      const key = member.plan.partition.key
      // Progress keeps the old group's number: interrupted here, the run finds that group incomplete and stages it again.
      const single: Group = { number: group.number * 1000 + n, members: [member], target: group.target }
      const to = stagingTable(context.runNo, single.number)
      await this.#connection.retrying("dividing a group", (session) =>
        session.transaction(async () => {
          await session.query(`DROP TABLE IF EXISTS ${to}`)
          await session.query(`CREATE TABLE ${to} (LIKE ${from} INCLUDING CONSTRAINTS)`)
          await session.query(`INSERT INTO ${to} SELECT * FROM ${from} WHERE _source = $1 ORDER BY _seq`, [key])
        }),
      )
      const done = await this.#commit(
        single,
        results.filter((r) => r.partition === key),
      )
      if (done !== undefined) this.#tell(single, done, 0)
    }
    await this.#connection.retrying("dividing a group", (session) => session.query(`DROP TABLE IF EXISTS ${from}`))
  }

  /** The one commit: rows, dead letters, positions, ledger, quality, touched partitions and totals, or nothing. */
  async #transaction(session: Session, group: Group, results: readonly QualityResult[]): Promise<Published> {
    const { context } = this
    const { failpoints, random } = context.ports
    const { load, runId } = context
    const staging = stagingTable(context.runNo, group.number)
    const commitId = random.hex(16)
    const steps: Record<string, number> = {}
    const step = async <T>(name: string, body: () => Promise<T>): Promise<T> =>
      timed({ ports: context.ports, steps }, name, body)
    const keys = group.members.map((member) => member.plan.partition.key)
    const published = group.members.filter((member) => member.heldBy === undefined)
    const held = group.members.filter((member) => member.heldBy !== undefined)

    return commitKnowing(
      session,
      { context, connection: this.#connection, commitId, witness: keys[0] ?? "" },
      async () => {
        await failpoints.hit("publish.begun", { group: group.number })
        const filesBefore = load.output && (await outputFiles(session, load.name))
        await this.#fence(session, group, commitId)
        await this.#requireProgress(session, group)
        if (held.length > 0) {
          // Rows that are being indexed cannot be deleted, and those that are being deleted cannot be indexed.
          await group.indexed
          await session.query(`DELETE FROM ${staging} WHERE _source = ANY($1::text[])`, [
            held.map((m) => m.plan.partition.key),
          ])
        }
        // A replay takes the table before its letters, too: neither waits for the other.
        if (load.output === undefined && published.length > 0) await lockTarget(session, group.target)
        await step("letters", () => writeLetters(session, context, group))
        const files = await step("rows", () => this.#writeFiles(session, staging, published, filesBefore))
        const rows = files?.result ?? (await step("rows", () => this.#writeRows(session, staging, published, group)))
        if (files === undefined) await this.#refuseRival(session, keys)
        await step("reconcile", () => requireBuilt(session, context, published, rows))
        await failpoints.hit("publish.rows-written", { group: group.number })
        const counts = new Map(group.members.map((member) => [member.plan.partition.key, countsOf(member, rows)]))
        for (const member of published) requireBalance(member, counts.get(member.plan.partition.key) ?? zeroCounts())
        const totals = nextTotals(context.totals, group, counts)
        await step("ledger", async () => {
          await recordTouches(session, runId, load.table, rows.touches)
          await insertQualityResults(session, { pipeline: load.name, runId, table: load.table }, results)
          await recordOutcomes(
            session,
            {
              pipeline: load.name,
              runId,
              definitionVersion: load.definitionVersion,
              files: load.files,
              months: load.months,
            },
            group.members.map((member) => outcomeOf(member, counts.get(member.plan.partition.key) ?? zeroCounts())),
          )
          await clearProgress(session, runId, keys)
          await releaseLeases(session, context.holder, keys)
          const totalsRow = { ...totals, held: totals.held.length }
          if (!(await updateRunTotals(session, runId, context.holder, totalsRow)))
            throw leaseLost(context, `run ${runId}`)
        })
        await files?.reveal()
        await failpoints.hit("publish.before-commit", { group: group.number })
        return { counts, totals, steps, files }
      },
    )
  }

  /**
   * Gives many staged rows the index that publishing them needs, on another connection, while they are judged and the transaction
   * writes the letters: nobody else sees staging. Where that fails, the transaction does it, and says what is wrong.
   */
  async #indexKeys({ number, members, target }: Group): Promise<void> {
    const staging = stagingTable(this.context.runNo, number)
    const rows = members.reduce((sum, { tally }) => sum + tally.staged, 0)
    if (this.context.load.output !== undefined || target.mode !== "upsert" || rows < MANY_ROWS) return
    try {
      await indexKeys(await this.#beside.session(), staging, target)
    } catch {
      // The transaction makes it.
    }
  }

  /** Only the holder of the leases gets past here: the positions are still under the epochs it took. */
  async #fence(session: Session, group: Group, commitId: string): Promise<void> {
    const { context } = this
    const outcomes = group.members.map((member) => outcomeOf(member, zeroCounts()))
    const moved = await movePositions(
      session,
      { pipeline: context.load.name, runId: context.runId, commitId, table: context.load.table },
      outcomes,
    )
    if (moved !== outcomes.length)
      throw leaseLost(
        context,
        group.members.length === 1
          ? (outcomes[0]?.key ?? "")
          : `${outcomes.length - moved} of ${outcomes.length} partitions`,
      )
  }

  /** After the table is locked, so that of two pipelines that begin at the same time the second sees the first. */
  async #refuseRival(session: Session, keys: readonly string[]): Promise<void> {
    const { load } = this.context
    const rival = await rivalPipeline(session, load.name, load.table, keys)
    if (rival === undefined) return
    throw new SpillwayError(
      "CONFIG",
      `"${load.name}" and "${rival.pipeline}" both load "${rival.partition}" into ${load.table}: its rows could not be told apart`,
      {
        where: `${load.kind} ${load.name}`,
        hint: "give files() a root further up, so that the two files have different names, or load into two tables; nothing was published",
      },
    )
  }

  async #requireProgress(session: Session, group: Group): Promise<void> {
    const there = new Map((await stagedProgress(session, this.context.runId)).map((p) => [p.key, p]))
    for (const member of group.members) {
      const now = there.get(member.plan.partition.key)
      if (now === undefined || now.batches !== member.batches)
        throw new StagingLost(`the progress of ${member.plan.partition.key}`)
    }
  }

  /** Undefined where the rows go into a table. */
  async #writeFiles(
    session: Session,
    staging: string,
    published: readonly GroupMember[],
    before: FilesByPartition = new Map(),
  ): Promise<WrittenFiles | undefined> {
    const { load, ports, directory, target } = this.context
    if (published.length === 0) return undefined
    const { name: pipeline, definitionVersion } = load
    return load.output?.write(
      session,
      { pipeline, definitionVersion, directory, ports, target },
      staging,
      published.map(({ plan }) => plan.partition),
      before,
    )
  }

  async #writeRows(
    session: Session,
    staging: string,
    published: readonly GroupMember[],
    group: Group,
  ): Promise<PublishResult> {
    if (published.length === 0) {
      await session.query(`DROP TABLE ${staging}`)
      return { counts: new Map(), touches: [], adopted: false }
    }
    const { load, runId } = this.context
    const { target } = group
    await requireNewColumns(session, this.context, group)
    const replaced = published.filter((member) => member.plan.replaces).map((member) => member.plan.partition.key)
    const result = await publishStaging(session, {
      staging,
      target,
      runId,
      indexed: group.indexed,
      tracked: await trackedSlices(session, load.table),
      exclusive: load.kind === "model",
      sources: published.map((member) => member.plan.partition.key),
      replaced,
      kept: await replayedLetters(session, { pipeline: load.name, runId }, replaced),
    })
    await noteNewColumns(session, this.context, group)
    return result
  }

  #tell(group: Group, done: Published, durationMs: number): void {
    const { context } = this
    Object.assign(context.totals, done.totals)
    if (group.members.some(({ heldBy }) => heldBy === undefined)) tellNewColumns(context, group)
    let rows = 0
    for (const member of group.members) {
      const partition = member.plan.partition.key
      const counts = done.counts.get(partition) ?? zeroCounts()
      if (member.heldBy === undefined) {
        rows += member.tally.staged
        context.emit({
          type: "partition.published",
          partition,
          counts,
          replaced: member.plan.replaces,
          durationMs: Math.round(member.stagingMs),
        })
      } else {
        context.emit({ type: "partition.held", partition, ...reportedError(member.heldBy), counts })
      }
    }
    context.emit({ type: "group.published", partitions: group.members.length, rows, durationMs, steps: done.steps })
  }
}

interface Published {
  readonly counts: ReadonlyMap<string, Counts>
  readonly totals: RunningTotals
  readonly steps: Readonly<Record<string, number>>
  /** Undefined where the rows went into a table. */
  readonly files: WrittenFiles | undefined
}
