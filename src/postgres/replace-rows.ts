import { bySource, imbalanced, type PublishResult, type SourceCounts } from "./publish-counts.ts"
import type { PublishRequest } from "./publish-sql.ts"
import { quoteIdentifier } from "./quote.ts"
import type { Session } from "./session.ts"
import { slices } from "./slices.ts"
import { allColumns, qualifiedName } from "./target.ts"

/**
 * Makes what the table has of each source exactly the staged rows, which have no key: rows are told apart by all their values,
 * and equal ones are counted. What is there already is not written.
 */
export async function replaceRows(
  session: Session,
  request: PublishRequest,
  counts: Map<string, SourceCounts>,
): Promise<PublishResult> {
  const { staging, target, tracked, sources } = request
  const table = qualifiedName(target)
  const names = allColumns(target).map(quoteIdentifier).join(", ")
  const data = target.columns.map((column) => quoteIdentifier(column.name)).join(", ")
  // The text of a row is equal exactly where its values are written alike; a number with another count of zeros is written anew.
  const numbered = (relation: string): string =>
    `SELECT r.ctid AS id, r._source AS source, ROW(${data})::text AS content,
            row_number() OVER (PARTITION BY r._source, ROW(${data})::text ORDER BY r._seq, r._position) AS n
     FROM ${relation} r WHERE r._source = ANY($1::text[])`
  const without = (mine: string, other: string): string =>
    `SELECT m.id FROM (${numbered(mine)}) m
     WHERE NOT EXISTS (SELECT FROM (${numbered(other)}) o WHERE o.source = m.source AND o.content = m.content AND o.n = m.n)`
  await session.query(`CREATE TEMP TABLE spillway_gone ON COMMIT DROP AS ${without(table, staging)}`, [sources])
  await session.query(`CREATE TEMP TABLE spillway_new ON COMMIT DROP AS ${without(staging, table)}`, [sources])
  const touches = await slices(
    session,
    tracked,
    (ofStaging, ofTarget) =>
      `SELECT ${ofStaging} AS value FROM ${staging} s WHERE s.ctid IN (SELECT id FROM spillway_new)
       UNION ALL SELECT ${ofTarget} AS value FROM ${table} t WHERE t.ctid IN (SELECT id FROM spillway_gone)`,
  )
  const { rows: staged } = await session.query<{ source: string; rows: string }>(
    `SELECT _source AS source, count(*) AS rows FROM ${staging} GROUP BY 1`,
  )
  for (const row of staged) bySource(counts, row.source).unchanged = Number(row.rows)
  const { rows: gone } = await session.query<{ source: string; rows: string }>(
    `WITH gone AS (DELETE FROM ${table} t WHERE t.ctid IN (SELECT id FROM spillway_gone) RETURNING t._source AS source)
     SELECT source, count(*) AS rows FROM gone GROUP BY 1`,
  )
  for (const row of gone) bySource(counts, row.source).deleted = Number(row.rows)
  const { rows: written } = await session.query<{ source: string; rows: string }>(
    `WITH written AS (
       INSERT INTO ${table} (${names}) SELECT ${names} FROM ${staging} s WHERE s.ctid IN (SELECT id FROM spillway_new) RETURNING _source AS source
     ) SELECT source, count(*) AS rows FROM written GROUP BY 1`,
  )
  let inserted = 0
  for (const row of written) {
    const of = bySource(counts, row.source)
    of.inserted = Number(row.rows)
    of.unchanged -= of.inserted
    inserted += of.inserted
  }
  const { rows } = await session.query<{ n: string }>(`SELECT count(*) AS n FROM spillway_new`)
  if (Number(rows[0]?.n) !== inserted)
    throw imbalanced(`${rows[0]?.n} rows were to be inserted, the database inserted ${inserted}`)
  await session.query(`DROP TABLE ${staging}, spillway_gone, spillway_new`)
  return { counts, touches, adopted: false }
}
