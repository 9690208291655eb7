import type { Session } from "../postgres/session.ts"
import { storableJson, storablePrefix, storableText } from "./storable.ts"

/** Ascending in weight. */
export const logLevels = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] as const
export type LogLevel = (typeof logLevels)[number]

/** One line of the log, wherever it is written. */
export interface LogLine {
  /** Milliseconds since the epoch. */
  readonly time: number
  readonly level: LogLevel
  readonly message: string
  readonly pipeline: string
  readonly runId: string
  /** The named stage it is about: `run`, `read`, `stage`, `gate`, `publish`. */
  readonly step: string
  readonly correlationId: string | undefined
  readonly metadata: Readonly<Record<string, unknown>>
}

export async function insertLogs(session: Session, lines: readonly LogLine[]): Promise<void> {
  if (lines.length === 0) return
  await session.query(
    `INSERT INTO ops.pipeline_logs (timestamp, level, message, logger, pipeline_name, run_id, module, metadata)
     SELECT to_timestamp(v.time / 1000.0), v.level, v.message, 'spillway', v.pipeline, v.run_id, v.step, v.metadata::jsonb
     FROM unnest($1::float8[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
       WITH ORDINALITY v(time, level, message, pipeline, run_id, step, metadata, n)
     ORDER BY v.n`,
    [
      lines.map((line) => line.time),
      lines.map((line) => line.level),
      lines.map((line) => storableText(line.message)),
      lines.map((line) => storablePrefix(line.pipeline, 100)),
      lines.map((line) => storablePrefix(line.runId, 50)),
      lines.map((line) => storablePrefix(line.step, 100)),
      lines.map((line) => storableJson({ ...line.metadata, correlation_id: line.correlationId })),
    ],
  )
}

export interface LogFilter {
  readonly runId?: string | undefined
  readonly correlationId?: string | undefined
  readonly pipeline?: string | undefined
  /** This level and all above. */
  readonly level?: LogLevel | undefined
  readonly since?: Date | undefined
  /** Only lines written after the one with this id. */
  readonly afterId?: string | undefined
  /** The newest so many. */
  readonly limit: number
}

export interface StoredLogLine extends LogLine {
  /** Ascending in the order of writing. */
  readonly id: string
}

/** The newest lines that pass the filter, oldest first. */
export async function readLogs(session: Session, filter: LogFilter): Promise<StoredLogLine[]> {
  const { rows } = await session.query<{
    id: string
    timestamp: Date
    level: LogLevel
    message: string
    pipeline_name: string | null
    run_id: string | null
    module: string | null
    metadata: Record<string, unknown> | null
  }>(
    `SELECT id::text, timestamp, level, message, pipeline_name, run_id, module, metadata FROM (
       SELECT * FROM ops.pipeline_logs
       WHERE ($1::text IS NULL OR run_id = $1)
         AND ($2::text IS NULL OR metadata->>'correlation_id' = $2)
         AND ($3::text IS NULL OR pipeline_name = $3)
         AND ($4::text[] IS NULL OR level = ANY($4))
         AND ($5::timestamptz IS NULL OR timestamp >= $5)
         AND ($6::bigint IS NULL OR id > $6)
       ORDER BY id DESC LIMIT $7
     ) newest ORDER BY newest.id`,
    [
      filter.runId ?? null,
      filter.correlationId ?? null,
      filter.pipeline ?? null,
      filter.level === undefined ? null : logLevels.slice(logLevels.indexOf(filter.level)),
      filter.since ?? null,
      filter.afterId ?? null,
      filter.limit,
    ],
  )
  return rows.map((row) => {
    const { correlation_id: correlation, ...metadata } = row.metadata ?? {}
    return {
      id: row.id,
      time: row.timestamp.getTime(),
      level: row.level,
      message: row.message,
      pipeline: row.pipeline_name ?? "",
      runId: row.run_id ?? "",
      step: row.module ?? "",
      correlationId: typeof correlation === "string" ? correlation : undefined,
      metadata,
    }
  })
}
