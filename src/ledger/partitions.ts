import type { KnownPartition } from "../core/contracts.ts"
import type { Counts } from "../core/events.ts"
import type { JsonValue } from "../core/json.ts"
import type { Session } from "../postgres/session.ts"
import { recordMonths } from "./months.ts"

export type PartitionStatus = "in_progress" | "completed" | "held" | "failed"

/** A source partition as the ledger has it. */
export interface LedgerPartition extends KnownPartition {
  readonly status: PartitionStatus
  /** The number its `_seq` values start from. */
  readonly seq: number
  readonly runId: string
  readonly definitionVersion: string
  readonly vanished: boolean
}

/** All source partitions the ledger knows of a pipeline. */
export async function knownPartitions(session: Session, pipeline: string): Promise<Map<string, LedgerPartition>> {
  const { rows } = await session.query<{
    partition_key: string
    version: string | null
    stamp: JsonValue
    status: PartitionStatus
    seq: string | null
    run_id: string
    definition_version: string
    vanished: boolean
    state: JsonValue
  }>(
    `SELECT pp.partition_key, pp.version, sf.stamp, pp.status, pp.seq, pp.run_id, pp.definition_version,
            sf.vanished_at IS NOT NULL AS vanished, sp.position->'state' AS state
     FROM ops.processed_partitions pp
     LEFT JOIN ops.source_positions sp ON sp.pipeline_name = pp.pipeline_name AND sp.partition_key = pp.partition_key
     LEFT JOIN ops.source_files sf ON sf.pipeline_name = pp.pipeline_name AND sf.path = pp.partition_key
     WHERE pp.pipeline_name = $1`,
    [pipeline],
  )
  return new Map(
    rows.map((row) => [
      row.partition_key,
      {
        key: row.partition_key,
        version: row.version ?? "",
        stamp: row.stamp,
        status: row.status,
        seq: Number(row.seq),
        runId: row.run_id,
        definitionVersion: row.definition_version,
        vanished: row.vanished,
        state: row.state ?? undefined,
      },
    ]),
  )
}

/** The next numbers for partition versions, ascending. */
export async function takePartitionNumbers(session: Session, count: number): Promise<number[]> {
  if (count === 0) return []
  const { rows } = await session.query<{ n: string }>(
    `SELECT nextval('ops.partition_seq') AS n FROM generate_series(1, $1) ORDER BY 1`,
    [count],
  )
  return rows.map((row) => Number(row.n))
}

export interface PartitionOutcome {
  readonly key: string
  readonly status: "completed" | "held" | "failed"
  readonly version: string
  readonly seq: number
  readonly epoch: number
  readonly bytes: number | undefined
  readonly stamp: JsonValue
  /** What the source is to be told when it lists the partition again. */
  readonly state: JsonValue | undefined
  readonly counts: Readonly<Counts>
  /** What its rows were built from, as `pg_snapshot`; undefined: what this transaction sees. */
  readonly snapshot: string | undefined
  readonly error: { readonly code: string; readonly message: string; readonly hint: string | undefined } | undefined
}

/**
 * Moves the position of published partitions on, and marks the held ones' rows as seen by this commit; gives how many
 * rows were still under the given epochs. Fewer than asked for means that someone else took over: nothing may be written.
 */
export async function movePositions(
  session: Session,
  where: { pipeline: string; runId: string; commitId: string; table: string },
  outcomes: readonly PartitionOutcome[],
): Promise<number> {
  const { rowCount } = await session.query(
    `UPDATE ops.source_positions p
     SET position = CASE WHEN v.status = 'completed' THEN jsonb_build_object('version', v.version, 'table', $8::text, 'seq', v.seq) || v.state ELSE p.position END,
         run_id = $2, commit_id = $3, updated_at = now()
     FROM unnest($4::text[], $5::text[], $6::text[], $7::bigint[], $9::bigint[], $10::jsonb[]) v(key, status, version, epoch, seq, state)
     WHERE p.pipeline_name = $1 AND p.partition_key = v.key AND p.epoch = v.epoch`,
    [
      where.pipeline,
      where.runId,
      where.commitId,
      outcomes.map((o) => o.key),
      outcomes.map((o) => o.status),
      outcomes.map((o) => o.version),
      outcomes.map((o) => o.epoch),
      where.table,
      outcomes.map((o) => o.seq),
      outcomes.map((o) => JSON.stringify(o.state === undefined ? {} : { state: o.state })),
    ],
  )
  return rowCount
}

/** How many of these positions are still under the given epochs; nobody can take them over until the transaction ends. */
export async function lockPositions(
  session: Session,
  pipeline: string,
  epochs: readonly { readonly key: string; readonly epoch: number }[],
): Promise<number> {
  const { rowCount } = await session.query(
    `SELECT FROM ops.source_positions p JOIN unnest($2::text[], $3::bigint[]) v(key, epoch)
       ON p.partition_key = v.key AND p.epoch = v.epoch
     WHERE p.pipeline_name = $1 ORDER BY p.partition_key FOR SHARE OF p`,
    [pipeline, epochs.map((e) => e.key), epochs.map((e) => e.epoch)],
  )
  return rowCount
}

/**
 * Another pipeline that has published a partition of the same key into the same table: their rows could not be told apart.
 * Undefined when there is none.
 */
export async function rivalPipeline(
  session: Session,
  pipeline: string,
  table: string,
  keys: readonly string[],
): Promise<{ pipeline: string; partition: string } | undefined> {
  const { rows } = await session.query<{ pipeline_name: string; partition_key: string }>(
    `SELECT pipeline_name, partition_key FROM ops.source_positions
     WHERE pipeline_name <> $1 AND position->>'table' = $2 AND partition_key = ANY($3::text[]) LIMIT 1`,
    [pipeline, table, keys],
  )
  return rows[0] && { pipeline: rows[0].pipeline_name, partition: rows[0].partition_key }
}

/** What the table has of a partition, by the position that was committed with its rows. */
export interface PublishedVersion {
  readonly version: string
  /** The number its `_seq` values start from. */
  readonly seq: number
}

/** Which of these partitions have rows in the table, whatever the ledger was made to forget. */
export async function publishedBefore(
  session: Session,
  pipeline: string,
  keys: readonly string[],
): Promise<Map<string, PublishedVersion>> {
  const { rows } = await session.query<{ partition_key: string; version: string; seq: string }>(
    `SELECT partition_key, position->>'version' AS version, position->>'seq' AS seq FROM ops.source_positions
     WHERE pipeline_name = $1 AND partition_key = ANY($2::text[]) AND position <> 'null'`,
    [pipeline, keys],
  )
  return new Map(rows.map((row) => [row.partition_key, { version: row.version, seq: Number(row.seq) }]))
}

/** Whether the transaction that named itself `commitId` is there: asked when the answer to its COMMIT was lost. */
export async function commitIsThere(
  session: Session,
  pipeline: string,
  key: string,
  commitId: string,
): Promise<boolean> {
  const { rows } = await session.query(
    `SELECT FROM ops.source_positions WHERE pipeline_name = $1 AND partition_key = $2 AND commit_id = $3`,
    [pipeline, key, commitId],
  )
  return rows.length === 1
}

/** Writes the partition ledger and, for files, the file ledger. A held partition keeps the version and number it was published with. */
export async function recordOutcomes(
  session: Session,
  where: { pipeline: string; runId: string; definitionVersion: string; files: boolean; months: boolean },
  outcomes: readonly PartitionOutcome[],
): Promise<void> {
  const rows = JSON.stringify(outcomes.map(({ epoch: _epoch, state: _state, ...outcome }) => outcome))
  await session.query(
    `INSERT INTO ops.processed_partitions AS pp
       (pipeline_name, partition_key, status, version, seq, definition_version, snapshot, run_id, counts, error_code, error_message, error_hint, processed_at)
     SELECT $1, v.key, v.status, v.version, v.seq, $3, coalesce(v.snapshot, pg_current_snapshot()), $2, v.counts,
            v.error->>'code', v.error->>'message', v.error->>'hint', now()
     FROM jsonb_to_recordset($4) v(key text, status text, version text, seq bigint, counts jsonb, snapshot pg_snapshot, error jsonb)
     ON CONFLICT (pipeline_name, partition_key) DO UPDATE SET
       status = excluded.status, version = excluded.version, seq = excluded.seq, definition_version = excluded.definition_version,
       snapshot = excluded.snapshot, run_id = excluded.run_id, counts = excluded.counts, error_code = excluded.error_code,
       error_message = excluded.error_message, error_hint = excluded.error_hint, processed_at = excluded.processed_at, updated_at = now()`,
    [where.pipeline, where.runId, where.definitionVersion, rows],
  )
  if (where.months)
    await recordMonths(
      session,
      where.pipeline,
      outcomes.map(({ key, status }) => ({ key, status: status === "completed" ? status : "failed" })),
    )
  if (!where.files) return
  await session.query(
    `INSERT INTO ops.source_files AS sf (pipeline_name, path, size, content_hash, stamp, run_id)
     SELECT $1, v.key, v.bytes, v.version, coalesce(v.stamp, 'null'), $2
     FROM jsonb_to_recordset($3) v(key text, bytes bigint, version text, stamp jsonb)
     ON CONFLICT (pipeline_name, path) DO UPDATE SET
       size = excluded.size, content_hash = excluded.content_hash, stamp = excluded.stamp, run_id = excluded.run_id,
       last_seen = now(), vanished_at = NULL`,
    [where.pipeline, where.runId, rows],
  )
}

/** Says that partitions are being built; what was known of them stays until the outcome is. */
export async function markInProgress(
  session: Session,
  where: { pipeline: string; runId: string; definitionVersion: string; months: boolean },
  keys: readonly string[],
): Promise<void> {
  await session.query(
    `INSERT INTO ops.processed_partitions AS pp (pipeline_name, partition_key, status, definition_version, run_id)
     SELECT $1, key, 'in_progress', $3, $2 FROM unnest($4::text[]) key
     ON CONFLICT (pipeline_name, partition_key) DO UPDATE SET status = 'in_progress', run_id = excluded.run_id, updated_at = now()`,
    [where.pipeline, where.runId, where.definitionVersion, keys],
  )
  if (where.months)
    await recordMonths(
      session,
      where.pipeline,
      keys.map((key) => ({ key, status: "in_progress" })),
    )
}

/** Says of partitions that a run was building when it ended that they are not built, and why. */
export async function markUnfinished(
  session: Session,
  where: { pipeline: string; runId: string; months: boolean },
  error: { readonly code: string; readonly message: string; readonly hint: string | undefined },
): Promise<void> {
  const { rows } = await session.query<{ partition_key: string }>(
    `UPDATE ops.processed_partitions SET status = 'failed', error_code = $3, error_message = $4, error_hint = $5, updated_at = now()
     WHERE pipeline_name = $1 AND run_id = $2 AND status = 'in_progress' RETURNING partition_key`,
    [where.pipeline, where.runId, error.code, error.message, error.hint ?? null],
  )
  if (where.months)
    await recordMonths(
      session,
      where.pipeline,
      rows.map((row) => ({ key: row.partition_key, status: "failed" })),
    )
}

/** Keeps what the source now notes to recognise unchanged files cheaply. */
export async function refreshStamps(
  session: Session,
  pipeline: string,
  stamps: readonly { key: string; version: string; stamp: JsonValue }[],
): Promise<void> {
  if (stamps.length === 0) return
  await session.query(
    `UPDATE ops.source_files sf SET stamp = v.stamp, last_seen = now(), vanished_at = NULL
     FROM jsonb_to_recordset($2) v(key text, version text, stamp jsonb)
     WHERE sf.pipeline_name = $1 AND sf.path = v.key AND sf.content_hash = v.version`,
    [pipeline, JSON.stringify(stamps)],
  )
}

/** Notes which files are gone; gives those that were not noted before. */
export async function markVanished(session: Session, pipeline: string, keys: readonly string[]): Promise<string[]> {
  if (keys.length === 0) return []
  const { rows } = await session.query<{ path: string }>(
    `UPDATE ops.source_files SET vanished_at = now()
     WHERE pipeline_name = $1 AND path = ANY($2::text[]) AND vanished_at IS NULL RETURNING path`,
    [pipeline, keys],
  )
  return rows.map((row) => row.path).sort()
}
