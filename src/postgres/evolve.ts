import type { Column } from "../core/contracts.ts"
import { SpillwayError } from "../core/errors.ts"
import { quoteIdentifier, quoteLiteral, quoteTable } from "./quote.ts"
import type { Session } from "./session.ts"

interface Named {
  readonly schema: string
  readonly name: string
}

interface ColumnThere {
  readonly name: string
  /** As in DDL, by the short name. */
  readonly type: string
  readonly nullable: boolean
  /** PostgreSQL computes it: nothing can be written to it. */
  readonly computed: boolean
  readonly comment: string | undefined
}

/**
 * Which property a pipeline reads a column from that it has added, a line in the column's comment: it goes where the column
 * goes, and is gone when the column is.
 */
const noteLine = (pipeline: string, property: string): string =>
  `spillway: pipeline ${pipeline} reads it from ${JSON.stringify(property)}`
const NOTE = /^spillway: pipeline ([\w.-]+) reads it from (".*")$/

const LOCK_WAIT = "5s"

/** The columns of a table; undefined when there is no such table. `table` is qualified and quoted. */
async function columnsOf(session: Session, table: string): Promise<Map<string, ColumnThere> | undefined> {
  const { rows } = await session.query<ColumnThere & { comment: string | null }>(
    `SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, NOT a.attnotnull AS nullable,
            a.attgenerated <> '' OR a.attidentity = 'a' AS computed, col_description(a.attrelid, a.attnum) AS comment
     FROM pg_attribute a WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum`,
    [table],
  )
  if (rows.length === 0) return undefined
  return new Map(
    rows.map((row) => [row.name, { ...row, type: shortName(row.type), comment: row.comment ?? undefined }]),
  )
}

const shortName = (type: string): string => (type === "timestamp with time zone" ? "timestamptz" : type)

/** The columns of a table that a pipeline has added to it, in the order of the table; none when there is no such table. */
export async function addedColumns(session: Session, table: string, pipeline: string): Promise<Column[]> {
  const there = await columnsOf(session, table)
  return [...(there?.values() ?? [])].flatMap((column): Column[] => {
    const property = propertyOf(column, pipeline)
    return property === undefined ? [] : [{ property, name: column.name, type: column.type, nullable: column.nullable }]
  })
}

function propertyOf({ comment }: ColumnThere, pipeline: string): string | undefined {
  for (const line of comment?.split("\n") ?? []) {
    const [, by, property] = NOTE.exec(line) ?? []
    if (by !== pipeline || property === undefined) continue
    try {
      return JSON.parse(property) as string
    } catch {
      // A comment that somebody has written into says nothing.
    }
  }
  return undefined
}

/**
 * Makes sure, inside the caller's transaction, that a staging table has `columns`, and gives them as they are: where the target
 * already has a column of that name, its type is the one. Throws `SCHEMA_DRIFT` when that one cannot be written to.
 */
export async function addToStaging(
  session: Session,
  where: { staging: string; target: Named; pipeline: string },
  columns: readonly Column[],
): Promise<Column[]> {
  const { staging, target, pipeline } = where
  const inTarget = await columnsOf(session, quoteTable(target.schema, target.name))
  const settled = columns.map((column): Column => {
    const there = inTarget?.get(column.name)
    if (there === undefined) return column
    if (there.computed)
      throw new SpillwayError(
        "SCHEMA_DRIFT",
        `the column ${JSON.stringify(column.property)} is new, but ${target.schema}.${target.name} computes "${column.name}" itself`,
        { where: `table ${target.schema}.${target.name}`, hint: "rename it in prepare, or leave it out there" },
      )
    return { ...column, type: there.type, nullable: there.nullable }
  })
  await add(session, staging, pipeline, settled)
  return settled
}

/** Those of `columns` that a table lacks, or has of another type; undefined when there is no such table. */
export async function lacking(
  session: Session,
  target: Named,
  columns: readonly Column[],
): Promise<Column[] | undefined> {
  const there = await columnsOf(session, quoteTable(target.schema, target.name))
  return there && columns.filter(({ name, type }) => there.get(name)?.type !== type)
}

/**
 * Adds columns to a table inside the caller's transaction, which has locked the target. Nothing is rewritten. Waits at most 5 s
 * for those who use the table, so that nobody queues up behind it; then it throws `DB_SERIALIZATION`, to be tried again.
 */
export async function addToTarget(
  session: Session,
  target: Named,
  pipeline: string,
  columns: readonly Column[],
): Promise<void> {
  await session.query(`SET LOCAL lock_timeout = '${LOCK_WAIT}'`)
  await add(session, quoteTable(target.schema, target.name), pipeline, columns)
}

async function add(session: Session, table: string, pipeline: string, columns: readonly Column[]): Promise<void> {
  for (const { name, type } of columns)
    await session.query(`ALTER TABLE ${table} ADD COLUMN IF NOT EXISTS ${quoteIdentifier(name)} ${type}`)
  await noteColumns(session, table, pipeline, columns)
}

/** Notes in the comments of columns which property a pipeline reads them from; what was noted stays. */
export async function noteColumns(
  session: Session,
  table: string,
  pipeline: string,
  columns: readonly Column[],
): Promise<void> {
  const there = await columnsOf(session, table)
  for (const { name, property } of columns) {
    const column = there?.get(name)
    if (column === undefined || propertyOf(column, pipeline) !== undefined) continue
    const comment = [...(column.comment === undefined ? [] : [column.comment]), noteLine(pipeline, property)].join("\n")
    await session.query(`COMMENT ON COLUMN ${table}.${quoteIdentifier(name)} IS ${quoteLiteral(comment)}`)
  }
}

/** Those of the columns in which the staged rows of `sources` hold a value; the others are taken out of staging again. */
export async function keepFilled(
  session: Session,
  staging: string,
  columns: readonly Column[],
  sources: readonly string[],
): Promise<Column[]> {
  const there = await columnsOf(session, staging)
  const staged = columns.filter(({ name }) => there?.has(name))
  if (staged.length === 0) return []
  const filled = staged.map(({ name }, i) => `bool_or(${quoteIdentifier(name)} IS NOT NULL) AS c${i}`)
  const { rows } = await session.query<Record<string, boolean | null>>(
    `SELECT ${filled.join(", ")} FROM ${staging} WHERE _source = ANY($1::text[])`,
    [sources],
  )
  const isFilled = (_column: Column, i: number): boolean => rows[0]?.[`c${i}`] === true
  for (const { name } of staged.filter((column, i) => !isFilled(column, i)))
    await session.query(`ALTER TABLE ${staging} DROP COLUMN IF EXISTS ${quoteIdentifier(name)}`)
  return staged.filter(isFilled)
}
