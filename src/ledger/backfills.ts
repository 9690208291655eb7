import type { JsonValue } from "../core/json.ts"
import { canonicalJson } from "../core/json.ts"
import type { Session } from "../postgres/session.ts"

export type BackfillStatus = "running" | "completed" | "partial" | "failed"

export interface Backfill {
  readonly id: string
  readonly pipeline: string
  readonly selection: JsonValue
  readonly status: BackfillStatus
  /** Partitions of the range that needed nothing. */
  readonly skipped: number
  readonly startedAt: Date
}

interface BackfillRow {
  backfill_id: string
  pipeline_name: string
  selection: JsonValue
  status: BackfillStatus
  skipped: number
  started_at: Date
}

const fromRow = (row: BackfillRow): Backfill => ({
  id: row.backfill_id,
  pipeline: row.pipeline_name,
  selection: row.selection,
  status: row.status,
  skipped: row.skipped,
  startedAt: row.started_at,
})

/** The newest backfill of a pipeline that has not finished: of this selection, or of any. */
export async function unfinishedBackfill(
  session: Session,
  pipeline: string,
  selection?: JsonValue,
): Promise<Backfill | undefined> {
  const { rows } = await session.query<BackfillRow>(
    `SELECT * FROM ops.backfills WHERE pipeline_name = $1 AND status = 'running' AND ($2::jsonb IS NULL OR selection = $2::jsonb)
     ORDER BY started_at DESC LIMIT 1`,
    [pipeline, selection === undefined ? null : canonicalJson(selection)],
  )
  return rows[0] && fromRow(rows[0])
}

export interface NewBackfill {
  readonly id: string
  readonly pipeline: string
  readonly selection: JsonValue
  readonly skipped: number
  /** In the order in which they are to be built. */
  readonly partitions: readonly { readonly key: string; readonly reason: string }[]
}

/** Writes a backfill with its partitions; false when one of the same selection runs already. */
export async function insertBackfill(session: Session, backfill: NewBackfill): Promise<boolean> {
  const { id, pipeline, selection, skipped, partitions } = backfill
  const { rowCount } = await session.query(
    `INSERT INTO ops.backfills (backfill_id, pipeline_name, selection, skipped) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING`,
    [id, pipeline, canonicalJson(selection), skipped],
  )
  if (rowCount === 0) return false
  await session.query(
    `INSERT INTO ops.backfill_partitions (backfill_id, pipeline_name, partition_key, reason, ordinal)
     SELECT $1, $2, v.key, v.reason, v.n FROM unnest($3::text[], $4::text[]) WITH ORDINALITY v(key, reason, n)`,
    [id, pipeline, partitions.map((p) => p.key), partitions.map((p) => p.reason)],
  )
  return true
}

export type BackfillPartitionStatus = "queued" | "active" | "done" | "failed"

export interface BackfillPartition {
  readonly key: string
  readonly reason: string
  readonly status: BackfillPartitionStatus
  readonly attempts: number
  readonly runId: string | undefined
  readonly error: { readonly code: string; readonly message: string; readonly hint: string | undefined } | undefined
}

/** The partitions of a backfill, in the order of building. `error` is that of the last attempt, also while another is to come. */
export async function backfillPartitions(session: Session, id: string): Promise<BackfillPartition[]> {
  const { rows } = await session.query<{
    partition_key: string
    reason: string
    status: BackfillPartitionStatus
    attempts: number
    run_id: string | null
    error_code: string | null
    error_message: string | null
    error_hint: string | null
  }>(
    `SELECT partition_key, reason, status, attempts, run_id, error_code, error_message, error_hint
     FROM ops.backfill_partitions WHERE backfill_id = $1 ORDER BY ordinal`,
    [id],
  )
  return rows.map((row) => ({
    key: row.partition_key,
    reason: row.reason,
    status: row.status,
    attempts: row.attempts,
    runId: row.run_id ?? undefined,
    error:
      row.error_code === null
        ? undefined
        : { code: row.error_code, message: row.error_message ?? "", hint: row.error_hint ?? undefined },
  }))
}

/** Notes that a worker has taken a partition, in every backfill that waits for it; gives the attempt's number, 0 when none waits. */
export async function takePartition(session: Session, pipeline: string, key: string, worker: string): Promise<number> {
  const { rows } = await session.query<{ attempts: number }>(
    `UPDATE ops.backfill_partitions
     SET status = 'active', attempts = attempts + 1, worker = $3, started_at = now(), heartbeat_at = now()
     WHERE pipeline_name = $1 AND partition_key = $2 AND status IN ('queued', 'active') RETURNING attempts`,
    [pipeline, key, worker],
  )
  return Math.max(0, ...rows.map((row) => row.attempts))
}

/** Says that the worker is alive. */
export async function touchPartition(session: Session, pipeline: string, key: string): Promise<void> {
  await session.query(
    `UPDATE ops.backfill_partitions SET heartbeat_at = now() WHERE pipeline_name = $1 AND partition_key = $2 AND status = 'active'`,
    [pipeline, key],
  )
}

export interface PartitionEnd {
  /** `queued`: another attempt is to come. */
  readonly status: "queued" | "done" | "failed"
  readonly runId: string | undefined
  readonly error: { readonly code: string; readonly message: string; readonly hint: string | undefined } | undefined
}

/** Notes how an attempt ended, in every backfill that waits for the partition. */
export async function endPartition(session: Session, pipeline: string, key: string, end: PartitionEnd): Promise<void> {
  await session.query(
    `UPDATE ops.backfill_partitions
     SET status = $3::text, run_id = coalesce($4, run_id), error_code = $5, error_message = $6, error_hint = $7,
         queued_at = CASE WHEN $3::text = 'queued' THEN now() ELSE queued_at END, heartbeat_at = NULL,
         finished_at = CASE WHEN $3::text = 'queued' THEN NULL ELSE now() END
     WHERE pipeline_name = $1 AND partition_key = $2 AND status IN ('queued', 'active')`,
    [
      pipeline,
      key,
      end.status,
      end.runId ?? null,
      end.error?.code ?? null,
      end.error?.message ?? null,
      end.error?.hint ?? null,
    ],
  )
}

/** Open partitions that nothing was heard of for `silentMs`: their job may be gone, or its worker dead. */
export async function silentPartitions(
  session: Session,
  pipelines: readonly string[],
  silentMs: number,
): Promise<{ pipeline: string; key: string; status: "queued" | "active" }[]> {
  const { rows } = await session.query<{ pipeline_name: string; partition_key: string; status: "queued" | "active" }>(
    `SELECT pipeline_name, partition_key, min(status) AS status FROM ops.backfill_partitions
     WHERE pipeline_name = ANY($1::text[])
       AND (status = 'queued' AND queued_at < now() - $2 * interval '1 ms'
         OR status = 'active' AND heartbeat_at < now() - $2 * interval '1 ms')
     GROUP BY pipeline_name, partition_key ORDER BY min(ordinal)`,
    [pipelines, silentMs],
  )
  return rows.map((row) => ({ pipeline: row.pipeline_name, key: row.partition_key, status: row.status }))
}

/** Notes that queued partitions were put into the queue just now: they are not silent for a while. */
export async function queueAgain(session: Session, pipeline: string, keys: readonly string[]): Promise<void> {
  await session.query(
    `UPDATE ops.backfill_partitions SET queued_at = now()
     WHERE pipeline_name = $1 AND partition_key = ANY($2::text[]) AND status = 'queued'`,
    [pipeline, keys],
  )
}

/** Those of `pipelines` that have a partition or a tick queued, or one whose worker may have died. */
export async function pipelinesWithWork(session: Session, pipelines: readonly string[]): Promise<string[]> {
  const { rows } = await session.query<{ pipeline_name: string }>(
    `SELECT DISTINCT pipeline_name FROM (
       SELECT pipeline_name FROM ops.schedule_ticks WHERE status IN ('queued', 'active') AND pipeline_name = ANY($1::text[])
       UNION ALL
       SELECT pipeline_name FROM ops.backfill_partitions WHERE status IN ('queued', 'active') AND pipeline_name = ANY($1::text[])
     ) open ORDER BY pipeline_name`,
    [pipelines],
  )
  return rows.map((row) => row.pipeline_name)
}

/** Whether anything is queued for these pipelines, or waits for its next attempt. */
export async function hasQueued(session: Session, pipelines: readonly string[]): Promise<boolean> {
  const { rows } = await session.query(
    `SELECT FROM ops.schedule_ticks WHERE status = 'queued' AND pipeline_name = ANY($1::text[])
     UNION ALL SELECT FROM ops.backfill_partitions WHERE status = 'queued' AND pipeline_name = ANY($1::text[]) LIMIT 1`,
    [pipelines],
  )
  return rows.length > 0
}

/** Closes the backfills of these pipelines whose partitions have all ended. */
export async function finishBackfills(session: Session, pipelines: readonly string[]): Promise<void> {
  await session.query(
    `UPDATE ops.backfills b SET finished_at = now(), status = CASE
       WHEN NOT EXISTS (SELECT FROM ops.backfill_partitions p WHERE p.backfill_id = b.backfill_id AND p.status = 'failed') THEN 'completed'
       WHEN EXISTS (SELECT FROM ops.backfill_partitions p WHERE p.backfill_id = b.backfill_id AND p.status = 'done') THEN 'partial'
       ELSE 'failed' END
     WHERE b.status = 'running' AND b.pipeline_name = ANY($1::text[])
       AND NOT EXISTS (SELECT FROM ops.backfill_partitions p WHERE p.backfill_id = b.backfill_id AND p.status IN ('queued', 'active'))`,
    [pipelines],
  )
}
