// What a database has of the events of the API, against the API's own list.
import pg from "pg"
import type { Truth } from "../../examples/analytics-api/event-list.ts"

/** JSON with keys in one order. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  if (typeof value !== "object" || value === null) return JSON.stringify(value)
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${entries.map(([key, inner]) => `${JSON.stringify(key)}:${canonical(inner)}`).join()}}`
}

const ROWS = `
  SELECT jsonb_build_object('user_id', user_id, 'event_type', event_type, 'properties', properties, 'session_id', session_id,
           'timestamp', to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')) AS value
  FROM analytics.events`

const LETTERS = `SELECT convert_from(raw, 'UTF8')::jsonb AS value FROM ops.dead_letters WHERE status = 'pending'`

/** Queries that give nothing when all is well. */
const LEFT_OVER: Readonly<Record<string, string>> = {
  "a partition that is not completed": `SELECT partition_key || ' ' || status AS line FROM ops.processed_partitions WHERE status <> 'completed'`,
  "a partition that is not in balance": `SELECT partition_key || ' ' || counts AS line FROM ops.processed_partitions
     WHERE (counts->>'read')::int + (counts->>'expanded')::int <> (counts->>'inserted')::int + (counts->>'updated')::int + (counts->>'unchanged')::int
         + (counts->>'duplicate')::int + (counts->>'superseded')::int + (counts->>'filtered')::int + (counts->>'deadLettered')::int`,
  "an open checkpoint": `SELECT run_id || ' ' || stage || ' ' || checkpoint_key AS line FROM ops.pipeline_checkpoint WHERE status = 'in_progress'`,
  "a lease": `SELECT partition_key AS line FROM ops.leases WHERE holder IS NOT NULL`,
  "an open run": `SELECT run_id AS line FROM ops.runs WHERE status = 'running' OR holder IS NOT NULL`,
  "staged progress": `SELECT run_id || ' ' || partition_key AS line FROM ops_staging.progress`,
  "a staged letter": `SELECT run_id || ' ' || id AS line FROM ops_staging.dead_letters`,
  "a staging table": `SELECT relname AS line FROM pg_class WHERE relnamespace = 'ops_staging'::regnamespace AND relkind = 'r'
                        AND relname NOT IN ('progress', 'dead_letters')`,
}

const NOT_PENDING = {
  "a letter that is not pending": `SELECT id || ' ' || status AS line FROM ops.dead_letters WHERE status <> 'pending'`,
}

/**
 * What is wrong with a database after a run that came to its end: nothing, when it has just what the API says it gave out. `isMended`: the API gave
 * out some of it otherwise before; letters of that are superseded.
 */
export async function differencesFrom(truth: Truth, url: string, isMended = false): Promise<string[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const values = async (sql: string): Promise<string[]> =>
      (await client.query<{ value: unknown }>(sql)).rows.map(({ value }) => canonical(value))
    const faults = [
      ...differences("events", await values(ROWS), truth.valid.map(canonical)),
      ...differences(
        "dead letters",
        await values(LETTERS),
        truth.bad.map(({ sent }) => canonical(sent)),
      ),
    ]
    for (const [what, query] of Object.entries(isMended ? LEFT_OVER : { ...LEFT_OVER, ...NOT_PENDING })) {
      const { rows } = await client.query<{ line: string }>(query)
      if (rows.length > 0) faults.push(`${what}, ${rows.length} times: ${rows[0]?.line}`)
    }
    return faults
  } finally {
    await client.end()
  }
}

function differences(what: string, is: readonly string[], should: readonly string[]): string[] {
  const more = without(is, should)
  const less = without(should, is)
  return [
    ...(more.length > 0 ? [`${more.length} ${what} too many, such as ${more[0]}`] : []),
    ...(less.length > 0 ? [`${less.length} ${what} missing, such as ${less[0]}`] : []),
  ]
}

/** The lines of `from`, less as many equal ones as there are in `what`. */
function without(from: readonly string[], what: readonly string[]): string[] {
  const left = new Map<string, number>()
  for (const line of what) left.set(line, (left.get(line) ?? 0) + 1)
  return from.filter((line) => {
    const count = left.get(line) ?? 0
    left.set(line, count - 1)
    return count <= 0
  })
}
