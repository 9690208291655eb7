import { SpillwayError } from "../core/errors.ts"
import type { Session } from "../postgres/session.ts"

/** Names of pipelines that the ledger knows: they have run, or have partitions. */
export async function rememberedPipelines(session: Session): Promise<string[]> {
  const { rows } = await session.query<{ name: string }>(
    `SELECT pipeline_name AS name FROM ops.runs UNION SELECT pipeline_name FROM ops.processed_partitions
     UNION SELECT pipeline_name FROM ops.processed_months ORDER BY name`,
  )
  return rows.map((row) => row.name)
}

/** The partitions of a pipeline that the ledger says anything of, by key: what `forgetPartitions` can forget. */
export async function rememberedPartitions(session: Session, pipeline: string): Promise<string[]> {
  const { rows } = await session.query<{ key: string }>(
    `SELECT key FROM (
       SELECT partition_key AS key FROM ops.processed_partitions WHERE pipeline_name = $1
       UNION SELECT month_key FROM ops.processed_months WHERE pipeline_name = $1
     ) remembered ORDER BY key COLLATE "C"`,
    [pipeline],
  )
  return rows.map((row) => row.key)
}

/**
 * Forgets that these partitions of a pipeline were processed, so that the next run processes them again; gives how many
 * there were. The rows of the table stay. All in one transaction. Throws `LEASE_HELD` while somebody holds one of them.
 */
export async function forgetPartitions(session: Session, pipeline: string, keys: readonly string[]): Promise<number> {
  return session.transaction(async () => {
    await requireFree(session, pipeline, keys)
    const { rows } = await session.query<{ forgotten: number }>(
      `WITH partitions AS (
         DELETE FROM ops.processed_partitions WHERE pipeline_name = $1 AND partition_key = ANY($2::text[]) RETURNING partition_key AS key
       ), months AS (
         DELETE FROM ops.processed_months WHERE pipeline_name = $1 AND month_key = ANY($2::text[]) RETURNING month_key AS key
       )
       SELECT count(*)::int AS forgotten FROM (SELECT key FROM partitions UNION SELECT key FROM months) gone`,
      [pipeline, keys],
    )
    return rows[0]?.forgotten ?? 0
  })
}

/** Locks the leases until the transaction ends, so that nobody takes one meanwhile. */
async function requireFree(session: Session, pipeline: string, keys: readonly string[]): Promise<void> {
  const { rows } = await session.query<{
    partition_key: string
    run_id: string | null
    host: string | null
    process_id: number | null
    expires_at: Date
    living: boolean
  }>(
    `SELECT partition_key, run_id, host, process_id, expires_at,
            expires_at > clock_timestamp() OR EXISTS (SELECT FROM pg_stat_activity a WHERE a.application_name = 'spillway/' || holder) AS living
     FROM ops.leases WHERE pipeline_name = $1 AND partition_key = ANY($2::text[]) AND holder IS NOT NULL
     ORDER BY partition_key FOR UPDATE`,
    [pipeline, keys],
  )
  const held = rows.filter((row) => row.living)
  const first = held[0]
  if (first === undefined) return
  const what = held.length === 1 ? first.partition_key : `${held.length} partitions (${first.partition_key} …)`
  throw new SpillwayError(
    "LEASE_HELD",
    `run ${first.run_id ?? "(starting)"} (process ${first.process_id ?? 0} on ${first.host ?? "?"}) is at work on ${what} of "${pipeline}"`,
    {
      where: `pipeline ${pipeline}`,
      hint: `stop it or wait until it ends, then reset again; if its process is gone, its lease ends at ${first.expires_at.toISOString()}`,
    },
  )
}
