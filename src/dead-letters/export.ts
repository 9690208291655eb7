import type { Session } from "../postgres/session.ts"

export interface LetterFilter {
  pipeline?: string | undefined
  code?: string | undefined
  /** Default: all. */
  status?: string | undefined
  /** Last seen at or after. */
  since?: Date | undefined
}

/** Letters fetched at a time. */
const PAGE = 1_000

/** A row of `ops.dead_letters` with these columns; `ts` is its `first_seen`. */
export interface LetterRow {
  /** `first_seen` with its microseconds, which a Date has no room for. */
  cursor: string
  partition_key: string
  ordinal: string
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
  replay_of: string | null
  schema_version: string
}

/** The letters as JSONL, one line each without its line end, oldest first; the first four keys are `ts, error_code, error_msg, record`. */
export async function* exportDeadLetters(session: Session, filter: LetterFilter): AsyncIterable<string> {
  let after: LetterRow | undefined
  for (;;) {
    const { rows } = await session.query<LetterRow>(
      `SELECT id, first_seen AS ts, first_seen::text AS cursor, partition_key, ordinal, fingerprint, pipeline_name, run_id, correlation_id, source, step, error_code,
              error_msg, rule, path, faults, record, raw, oversize, attempts, first_seen, last_seen, status, replay_of, schema_version
       FROM ops.dead_letters
       WHERE ($1::text IS NULL OR pipeline_name = $1) AND ($2::text IS NULL OR error_code = $2) AND ($3::text IS NULL OR status = $3)
         AND ($4::timestamptz IS NULL OR last_seen >= $4)
         AND ($5::timestamptz IS NULL OR (first_seen, partition_key, ordinal, id) > ($5, $6, $7, $8))
       ORDER BY first_seen, partition_key, ordinal, id LIMIT ${PAGE}`,
      [
        filter.pipeline ?? null,
        filter.code ?? null,
        filter.status ?? null,
        filter.since ?? null,
        after?.cursor ?? null,
        after?.partition_key ?? null,
        after?.ordinal ?? null,
        after?.id ?? null,
      ],
    )
    for (const row of rows) yield JSON.stringify(envelope(row))
    const last = rows.at(-1)
    if (last === undefined || rows.length < PAGE) return
    after = last
  }
}

/** The envelope of a letter; `raw` is base64, named by `raw_encoding`, where its bytes are not UTF-8. */
export function envelope(row: Omit<LetterRow, "cursor" | "partition_key" | "ordinal">): Record<string, unknown> {
  const text = decode(row.raw)
  return {
    ts: row.ts.toISOString(),
    error_code: row.error_code,
    error_msg: row.error_msg,
    record: row.record,
    id: row.id,
    fingerprint: row.fingerprint,
    pipeline_name: row.pipeline_name,
    run_id: row.run_id,
    correlation_id: row.correlation_id,
    step: row.step,
    rule: row.rule,
    path: row.path,
    faults: row.faults,
    source: row.source,
    raw: text ?? row.raw.toString("base64"),
    ...(text === undefined ? { raw_encoding: "base64" } : {}),
    ...(row.oversize === null ? {} : { oversize: row.oversize }),
    attempts: row.attempts,
    first_seen: row.first_seen.toISOString(),
    last_seen: row.last_seen.toISOString(),
    status: row.status,
    replay_of: row.replay_of,
    schema_version: row.schema_version,
  }
}

function decode(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}
