import type { Session } from "../postgres/session.ts"

/** The files that dead letters name as evidence, also letters of runs that are not published yet; as the letters name them. */
export async function namedEvidence(session: Session): Promise<ReadonlySet<string>> {
  const { rows } = await session.query<{ name: string }>(
    `SELECT DISTINCT e AS name FROM (
       SELECT source FROM ops.dead_letters WHERE jsonb_typeof(source -> 'evidence') = 'array'
       UNION ALL
       SELECT source FROM ops_staging.dead_letters WHERE jsonb_typeof(source -> 'evidence') = 'array'
     ) letters, jsonb_array_elements_text(letters.source -> 'evidence') e`,
  )
  return new Set(rows.map(({ name }) => name))
}
