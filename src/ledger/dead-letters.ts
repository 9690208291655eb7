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

/** Letters as COPY text, for `stageLetters`. */
export function letterLines(runId: string, partitionNo: number, letters: readonly StagedLetter[]): Buffer {
  const lines = letters.map((l) =>
    [
      ...[runId, String(partitionNo), l.id, l.fingerprint, String(l.ordinal), l.source, l.step, l.errorCode],
      ...[l.errorMessage, l.rule, l.path, l.faults, l.record, bytea(l.raw), l.oversize],
    ]
      .map(copyField)
      .join("\t"),
  )
  return Buffer.from(lines.map((line) => `${line}\n`).join(""))
}

/** Stages letters with the rows of their batch. */
export async function stageLetters(session: Session, lines: Buffer): Promise<void> {
  if (lines.length > 0) await session.copyIn(`COPY ops_staging.dead_letters (${STAGED_COLUMNS}) FROM STDIN`, lines)
}

/** Bytes as `bytea` reads them: printable text as it stands, with half the length, or else hexadecimal. */
function bytea(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const text = buffer.toString("latin1")
  return PRINTABLE.test(text) ? text : `\\x${buffer.toString("hex")}`
}

const PRINTABLE = /^[\x20-\x5b\x5d-\x7e]*$/

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
  partitions: ReadonlyMap<number, { readonly key: string; readonly seq: number }>,
): Promise<void> {
  await session.query(
    `INSERT INTO ops.dead_letters AS d
       (id, fingerprint, pipeline_name, run_id, correlation_id, partition_key, ordinal, seq, source, step, error_code, error_msg, rule, path,
        faults, record, raw, oversize, schema_version)
     SELECT s.id, s.fingerprint, $1, $2::text, $3, v.key, s.ordinal, v.seq, s.source, s.step, s.error_code, s.error_msg, s.rule, s.path,
            s.faults, s.record, s.raw, s.oversize, $4
     FROM ops_staging.dead_letters s JOIN unnest($5::int[], $6::text[], $7::bigint[]) v(no, key, seq) ON s.partition_no = v.no
     WHERE s.run_id = $2::text
     ORDER BY s.partition_no, s.ordinal
     ON CONFLICT (id) DO UPDATE SET
       status = 'pending', status_reason = NULL, last_seen = now(), seen_in = excluded.seen_in, run_id = excluded.run_id, seq = excluded.seq, fingerprint = excluded.fingerprint, step = excluded.step,
       error_code = excluded.error_code, error_msg = excluded.error_msg, rule = excluded.rule, path = excluded.path,
       faults = excluded.faults, record = excluded.record, schema_version = excluded.schema_version
     WHERE d.status = 'superseded' OR (d.status = 'pending' AND (d.fingerprint <> excluded.fingerprint OR d.seq IS DISTINCT FROM excluded.seq))`,
    [
      where.pipeline,
      where.runId,
      where.correlationId ?? null,
      where.schemaVersion,
      [...partitions.keys()],
      [...partitions.values()].map(({ key }) => key),
      [...partitions.values()].map(({ seq }) => seq),
    ],
  )
}

/**
 * Where the rows stand that were loaded by replaying letters of these partitions, and whose letters this run has staged again: the
 * source still says the same, so what was made of it stays.
 */
export async function replayedLetters(
  session: Session,
  where: { readonly pipeline: string; readonly runId: string },
  partitions: readonly string[],
): Promise<{ source: string; position: number }[]> {
  if (partitions.length === 0) return []
  const { rows } = await session.query<{ source: string; position: string }>(
    `SELECT d.partition_key AS source, d.ordinal AS position
     FROM ops_staging.dead_letters s JOIN ops.dead_letters d USING (id)
     WHERE s.run_id = $1 AND d.pipeline_name = $2 AND d.status = 'replayed' AND d.partition_key = ANY($3::text[])`,
    [where.runId, where.pipeline, partitions],
  )
  return rows.map(({ source, position }) => ({ source, position: Number(position) }))
}

/**
 * Marks letters as superseded whose record was corrected or is gone: these partitions were read to their end without them, from the
 * start or behind the ordinal `after`.
 */
export async function supersedeLetters(
  session: Session,
  pipeline: string,
  runId: string,
  partitions: ReadonlyMap<number, { readonly key: string; readonly after?: number | undefined }>,
): Promise<number> {
  const { rowCount } = await session.query(
    `UPDATE ops.dead_letters d SET status = 'superseded', status_reason = 'the source no longer has this record', last_seen = now()
     FROM unnest($3::int[], $4::text[], $5::bigint[]) v(no, key, after)
     WHERE d.pipeline_name = $1 AND d.partition_key = v.key AND d.ordinal > v.after AND d.status IN ('pending', 'poisoned', 'replayed')
       AND NOT EXISTS (SELECT FROM ops_staging.dead_letters s WHERE s.run_id = $2 AND s.partition_no = v.no AND s.id = d.id)`,
    [
      pipeline,
      runId,
      [...partitions.keys()],
      [...partitions.values()].map(({ key }) => key),
      [...partitions.values()].map(({ after }) => after ?? 0),
    ],
  )
  return rowCount
}
