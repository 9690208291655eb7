import type { Session } from "../postgres/session.ts"

/** Notes which fields of a pipeline's records are secret now: its letters are shown without them, also those that were set aside before. */
export async function writeSecretFields(session: Session, pipeline: string, fields: Iterable<string>): Promise<void> {
  const sorted = [...fields].sort()
  await session.query(
    `INSERT INTO ops.secret_fields AS s (pipeline_name, fields) SELECT $1, $2::text[] WHERE cardinality($2::text[]) > 0
     ON CONFLICT (pipeline_name) DO UPDATE SET fields = excluded.fields WHERE s.fields IS DISTINCT FROM excluded.fields`,
    [pipeline, sorted],
  )
  if (sorted.length === 0) await session.query("DELETE FROM ops.secret_fields WHERE pipeline_name = $1", [pipeline])
}

/** Adds what letters from outside say of themselves. */
export async function addSecretFields(session: Session, pipeline: string, fields: ReadonlySet<string>): Promise<void> {
  if (fields.size === 0) return
  await session.query(
    `INSERT INTO ops.secret_fields AS s (pipeline_name, fields) VALUES ($1, $2::text[]) ON CONFLICT (pipeline_name) DO UPDATE
     SET fields = ARRAY(SELECT DISTINCT f FROM unnest(s.fields || excluded.fields) f ORDER BY f)`,
    [pipeline, [...fields].sort()],
  )
}

/** The secret fields of letters, by pipeline. */
export async function readSecretFields(session: Session): Promise<ReadonlyMap<string, readonly string[]>> {
  const { rows } = await session.query<{ pipeline_name: string; fields: string[] }>(
    "SELECT pipeline_name, fields FROM ops.secret_fields",
  )
  return new Map(rows.map((row) => [row.pipeline_name, row.fields]))
}
