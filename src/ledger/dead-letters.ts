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

const STAGED_COLUMNS =
  "run_id, partition_no, id, fingerprint, ordinal, source, step, error_code, error_msg, rule, path, faults, record, raw, oversize"

/** Stages letters with the rows of their batch. */
export async function stageLetters(
  session: Session,
  runId: string,
  partitionNo: number,
  letters: readonly StagedLetter[],
): Promise<void> {
  if (letters.length === 0) return
  const lines = letters.map((l) =>
    [
      ...[runId, String(partitionNo), l.id, l.fingerprint, String(l.ordinal), l.source, l.step, l.errorCode],
      ...[l.errorMessage, l.rule, l.path, l.faults, l.record, `\\x${hex(l.raw)}`, l.oversize],
    ]
      .map(copyField)
      .join("\t"),
  )
  await session.copyIn(
    `COPY ops_staging.dead_letters (${STAGED_COLUMNS}) FROM STDIN`,
    Buffer.from(`${lines.join("\n")}\n`),
  )
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex")

const ESCAPES: Readonly<Record<string, string>> = { "\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r" }

/** A value in COPY's text format. */
const copyField = (value: string | undefined): string =>
  value === undefined ? "\\N" : value.replace(/[\\\t\n\r]/g, (character) => ESCAPES[character] ?? character)

/**
 * Makes the staged letters of these partitions part of `ops.dead_letters`. A letter that is known already stays as it is
 * (also replayed or discarded), but one that was superseded is pending again.
 */
export async function commitLetters(
  session: Session,
  where: { pipeline: string; runId: string; correlationId: string | undefined; schemaVersion: string },
  partitions: ReadonlyMap<number, string>,
): Promise<void> {
  await session.query(
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
     WHERE d.status = 'superseded' OR (d.status = 'pending' AND d.fingerprint <> excluded.fingerprint)`,
    [
      where.pipeline,
      where.runId,
      where.correlationId ?? null,
      where.schemaVersion,
      [...partitions.keys()],
      [...partitions.values()],
    ],
  )
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
