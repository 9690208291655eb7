import type { Session } from "../postgres/session.ts"
import type { LetterCondition } from "./dead-letter-triage.ts"

/** A dead letter as the ledger keeps it. `ts` is its `first_seen`. */
export interface StoredLetter {
  id: string
  ts: Date
  fingerprint: string
  pipeline_name: string
  run_id: string
  correlation_id: string | null
  source: Record<string, unknown>
  step: string
  error_code: string
  error_msg: string
  rule: string | null
  path: string | null
  faults: unknown
  record: unknown
  raw: Buffer
  oversize: unknown
  attempts: number
  first_seen: Date
  last_seen: Date
  status: string
  status_reason: string | null
  replay_of: string | null
  schema_version: string
}

const COLUMNS = `d.id, d.first_seen AS ts, d.fingerprint, d.pipeline_name, d.run_id, d.correlation_id, d.source, d.step, d.error_code, d.error_msg, d.rule, d.path,
  d.faults, d.record, d.raw, d.oversize, d.attempts, d.first_seen, d.last_seen, d.status, d.status_reason, d.replay_of, d.schema_version`

/** The letters that a condition chooses, newest first. */
export async function readLetters(session: Session, where: LetterCondition, limit: number): Promise<StoredLetter[]> {
  const { rows } = await session.query<StoredLetter>(
    `SELECT ${COLUMNS} FROM ops.dead_letters d WHERE ${where.sql} ORDER BY d.last_seen DESC, d.partition_key, d.ordinal, d.id LIMIT ${limit}`,
    where.values,
  )
  return rows
}

/** The first `each` letters of each of these groups that a condition chooses. */
export async function readSamples(
  session: Session,
  where: LetterCondition,
  fingerprints: readonly string[],
  each: number,
): Promise<StoredLetter[]> {
  const { rows } = await session.query<StoredLetter>(
    `SELECT s.* FROM unnest($${where.values.length + 1}::text[]) WITH ORDINALITY g(fingerprint, no) CROSS JOIN LATERAL (
       SELECT ${COLUMNS} FROM ops.dead_letters d WHERE d.fingerprint = g.fingerprint AND ${where.sql}
       ORDER BY d.first_seen, d.partition_key, d.ordinal, d.id LIMIT ${each}) s
     ORDER BY g.no, s.first_seen`,
    [...where.values, fingerprints],
  )
  return rows
}

/** Letters by group and status that a condition chooses: what an operation on them would meet. */
export async function countLetters(
  session: Session,
  where: LetterCondition,
): Promise<{ fingerprint: string; code: string; status: string; letters: number }[]> {
  const { rows } = await session.query<{ fingerprint: string; code: string; status: string; letters: string }>(
    `SELECT d.fingerprint, min(d.error_code) AS code, d.status, count(*) AS letters FROM ops.dead_letters d
     WHERE ${where.sql} GROUP BY d.fingerprint, d.status ORDER BY letters DESC, d.fingerprint, d.status`,
    where.values,
  )
  return rows.map((row) => ({ ...row, letters: Number(row.letters) }))
}

/** Discards the open letters (pending or poisoned) that a condition chooses; how many. */
export async function discardLetters(session: Session, where: LetterCondition, reason: string): Promise<number> {
  const { rowCount } = await session.query(
    `UPDATE ops.dead_letters d SET status = 'discarded', status_reason = $${where.values.length + 1}
     WHERE ${where.sql} AND d.status IN ('pending', 'poisoned')`,
    [...where.values, reason],
  )
  return rowCount
}

/** A letter from outside; `source`, `faults` and `record` as JSON text, times as ISO text. */
export interface ImportedLetter {
  readonly id: string
  readonly fingerprint: string
  readonly pipeline: string
  readonly runId: string
  readonly correlationId: string | undefined
  readonly partition: string
  readonly ordinal: number
  readonly source: string
  readonly step: string
  readonly code: string
  readonly message: string
  readonly rule: string | undefined
  readonly path: string | undefined
  readonly faults: string
  readonly record: string | undefined
  readonly raw: Buffer
  readonly attempts: number
  readonly status: string
  readonly firstSeen: string
  readonly lastSeen: string
  readonly schemaVersion: string
}

/** Adds letters; those whose id is there already stay as they are. How many were added. */
export async function addLetters(session: Session, letters: readonly ImportedLetter[]): Promise<number> {
  const column = (of: (letter: ImportedLetter) => unknown): unknown[] => letters.map(of)
  const { rowCount } = await session.query(
    `INSERT INTO ops.dead_letters (id, fingerprint, pipeline_name, run_id, correlation_id, partition_key, ordinal, source, step, error_code,
       error_msg, rule, path, faults, record, raw, attempts, first_seen, last_seen, schema_version, status)
     SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::jsonb[], $9::text[], $10::text[],
       $11::text[], $12::text[], $13::text[], $14::jsonb[], $15::jsonb[], $16::bytea[], $17::int[], $18::timestamptz[], $19::timestamptz[], $20::text[], $21::text[])
     ON CONFLICT (id) DO NOTHING`,
    [
      column((l) => l.id),
      column((l) => l.fingerprint),
      column((l) => l.pipeline),
      column((l) => l.runId),
      column((l) => l.correlationId ?? null),
      column((l) => l.partition),
      column((l) => l.ordinal),
      column((l) => l.source),
      column((l) => l.step),
      column((l) => l.code),
      column((l) => l.message),
      column((l) => l.rule ?? null),
      column((l) => l.path ?? null),
      column((l) => l.faults),
      column((l) => l.record ?? null),
      column((l) => `\\x${l.raw.toString("hex")}`),
      column((l) => l.attempts),
      column((l) => l.firstSeen),
      column((l) => l.lastSeen),
      column((l) => l.schemaVersion),
      column((l) => l.status),
    ],
  )
  return rowCount
}
