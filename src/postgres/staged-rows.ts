import type { Column } from "../core/contracts.ts"
import { quoteIdentifier, quoteLiteral } from "./quote.ts"
import type { Session } from "./session.ts"

const ROWS_PER_FETCH = 1000

/** A row's values as JSON texts, in the order of the columns; null for nothing. */
export type StagedRow = readonly (string | null)[]

/**
 * The staged rows of a source, in the order in which they were read, some at a time. Inside the caller's transaction, whose time
 * zone is UTC from then on.
 */
export async function* stagedRows(
  session: Session,
  staging: string,
  source: string,
  columns: readonly Column[],
): AsyncGenerator<readonly StagedRow[], void, void> {
  const values = columns.map(({ name }, i) => `to_json(${quoteIdentifier(name)})::text AS c${i}`)
  await session.query(
    `SET LOCAL TIME ZONE 'UTC';
     DECLARE spillway_rows NO SCROLL CURSOR FOR
     SELECT ${values.join(", ")} FROM ${staging} WHERE _source = ${quoteLiteral(source)} ORDER BY _seq, ctid`,
  )
  for (;;) {
    const { rows } = await session.query<Record<string, string | null>>(`FETCH ${ROWS_PER_FETCH} FROM spillway_rows`)
    if (rows.length > 0) yield rows.map((row) => columns.map((_column, i) => row[`c${i}`] ?? null))
    if (rows.length < ROWS_PER_FETCH) break
  }
  await session.query("CLOSE spillway_rows")
}
