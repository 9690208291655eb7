import { createHash } from "node:crypto"
import type { Session } from "../postgres/session.ts"
import { storableJson, storablePrefix, storableText } from "./storable.ts"

/** `pending`: interrupted, to be continued by the next attempt. */
export type CheckpointStatus = "pending" | "in_progress" | "completed" | "failed"

/** How far one stage of a run is; one row per run, stage and key, updated in place. */
export interface Checkpoint {
  readonly pipeline: string
  readonly runId: string
  readonly attempt: number
  readonly stage: string
  /** The partition, or empty for the stage as a whole. */
  readonly key: string
  readonly value: string | undefined
  readonly status: CheckpointStatus
  /** Milliseconds since the epoch. */
  readonly startTime: number | undefined
  readonly endTime: number | undefined
  readonly durationMs: number | undefined
  readonly metadata: Readonly<Record<string, unknown>>
}

const KEY_LIMIT = 255

/** `key` as it fits the column: a longer one keeps its head and, so that it stays unique, a hash of the whole. */
export function checkpointKey(key: string): string {
  const clean = storableText(key)
  if (clean.length <= KEY_LIMIT) return clean
  const hash = createHash("sha256").update(clean).digest("hex").slice(0, 16)
  return `${storablePrefix(clean, KEY_LIMIT - 17)}~${hash}`
}

/** Writes rows, each (run, stage, key) at most once; not those of an attempt whose run another one has taken over. */
export async function upsertCheckpoints(session: Session, rows: readonly Checkpoint[]): Promise<void> {
  if (rows.length === 0) return
  await session.query(
    `INSERT INTO ops.pipeline_checkpoint AS c
       (pipeline_name, run_id, stage, checkpoint_key, checkpoint_value, status, start_time, end_time, duration_ms, metadata)
     SELECT v.pipeline, v.run_id, v.stage, v.key, v.value, v.status, to_timestamp(v.started / 1000.0), to_timestamp(v.ended / 1000.0),
            v.duration::integer, v.metadata::jsonb
     FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::float8[], $8::float8[], $9::float8[], $10::text[], $11::int[])
       v(pipeline, run_id, stage, key, value, status, started, ended, duration, metadata, attempt)
     WHERE NOT EXISTS (SELECT FROM ops.runs r WHERE r.run_id = v.run_id AND r.attempt > v.attempt)
     ON CONFLICT (run_id, stage, checkpoint_key) DO UPDATE SET
       checkpoint_value = excluded.checkpoint_value, status = excluded.status, start_time = excluded.start_time, end_time = excluded.end_time,
       duration_ms = excluded.duration_ms, metadata = excluded.metadata, updated_at = now()`,
    [
      rows.map((row) => row.pipeline),
      rows.map((row) => row.runId),
      rows.map((row) => storablePrefix(row.stage, 100)),
      rows.map((row) => checkpointKey(row.key)),
      rows.map((row) => (row.value === undefined ? null : storablePrefix(row.value, 255))),
      rows.map((row) => row.status),
      rows.map((row) => row.startTime ?? null),
      rows.map((row) => row.endTime ?? null),
      rows.map((row) => (row.durationMs === undefined ? null : Math.min(Math.round(row.durationMs), 2 ** 31 - 1))),
      rows.map((row) => storableJson(row.metadata)),
      rows.map((row) => row.attempt),
    ],
  )
}

/** The stages of a run, as a whole, that are completed. */
export async function completedStages(session: Session, runId: string): Promise<Set<string>> {
  const { rows } = await session.query<{ stage: string }>(
    `SELECT stage FROM ops.pipeline_checkpoint WHERE run_id = $1 AND checkpoint_key = '' AND status = 'completed'`,
    [runId],
  )
  return new Set(rows.map((row) => row.stage))
}

/**
 * Closes rows that a killed process left `in_progress`: a partition that the ledger has in the end becomes what the ledger
 * says, anything else `pending`. Looks at `runId` and at the pipeline's runs that are over.
 */
export async function settleCheckpoints(session: Session, pipeline: string, runId: string): Promise<number> {
  const { rowCount } = await session.query(
    `WITH over AS (
       SELECT run_id FROM ops.runs WHERE status <> 'running'
         AND run_id IN (SELECT run_id FROM ops.pipeline_checkpoint WHERE pipeline_name = $1 AND status = 'in_progress')
       UNION SELECT $2
     ), settled AS (
       SELECT c.id, pp.status, pp.processed_at
       FROM ops.pipeline_checkpoint c JOIN over USING (run_id)
       LEFT JOIN ops.processed_partitions pp ON c.stage = 'partition' AND pp.pipeline_name = c.pipeline_name
         AND pp.run_id = c.run_id AND pp.partition_key = coalesce(c.metadata->>'partition', c.checkpoint_key)
       WHERE c.status = 'in_progress'
     )
     UPDATE ops.pipeline_checkpoint c
     SET status = CASE settled.status WHEN 'completed' THEN 'completed' WHEN 'held' THEN 'failed' WHEN 'failed' THEN 'failed' ELSE 'pending' END,
         end_time = settled.processed_at,
         duration_ms = CASE WHEN settled.processed_at >= c.start_time
           THEN least(extract(epoch FROM settled.processed_at - c.start_time) * 1000, 2147483647)::integer END, updated_at = now()
     FROM settled WHERE c.id = settled.id`,
    [pipeline, runId],
  )
  return rowCount
}
