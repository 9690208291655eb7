import type { Session } from "../postgres/session.ts"
import { clearProgress } from "./progress.ts"

/**
 * Drops the staging tables that earlier runs of a pipeline left behind, except those that run `keep` can continue from and
 * those of runs whose holder still has leases.
 */
export async function dropStaging(session: Session, pipeline: string, keep: number): Promise<void> {
  const { rows } = await session.query<{ relname: string; run_id: string; own: boolean }>(
    `SELECT c.relname, r.run_id, r.run_no = $2 AS own
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'ops_staging'
     JOIN ops.runs r ON r.run_no = split_part(c.relname, '_', 2)::bigint
     WHERE r.pipeline_name = $1 AND c.relname ~ '^run_[0-9]+_[0-9]+$'
       AND CASE WHEN r.run_no = $2
             THEN NOT EXISTS (SELECT FROM ops_staging.progress p WHERE p.run_id = r.run_id AND c.relname = 'run_' || r.run_no || '_' || p.group_no)
             ELSE NOT EXISTS (SELECT FROM ops.leases l WHERE l.holder = r.holder) END`,
    [pipeline, keep],
  )
  for (const row of rows) await session.query(`DROP TABLE IF EXISTS ops_staging.${row.relname}`)
  for (const runId of new Set(rows.filter((row) => !row.own).map((row) => row.run_id)))
    await clearProgress(session, runId)
}
