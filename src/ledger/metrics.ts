import type { Session } from "../postgres/session.ts"
import { storableJson } from "./storable.ts"

export interface Metric {
  /** Milliseconds since the epoch. */
  readonly time: number
  readonly pipeline: string
  readonly runId: string
  /** `pipeline.<stage>[.<dataset>].<metric>` or `dq.<table>.<metric>`. */
  readonly name: string
  readonly value: number
  /** `counter`: of this run alone; `gauge`: a level or a ratio. */
  readonly type: "counter" | "gauge"
  readonly dims: Readonly<Record<string, string>>
}

export async function insertMetrics(session: Session, metrics: readonly Metric[]): Promise<void> {
  if (metrics.length === 0) return
  await session.query(
    `INSERT INTO ops.metrics (ts, run_id, pipeline_name, metric_name, metric_value, metric_type, dims)
     SELECT to_timestamp(v.time / 1000.0), v.run_id, v.pipeline, v.name, v.value, v.type, v.dims::jsonb
     FROM unnest($1::float8[], $2::text[], $3::text[], $4::text[], $5::float8[], $6::text[], $7::text[])
       WITH ORDINALITY v(time, run_id, pipeline, name, value, type, dims, n)
     ORDER BY v.n`,
    [
      metrics.map((metric) => metric.time),
      metrics.map((metric) => metric.runId),
      metrics.map((metric) => metric.pipeline),
      metrics.map((metric) => metric.name),
      metrics.map((metric) => metric.value),
      metrics.map((metric) => metric.type),
      metrics.map((metric) => storableJson(metric.dims)),
    ],
  )
}

/** A run that goes on under the same id gives its metrics anew, over all its attempts. */
export async function deleteMetrics(session: Session, runId: string): Promise<void> {
  await session.query(`DELETE FROM ops.metrics WHERE run_id = $1`, [runId])
}
