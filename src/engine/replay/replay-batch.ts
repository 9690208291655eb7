import { takePartitionNumbers } from "../../ledger/partitions.ts"
import { insertQualityResults } from "../../ledger/quality.ts"
import { nextLetters, settleLetters } from "../../ledger/replays.ts"
import type { LetterPlace, LetterResult, LettersWanted, ReplayedLetter } from "../../ledger/replays.ts"
import { recordTouches, trackedSlices } from "../../ledger/touched.ts"
import type { PublishRequest } from "../../postgres/publish-sql.ts"
import { lockTarget, outdatedRows, publishStaging } from "../../postgres/publish.ts"
import { quoteIdentifier } from "../../postgres/quote.ts"
import type { Session } from "../../postgres/session.ts"
import { stagedColumns, createStaging, inspectTarget } from "../../postgres/target.ts"
import { copyBatch } from "../pipeline/copy-batch.ts"
import { judgeGroup } from "../publish/gate.ts"
import type { LoadFacts } from "../run-context.ts"
import { takeLetters, type LetterContext, type TakenLetters } from "./letter-path.ts"

/** A replay that stands still inside its transaction would hold up every load of the table; the server ends it after this. */
const IDLE_LIMIT = "60s"

export interface ReplayContext extends LetterContext {
  readonly load: LoadFacts
  readonly replayId: string
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
  const { target, source } = context
  const staging = `ops_staging.replay_${source.ports.random.hex(8)}`
  await createStaging(session, staging, target, await inspectTarget(session, target))
  const forcedSeq = context.force ? (await takePartitionNumbers(session, 1))[0] : undefined
  const names = stagedColumns(target).map(quoteIdentifier).join(", ")
  const { taken, left } = await takeLetters(
    session,
    context,
    letters,
    (batch) => copyBatch(session, `COPY ${staging} (${names}) FROM STDIN`, batch),
    forcedSeq,
  )
  const settled = taken.flatMap((letters) => letters.settled)
  return [...left, ...settled, ...(await publish(session, context, staging, taken))]
}

/** Judges and publishes what is staged; gives what became of the letters with rows. */
async function publish(
  session: Session,
  context: ReplayContext,
  staging: string,
  staged: readonly TakenLetters[],
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
    runId: replayId,
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
  staged: readonly TakenLetters[],
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
