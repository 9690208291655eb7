import type { JsonValue } from "../core/json.ts"
import type { Session } from "../postgres/session.ts"
import type { LetterCondition } from "./dead-letter-triage.ts"

/**
 * What became of a letter in a replay. `loaded`: its rows are in the table. `outdated`: the table has a newer row of its key, which stays.
 * `filtered`: the pipeline leaves it out. `failed`: set aside again, `poisoned` for the third time. `left`: not tried.
 */
export type ReplayOutcome = "loaded" | "outdated" | "filtered" | "discarded" | "failed" | "poisoned" | "left"

/** Failed replays after which a letter is left out unless asked for. */
export const FAILURES_TO_POISON = 3

export interface ReplayStart {
  readonly replayId: string
  readonly pipeline: string
  readonly requestedBy: string
  readonly selection: JsonValue
  readonly patch: JsonValue
  readonly operation: string
  readonly forced: boolean
}

/** Begins a replay, or joins the unfinished one of the same operation; gives its id. */
export async function beginReplay(
  session: Session,
  start: ReplayStart,
): Promise<{ replayId: string; joined: boolean }> {
  return session.transaction(async () => {
    await session.query(`SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, [`spillway replay ${start.operation}`])
    const { rows } = await session.query<{ replay_id: string }>(
      `UPDATE ops.replays SET status = 'running', updated_at = now() WHERE replay_id = (
         SELECT replay_id FROM ops.replays WHERE operation = $1 AND status IN ('running', 'interrupted', 'failed')
         ORDER BY started_at DESC LIMIT 1) RETURNING replay_id`,
      [start.operation],
    )
    const [unfinished] = rows
    if (unfinished !== undefined) return { replayId: unfinished.replay_id, joined: true }
    await session.query(
      `INSERT INTO ops.replays (replay_id, pipeline_name, requested_by, selection, patch, operation, forced, status)
       VALUES ($1, $2, $3, $4, $5, $6, $7, 'running')`,
      [
        start.replayId,
        start.pipeline,
        start.requestedBy,
        JSON.stringify(start.selection),
        JSON.stringify(start.patch),
        start.operation,
        start.forced,
      ],
    )
    return { replayId: start.replayId, joined: false }
  })
}

/** A letter that is to be replayed. */
export interface ReplayedLetter {
  readonly id: string
  readonly partition: string
  readonly ordinal: number
  /** The number of the partition's version it was read from; 0, before all others, where that is not known. */
  readonly seq: number
  readonly code: string
  readonly message: string
  readonly field: string | undefined
  /** The decoded record as the source gave it; undefined where it could not be decoded. */
  readonly record: Record<string, unknown> | undefined
  readonly raw: Buffer
  /** `raw` is only the head of a record that was too long to keep. */
  readonly cut: boolean
  readonly source: Record<string, unknown>
}

export interface LettersWanted {
  readonly where: LetterCondition
  readonly pipeline: string
  /** Letters that this replay has dealt with are left out. */
  readonly replayId: string | undefined
  readonly poisoned: boolean
  readonly after: LetterPlace | undefined
  readonly limit: number
}

/** Where a letter stands in the order in which letters are replayed. */
export interface LetterPlace {
  readonly partition: string
  readonly ordinal: number
  readonly id: string
}

interface Row {
  id: string
  partition_key: string
  ordinal: string
  seq: string | null
  error_code: string
  error_msg: string
  path: string | null
  record: Record<string, unknown> | null
  raw: Buffer
  cut: boolean
  source: Record<string, unknown>
}

/** The next open letters of a pipeline, in the order of their partitions; `lock` keeps others from changing them in this transaction. */
export async function nextLetters(session: Session, wanted: LettersWanted, lock: boolean): Promise<ReplayedLetter[]> {
  const { where, after } = wanted
  const n = where.values.length
  const { rows } = await session.query<Row>(
    `SELECT d.id, d.partition_key, d.ordinal, d.seq, d.error_code, d.error_msg, d.path, d.record, d.raw, d.oversize IS NOT NULL AS cut, d.source
     FROM ops.dead_letters d
     WHERE ${where.sql} AND d.pipeline_name = $${n + 1} AND d.status = ANY($${n + 2}::text[])
       AND NOT EXISTS (SELECT FROM ops.replay_letters o WHERE o.replay_id = $${n + 3} AND o.letter_id = d.id)
       ${after === undefined ? "" : `AND (d.partition_key, d.ordinal, d.id) > ($${n + 4}::text, $${n + 5}::bigint, $${n + 6}::text)`}
     ORDER BY d.partition_key, d.ordinal, d.id LIMIT ${wanted.limit}${lock ? " FOR UPDATE OF d" : ""}`,
    [
      ...where.values,
      wanted.pipeline,
      wanted.poisoned ? ["pending", "poisoned"] : ["pending"],
      wanted.replayId ?? null,
      ...(after === undefined ? [] : [after.partition, after.ordinal, after.id]),
    ],
  )
  return rows.map((row) => ({
    id: row.id,
    partition: row.partition_key,
    ordinal: Number(row.ordinal),
    seq: Number(row.seq ?? 0),
    code: row.error_code,
    message: row.error_msg,
    field: row.path ?? undefined,
    record: row.record ?? undefined,
    raw: row.raw,
    cut: row.cut,
    source: row.source,
  }))
}

/** What became of one letter. */
export interface LetterResult {
  readonly id: string
  readonly outcome: ReplayOutcome
  readonly reason: string | undefined
  readonly code: string | undefined
  /** The patched record as JSON text. */
  readonly record: string | undefined
}

/**
 * Records what became of letters, in the transaction that has loaded them: their new status, and the outcome of each in the
 * replay. `left` changes no letter. Gives the results as they were settled: a third failure is `poisoned`.
 */
export async function settleLetters(
  session: Session,
  replayId: string,
  results: readonly LetterResult[],
): Promise<Record<string, number>> {
  const { rows } = await session.query<{ outcome: string; letters: string }>(
    `WITH given AS (
       SELECT * FROM jsonb_to_recordset($2) g(id text, outcome text, reason text, code text, record text)
     ), settled AS (
       SELECT g.id, g.reason, g.code, g.record,
              CASE WHEN g.outcome = 'failed' AND d.attempts >= $3 THEN 'poisoned' ELSE g.outcome END AS outcome
       FROM given g JOIN ops.dead_letters d USING (id)
     ), letters AS (
       UPDATE ops.dead_letters d SET
         attempts = d.attempts + 1,
         status = CASE WHEN s.outcome IN ('loaded', 'outdated', 'filtered') THEN 'replayed' WHEN s.outcome = 'failed' THEN 'pending' ELSE s.outcome END,
         status_reason = CASE s.outcome WHEN 'loaded' THEN $1::text WHEN 'failed' THEN s.reason ELSE concat_ws(': ', $1::text, s.reason) END
       FROM settled s WHERE d.id = s.id AND s.outcome <> 'left'
     ), kept AS (
       INSERT INTO ops.replay_letters (replay_id, letter_id, outcome, reason, error_code, record)
       SELECT $1::text, id, outcome, reason, code, record::jsonb FROM settled
       RETURNING outcome
     ), counted AS (
       SELECT outcome, count(*) AS letters FROM kept GROUP BY 1
     ), replay AS (
       UPDATE ops.replays r SET updated_at = now(),
         outcomes = (SELECT jsonb_object_agg(o.key, o.n) FROM (
           SELECT key, sum(n) AS n FROM (
             SELECT key, value::bigint AS n FROM jsonb_each_text(r.outcomes) UNION ALL SELECT outcome, letters FROM counted) a
           GROUP BY key) o)
       WHERE r.replay_id = $1::text
     )
     SELECT outcome, letters FROM counted`,
    [replayId, JSON.stringify(results), FAILURES_TO_POISON],
  )
  return Object.fromEntries(rows.map((row) => [row.outcome, Number(row.letters)]))
}

export interface ReplayEnd {
  readonly status: "interrupted" | "aborted" | "failed" | "completed"
  readonly error?: { readonly code: string; readonly message: string } | undefined
}

/** Says how a replay ended; of several processes that share it the first to find nothing left. Gives all its outcomes. */
export async function endReplay(session: Session, replayId: string, end: ReplayEnd): Promise<Record<string, number>> {
  const { rows } = await session.query<{ outcomes: Record<string, number> }>(
    `UPDATE ops.replays SET status = CASE WHEN status = 'running' THEN $2 ELSE status END, updated_at = now(),
       finished_at = CASE WHEN $2 IN ('aborted', 'completed') THEN coalesce(finished_at, now()) END,
       error_code = coalesce(error_code, $3), error_message = coalesce(error_message, $4)
     WHERE replay_id = $1 RETURNING outcomes`,
    [replayId, end.status, end.error?.code ?? null, end.error?.message ?? null],
  )
  return rows[0]?.outcomes ?? {}
}

/** A replay as the ledger has it. */
export interface ReplayRow {
  readonly replay_id: string
  readonly pipeline_name: string
  readonly requested_by: string
  readonly selection: JsonValue
  readonly patch: JsonValue
  readonly forced: boolean
  readonly status: string
  readonly outcomes: Record<string, number>
  readonly error_code: string | null
  readonly error_message: string | null
  readonly started_at: Date
  readonly finished_at: Date | null
}

/** Replays, latest first. */
export async function readReplays(session: Session, limit: number): Promise<ReplayRow[]> {
  const { rows } = await session.query<ReplayRow>(
    `SELECT replay_id, pipeline_name, requested_by, selection, patch, forced, status, outcomes, error_code, error_message, started_at, finished_at
     FROM ops.replays ORDER BY started_at DESC, replay_id LIMIT ${limit}`,
  )
  return rows
}

/** Of these partitions those that have letters but nothing in the table yet, because they are held. */
export async function heldPartitions(
  session: Session,
  pipeline: string,
  keys: readonly string[],
): Promise<Set<string>> {
  const { rows } = await session.query<{ partition_key: string }>(
    `SELECT pp.partition_key FROM ops.processed_partitions pp
     WHERE pp.pipeline_name = $1 AND pp.partition_key = ANY($2::text[])
       AND NOT EXISTS (SELECT FROM ops.source_positions p WHERE p.pipeline_name = pp.pipeline_name AND p.partition_key = pp.partition_key AND p.position <> 'null')`,
    [pipeline, keys],
  )
  return new Set(rows.map((row) => row.partition_key))
}

/** Pipelines with letters that could be replayed. */
export async function pipelinesWithLetters(session: Session): Promise<Set<string>> {
  const { rows } = await session.query<{ pipeline_name: string }>(
    `SELECT DISTINCT pipeline_name FROM ops.dead_letters WHERE status IN ('pending', 'poisoned')`,
  )
  return new Set(rows.map((row) => row.pipeline_name))
}
