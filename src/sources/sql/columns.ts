import { SpillwayError } from "../../core/errors.ts"
import type { Session } from "../../postgres/session.ts"
import type { QueryColumn } from "./values.ts"

/** The columns that a query gives, without running it. Throws `CONFIG` for a name that is there twice, or none at all. */
export async function columnsOf(session: Session, query: string): Promise<QueryColumn[]> {
  const { fields } = await session.query(`SELECT * FROM (${query}\n) AS q LIMIT 0`)
  const twice = fields.find(({ name }, i) => fields.findIndex((other) => other.name === name) !== i)
  if (twice !== undefined)
    throw new SpillwayError("CONFIG", `the query gives two columns named ${JSON.stringify(twice.name)}`, {
      hint: "name them apart: SELECT a.id AS order_id, b.id AS customer_id …",
    })
  if (fields.length === 0)
    throw new SpillwayError("CONFIG", "the query gives no columns", { hint: "select at least one" })
  const { rows } = await session.query<{ type: string; structured: boolean }>(
    `SELECT format_type(f.id, f.modifier) AS type, t.typcategory IN ('A', 'C') OR t.typname = 'record' AS structured
     FROM unnest($1::oid[], $2::int[]) WITH ORDINALITY f(id, modifier, n) JOIN pg_type t ON t.oid = f.id ORDER BY f.n`,
    [fields.map((field) => field.typeId), fields.map((field) => field.typeModifier)],
  )
  return fields.map(({ name }, i) => ({
    name,
    type: rows[i]?.type ?? "text",
    structured: rows[i]?.structured ?? false,
  }))
}

/** The column of that name. Throws `CONFIG`, with `option` as who asks for it. */
export function columnNamed(columns: readonly QueryColumn[], name: string, option: string): QueryColumn {
  const column = columns.find((candidate) => candidate.name === name)
  if (column !== undefined) return column
  throw new SpillwayError("CONFIG", `the query gives no column ${JSON.stringify(name)}`, {
    where: option,
    hint: `it gives ${columns.map((candidate) => candidate.name).join(", ")}`,
  })
}
