import type { Session } from "../postgres/session.ts"

/** A dead letter on its way from staging to `ops.dead_letters`. */
export interface StagedLetter {
  readonly id: string
  readonly fingerprint: string
  readonly ordinal: number
  /** JSON text, as are `faults`, `record` and `oversize`. */
  readonly source: string
  readonly step: string
  readonly errorCode: string
  readonly errorMessage: string
  readonly rule: string | undefined
  readonly path: string | undefined
  readonly faults: string
  readonly record: string | undefined
  readonly raw: Uint8Array
  readonly oversize: string | undefined
}

/** Stages letters with the rows of their batch. */
export async function stageLetters(
  session: Session,
  runId: string,
  partitionNo: number,
  letters: readonly StagedLetter[],
): Promise<void> {
  if (letters.length === 0) return
  await session.query(
    `INSERT INTO ops_staging.dead_letters
       (run_id, partition_no, id, fingerprint, ordinal, source, step, error_code, error_msg, rule, path, faults, record, raw, oversize)
     SELECT $1, $2, v.* FROM unnest($3::text[], $4::text[], $5::bigint[], $6::jsonb[], $7::text[], $8::text[], $9::text[], $10::text[],
       $11::text[], $12::jsonb[], $13::jsonb[], $14::bytea[], $15::jsonb[]) v`,
    [
      runId,
      partitionNo,
      letters.map((l) => l.id),
      letters.map((l) => l.fingerprint),
      letters.map((l) => l.ordinal),
      letters.map((l) => l.source),
      letters.map((l) => l.step),
      letters.map((l) => l.errorCode),
      letters.map((l) => l.errorMessage),
      letters.map((l) => l.rule ?? null),
      letters.map((l) => l.path ?? null),
      letters.map((l) => l.faults),
      letters.map((l) => l.record ?? null),
      letters.map((l) => Buffer.from(l.raw.buffer, l.raw.byteOffset, l.raw.byteLength)),
      letters.map((l) => l.oversize ?? null),
    ],
  )
}

/**
 * Makes the staged letters of these partitions part of `ops.dead_letters`. A letter that is known already stays as it is
 * (also replayed or discarded), but one that was superseded is pending again. Gives how many were new.
 */
export async function commitLetters(
  session: Session,
  where: { pipeline: string; runId: string; correlationId: string | undefined; schemaVersion: string },
  partitions: ReadonlyMap<number, string>,
): Promise<number> {
  const { rows } = await session.query<{ fresh: boolean }>(
    `INSERT INTO ops.dead_letters AS d
       (id, fingerprint, pipeline_name, run_id, correlation_id, partition_key, ordinal, source, step, error_code, error_msg, rule, path,
        faults, record, raw, oversize, schema_version)
     SELECT s.id, s.fingerprint, $1, $2::text, $3, v.key, s.ordinal, s.source, s.step, s.error_code, s.error_msg, s.rule, s.path,
            s.faults, s.record, s.raw, s.oversize, $4
     FROM ops_staging.dead_letters s JOIN unnest($5::int[], $6::text[]) v(no, key) ON s.partition_no = v.no
     WHERE s.run_id = $2::text
     ORDER BY s.partition_no, s.ordinal
     ON CONFLICT (id) DO UPDATE SET
       status = 'pending', status_reason = NULL, last_seen = now(), run_id = excluded.run_id, fingerprint = excluded.fingerprint, step = excluded.step,
       error_code = excluded.error_code, error_msg = excluded.error_msg, rule = excluded.rule, path = excluded.path,
       faults = excluded.faults, record = excluded.record, schema_version = excluded.schema_version
     WHERE d.status = 'superseded' OR (d.status = 'pending' AND d.fingerprint <> excluded.fingerprint)
     RETURNING d.attempts = 1 AND d.first_seen = now() AS fresh`,
    [
      where.pipeline,
      where.runId,
      where.correlationId ?? null,
      where.schemaVersion,
      [...partitions.keys()],
      [...partitions.values()],
    ],
  )
  return rows.filter((row) => row.fresh).length
}

/** Marks letters as superseded whose record was corrected or is gone: these partitions were read to their end without them. */
export async function supersedeLetters(
  session: Session,
  pipeline: string,
  runId: string,
  partitions: ReadonlyMap<number, string>,
): Promise<number> {
  const { rowCount } = await session.query(
    `UPDATE ops.dead_letters d SET status = 'superseded', status_reason = 'the source no longer has this record', last_seen = now()
     FROM unnest($3::int[], $4::text[]) v(no, key)
     WHERE d.pipeline_name = $1 AND d.partition_key = v.key AND d.status IN ('pending', 'poisoned')
       AND NOT EXISTS (SELECT FROM ops_staging.dead_letters s WHERE s.run_id = $2 AND s.partition_no = v.no AND s.id = d.id)`,
    [pipeline, runId, [...partitions.keys()], [...partitions.values()]],
  )
  return rowCount
}
