import type { Session } from "./session.ts"

export interface TableName {
  readonly schema: string
  readonly name: string
}

/** The columns of a table or view with their types as in DDL, in order; undefined when there is no such table. */
export async function columnTypes(
  session: Session,
  { schema, name }: TableName,
): Promise<Map<string, string> | undefined> {
  const { rows } = await session.query<{ name: string | null; type: string }>(
    `SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY a.attnum`,
    [schema, name],
  )
  if (rows.length === 0) return undefined
  return new Map(rows.flatMap((row) => (row.name === null ? [] : [[row.name, row.type]])))
}

/** Bytes that a table takes on disk, without its indexes; 0 for what has none. */
export async function relationSize(session: Session, { schema, name }: TableName): Promise<number> {
  const { rows } = await session.query<{ bytes: string | null }>(
    `SELECT pg_table_size(c.oid) AS bytes FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2`,
    [schema, name],
  )
  return Number(rows[0]?.bytes ?? 0)
}
