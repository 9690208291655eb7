import type { SourceContext } from "../../core/contracts.ts"
import type { LetterOrigin } from "../../dead-letters/letter.ts"
import type { Patch } from "../../dead-letters/patch.ts"
import { takePartitionNumbers } from "../../ledger/partitions.ts"
import { heldPartitions, nextLetters, settleLetters } from "../../ledger/replays.ts"
import type { LetterPlace, LetterResult, LettersWanted, ReplayedLetter } from "../../ledger/replays.ts"
import { insertQualityResults } from "../../ledger/quality.ts"
import { recordTouches, trackedSlices } from "../../ledger/touched.ts"
import { lockTarget, outdatedRows, publishStaging } from "../../postgres/publish.ts"
import type { PublishRequest } from "../../postgres/publish-sql.ts"
import { quoteIdentifier } from "../../postgres/quote.ts"
import type { Session } from "../../postgres/session.ts"
import { copiedColumns, createStaging, inspectTarget, type Target } from "../../postgres/target.ts"
import { copyBatch, type BatchToCopy } from "../pipeline/copy-batch.ts"
import { secretFields, type Pipeline } from "../definition.ts"
import { batchEncoder } from "../pipeline/encode-batch.ts"
import { judgeGroup, type JudgedPartition } from "../publish/gate.ts"
import { LettersBatch } from "./letters-batch.ts"
import { mendLetters } from "./mend-letters.ts"
import { NewColumns } from "../pipeline/new-columns.ts"
import { recordPath } from "../pipeline/record-path.ts"
import { targetOf } from "../target-of.ts"
import type { LoadFacts } from "../run-context.ts"

/** A replay that stands still inside its transaction would hold up every load of the table; the server ends it after this. */
const IDLE_LIMIT = "60s"

export interface ReplayContext {
  readonly pipeline: Pipeline
  readonly load: LoadFacts
  readonly target: Target
  readonly replayId: string
  readonly source: SourceContext
  readonly patch: Patch | undefined
  readonly force: boolean
  /** Called with what became of the batch before it is committed; may throw to have it rolled back. */
  readonly accept: (results: readonly LetterResult[]) => void
}

export interface ReplayedBatch {
  readonly letters: number
  /** Letters per outcome. */
  readonly outcomes: Readonly<Record<string, number>>
  readonly results: readonly LetterResult[]
  readonly last: LetterPlace | undefined
}

/**
 * Replays the next letters in one transaction: their rows, their new states and the slices they touch, or nothing. The table is
 * locked first, as every load does, so that a reading of the same source that is published meanwhile comes wholly before or after.
 */
export function replayBatch(session: Session, context: ReplayContext, wanted: LettersWanted): Promise<ReplayedBatch> {
  const { failpoints } = context.source.ports
  return session.transaction(async () => {
    await session.query(`SET LOCAL idle_in_transaction_session_timeout = '${IDLE_LIMIT}'`)
    await lockTarget(session, context.target)
    const letters = await nextLetters(session, wanted, true)
    await failpoints.hit("replay.letters-locked", { letters: letters.length })
    if (letters.length === 0) return { letters: 0, outcomes: {}, results: [], last: undefined }
    const results = await load(session, context, letters)
    await failpoints.hit("replay.rows-written", { letters: letters.length })
    context.accept(results)
    const outcomes = await settleLetters(session, context.replayId, results)
    await failpoints.hit("replay.before-commit", { letters: letters.length })
    return { letters: letters.length, outcomes, results, last: letters.at(-1) }
  })
}

/** Takes letters through the pipeline into its table; gives what became of each. */
async function load(
  session: Session,
  context: ReplayContext,
  letters: readonly ReplayedLetter[],
): Promise<LetterResult[]> {
  const { target, source, replayId } = context
  const staging = `ops_staging.replay_${source.ports.random.hex(8)}`
  await createStaging(session, staging, target, await inspectTarget(session, target), replayId)
  const held = await heldPartitions(session, context.pipeline.name, [...new Set(letters.map((l) => l.partition))])
  const forcedSeq = context.force ? (await takePartitionNumbers(session, 1))[0] : undefined
  const results: LetterResult[] = []
  const staged: StagedLetters[] = []
  for (const group of grouped(letters)) {
    if (held.has(group.partition)) {
      results.push(...group.letters.map(({ id }) => left(id, HELD)))
      continue
    }
    results.push(...group.surplus.map(({ id }) => left(id, SAME_PLACE)))
    const done = await stage(session, context, staging, { ...group, seq: forcedSeq ?? group.seq })
    results.push(...done.settled)
    staged.push(done)
  }
  results.push(...(await publish(session, context, staging, staged)))
  return results
}

const HELD = "its partition is held and has nothing in the table: correct the source, or the check, and run again"
const SAME_PLACE = "another letter stands at the same place of its source"

const left = (id: string, reason: string): LetterResult => ({
  id,
  outcome: "left",
  reason,
  code: undefined,
  record: undefined,
})

interface LetterGroup {
  readonly partition: string
  readonly seq: number
  readonly letters: readonly ReplayedLetter[]
  /** Letters at a place that another of the group has. */
  readonly surplus: readonly ReplayedLetter[]
}

/** Letters by partition and version: these share `_source` and the start of their `_seq`. */
function grouped(letters: readonly ReplayedLetter[]): LetterGroup[] {
  const groups = Map.groupBy(letters, ({ partition, seq }) => JSON.stringify([partition, seq]))
  const places = new Set<string>()
  return [...groups.values()].map((members) => {
    const own: ReplayedLetter[] = []
    const surplus: ReplayedLetter[] = []
    for (const letter of members) {
      const place = JSON.stringify([letter.partition, letter.ordinal])
      ;(places.has(place) ? surplus : own).push(letter)
      places.add(place)
    }
    const [first] = members as [ReplayedLetter]
    return { partition: first.partition, seq: first.seq, letters: own, surplus }
  })
}

interface StagedLetters {
  readonly partition: string
  /** Letters whose rows are in staging, by their place. */
  readonly rows: ReadonlyMap<number, LetterResult>
  /** Those that are dealt with: failed, filtered, left, discarded. */
  readonly settled: readonly LetterResult[]
  readonly judged: JudgedPartition
}

/** The columns that the table has besides those of the schema; undefined where it takes none. A replay adds no further ones. */
const tableColumns = (pipeline: Pipeline, target: Target): NewColumns | undefined =>
  pipeline.onNewColumn === "evolve"
    ? new NewColumns(target.columns.slice(targetOf(pipeline).columns.length), { grows: false })
    : undefined

/** Takes the letters of one partition through the record path into staging. */
async function stage(
  session: Session,
  context: ReplayContext,
  staging: string,
  { partition, seq, letters }: LetterGroup,
): Promise<StagedLetters> {
  const { pipeline, source, target, patch } = context
  const mended = await mendLetters(pipeline, partition, letters, patch, source)
  const batch = new LettersBatch(mended.letters)
  const origin: LetterOrigin = {
    pipeline: pipeline.name,
    partition,
    unit: pipeline.source.unit,
    secrets: secretFields(pipeline),
  }
  const newColumns = tableColumns(pipeline, target)
  const path = recordPath(forLetters(pipeline), partition, () => undefined, newColumns)
  const encode = batchEncoder({ pipeline, origin, seq, turn: () => source.ports.clock.turn(), newColumns }, path)
  const toCopy: BatchToCopy = { encoded: undefined, encode: (send) => encode(batch, send) }
  const names = copiedColumns(target).map(quoteIdentifier).join(", ")
  const encoded = await copyBatch(session, `COPY ${staging} (${names}) FROM STDIN`, toCopy)
  const faults = new Map(encoded.letters.map((letter) => [letter.ordinal, letter]))
  const withRows = new Set(encoded.lineRecords)
  const rows = new Map<number, LetterResult>()
  const settled = [...mended.settled]
  for (const [i, { letter }] of mended.letters.entries()) {
    const fault = faults.get(letter.ordinal)
    const result: LetterResult = {
      id: letter.id,
      outcome: fault !== undefined ? "failed" : withRows.has(i) ? "loaded" : "filtered",
      reason: fault?.errorMessage,
      code: fault?.errorCode,
      record: mended.patched.get(letter.id),
    }
    if (result.outcome === "loaded") rows.set(letter.ordinal, result)
    else settled.push(result)
  }
  return { partition, rows, settled, judged: { key: partition, tally: encoded.tally } }
}

/** One record with a column nobody knows must not end the replay of all others. */
export const forLetters = (pipeline: Pipeline): Pipeline =>
  pipeline.onNewColumn === "fail" ? { ...pipeline, onNewColumn: "deadLetter" } : pipeline

/** Judges and publishes what is staged; gives what became of the letters with rows. */
async function publish(
  session: Session,
  context: ReplayContext,
  staging: string,
  staged: readonly StagedLetters[],
): Promise<LetterResult[]> {
  const { load, target, replayId } = context
  const refused = await judge(session, context, staging, staged)
  const results: LetterResult[] = []
  const kept = staged.filter(({ rows }) => rows.size > 0)
  for (const { partition, rows } of kept) {
    const why = refused.get(partition)
    if (why !== undefined)
      for (const result of rows.values())
        results.push({ ...result, outcome: "failed", reason: why, code: "QUALITY_GATE" })
  }
  const good = kept.filter(({ partition }) => !refused.has(partition))
  if (good.length === 0) {
    await session.query(`DROP TABLE ${staging}`)
    return results
  }
  const request: PublishRequest = {
    staging,
    target,
    sources: [...new Set(good.map(({ partition }) => partition))],
    replaced: [],
    adds: true,
    force: context.force,
    tracked: await trackedSlices(session, load.table),
    exclusive: false,
  }
  const exists = await inspectTarget(session, target)
  const old = new Set(
    (exists ? await outdatedRows(session, request) : []).map(({ source, position }) =>
      JSON.stringify([source, position]),
    ),
  )
  const { touches } = await publishStaging(session, request)
  await recordTouches(session, replayId, load.table, touches)
  for (const { partition, rows } of good)
    for (const [ordinal, result] of rows)
      results.push(
        old.has(JSON.stringify([partition, ordinal])) ? { ...result, outcome: "outdated", reason: NEWER } : result,
      )
  return results
}

const NEWER = "the table has a newer row of its key, which stays"

/** Judges the rows by the checks that say something of few rows, too; takes those of refused partitions out of staging. */
async function judge(
  session: Session,
  { load, target, replayId }: ReplayContext,
  staging: string,
  staged: readonly StagedLetters[],
): Promise<Map<string, string>> {
  const checks = load.checks.filter((check) => check.level === "set" && check.wholePartition !== true)
  const judged = staged.filter(({ rows }) => rows.size > 0).map((letters) => letters.judged)
  const results = await judgeGroup(session, { load: { ...load, checks }, target }, staging, judged)
  await insertQualityResults(session, { pipeline: load.name, runId: replayId, table: load.table }, results)
  const refused = new Map<string, string>()
  for (const { partition, passed, severity, message } of results)
    if (!passed && severity === "fail")
      refused.set(partition, [refused.get(partition), message].filter(Boolean).join("; "))
  if (refused.size > 0)
    await session.query(`DELETE FROM ${staging} WHERE _source = ANY($1::text[])`, [[...refused.keys()]])
  return refused
}
