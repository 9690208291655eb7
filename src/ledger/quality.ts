import type { Session } from "../postgres/session.ts"

export interface QualityResult {
  readonly partition: string
  readonly check: string
  readonly severity: "warn" | "fail"
  readonly passed: boolean
  readonly observed: number | null
  readonly message: string
  readonly samples: readonly unknown[]
}

/** Keeps what the gate found. */
export async function insertQualityResults(
  session: Session,
  where: { pipeline: string; runId: string; table: string },
  results: readonly QualityResult[],
): Promise<void> {
  if (results.length === 0) return
  await session.query(
    `INSERT INTO ops.quality_results (run_id, pipeline_name, table_name, partition_key, check_name, severity, passed, observed, message, samples)
     SELECT $1, $2, $3, v.* FROM jsonb_to_recordset($4)
       v(partition text, "check" text, severity text, passed boolean, observed double precision, message text, samples jsonb)`,
    [where.runId, where.pipeline, where.table, JSON.stringify(results)],
  )
}
