// What no run leaves behind when it has come to its end.

/** Queries that give nothing when all is well. */
export const LEFT_OVER: Readonly<Record<string, string>> = {
  "a lease is held": `SELECT pipeline_name || ' ' || partition_key || ' by ' || holder AS line FROM ops.leases WHERE holder IS NOT NULL`,
  "a run is open": `SELECT pipeline_name || ' ' || run_id || ' ' || status AS line FROM ops.runs WHERE status = 'running' OR holder IS NOT NULL`,
  "a checkpoint is open": `SELECT run_id || ' ' || stage || ' ' || checkpoint_key AS line FROM ops.pipeline_checkpoint WHERE status = 'in_progress'`,
  "a staging table is left": `SELECT relname AS line FROM pg_class WHERE relnamespace = 'ops_staging'::regnamespace AND relkind = 'r'
                                AND relname NOT IN ('progress', 'dead_letters')`,
  "progress is left": `SELECT run_id || ' ' || partition_key AS line FROM ops_staging.progress`,
  "a staged letter is left": `SELECT run_id || ' ' || id AS line FROM ops_staging.dead_letters`,
}

/** What there is of it; `lines` asks a database. */
export async function whatIsLeft(
  queries: Readonly<Record<string, string>>,
  lines: (query: string) => Promise<readonly string[]>,
): Promise<string[]> {
  const faults: string[] = []
  for (const [what, query] of Object.entries(queries)) {
    const found = await lines(query)
    if (found.length > 0) faults.push(`${what}, ${found.length} times: ${found[0]}`)
  }
  return faults
}
