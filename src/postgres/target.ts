import type { Column } from "../core/contracts.ts"
import { SpillwayError } from "../core/errors.ts"
import { quoteIdentifier, quoteLiteral, quoteTable } from "./quote.ts"
import type { Session } from "./session.ts"

/** What the engine needs to know of the table it writes to. */
export interface Target {
  readonly schema: string
  readonly name: string
  readonly columns: readonly Column[]
  readonly mode: "append" | "upsert" | "replace"
  /** Columns that identify a row. */
  readonly key: readonly string[]
  /** The column that says which version of a key is newer; undefined: `_seq`. */
  readonly orderBy: string | undefined
  /** Rows are looked for by their source often enough for an index. */
  readonly sourceIndex: boolean
}

/** Where a row came from; every row carries it. `_item` tells apart the rows that one record was expanded to. */
const LINEAGE = [
  { name: "_source", type: "text" },
  { name: "_position", type: "bigint" },
  { name: "_item", type: "integer" },
  { name: "_seq", type: "bigint" },
  { name: "_run_id", type: "text" },
] as const

const lineage = ({ mode }: Pick<Target, "mode">) => LINEAGE.filter(({ name }) => name !== "_item" || mode === "append")

export const APPEND_KEY = ["_source", "_position", "_item"] as const

export const qualifiedName = (target: Target): string => quoteTable(target.schema, target.name)

/** All staged rows are of the same run: the column comes with `stampRun`, and none of them takes room for it. */
const RUN_COLUMN = "_run_id"

/** The columns of a staging table that are written, in order. */
export const stagedColumns = (target: Target): string[] => allColumns(target).filter((name) => name !== RUN_COLUMN)

/** All columns of the table: those of the data, and lineage behind them. */
export const allColumns = (target: Target): string[] => [
  ...target.columns.map((column) => column.name),
  ...lineage(target).map((column) => column.name),
]

const definition = ({ name, type, nullable = false }: { name: string; type: string; nullable?: boolean }): string =>
  `${quoteIdentifier(name)} ${type}${nullable ? "" : " NOT NULL"}`

/** What the columns are, for CREATE TABLE. */
const definitions = (target: Target, except?: string): string =>
  [...target.columns, ...lineage(target)]
    .filter(({ name }) => name !== except)
    .map(definition)
    .join(", ")

/** The columns of the key, for SQL. */
export const keyList = ({ key }: Target): string => key.map(quoteIdentifier).join(", ")

export const primaryKeyName = (target: Target): string => `${target.name.slice(0, 58)}_pkey`

/** The statement that gives a table its key. */
export const addKey = (target: Target): string =>
  `ALTER TABLE ${qualifiedName(target)} ADD CONSTRAINT ${quoteIdentifier(primaryKeyName(target))} PRIMARY KEY (${keyList(target)})`

interface ExistingColumn {
  readonly name: string
  readonly type: string
  readonly required: boolean
}

/** The columns a table has, or undefined when there is no such table. */
async function existingColumns(session: Session, target: Target): Promise<ExistingColumn[] | undefined> {
  const { rows } = await session.query<{ name: string | null; type: string; required: boolean; kind: string }>(
    `SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, c.relkind AS kind,
            a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AS required
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     WHERE n.nspname = $1 AND c.relname = $2 ORDER BY a.attnum`,
    [target.schema, target.name],
  )
  if (rows.length === 0) return undefined
  const kind = rows[0]?.kind ?? ""
  if (!["r", "p"].includes(kind))
    throw new SpillwayError("CONFIG", `${target.schema}.${target.name} is not a table`, {
      hint: "name a table, or drop what is there",
    })
  return rows
    .filter((row) => row.name !== null)
    .map((row) => ({ name: row.name ?? "", type: row.type, required: row.required }))
}

/**
 * Whether a column of type `there` would change values of the type `declared` without a word (rounding, a zone or a time of
 * day cut off), as PostgreSQL does on assignment. What it would refuse aloud is not asked here.
 */
export function losesDigits(declared: string, there: string): boolean {
  const wanted = declared.trim().toLowerCase()
  const scale = (type: string): number | undefined => {
    const match = /^(?:numeric|decimal)\s*\(\s*\d+\s*(?:,\s*(\d+)\s*)?\)$/.exec(type)
    return match === null ? undefined : Number(match[1] ?? 0)
  }
  const scaleThere = scale(there)
  if (scaleThere !== undefined) {
    const scaleWanted = /^(smallint|integer|int\d?|bigint)$/.test(wanted) ? 0 : scale(wanted)
    return scaleWanted === undefined || scaleWanted > scaleThere
  }
  if (there === "real") return !/^(real|float4|smallint|int2)$/.test(wanted)
  if (there === "double precision")
    return !/^(double precision|float8|real|float4|smallint|integer|int[24]?)$/.test(wanted)
  const instant = /^(timestamptz|timestamp with time zone)/.test(wanted)
  if (there.startsWith("timestamp") && there.includes("without time zone") && instant) return true
  if (there === "date") return wanted.startsWith("timestamp")
  return /^timestamp\([0-5]\)/.test(there) && wanted.startsWith("timestamp") && !/\([0-5]\)/.test(wanted)
}

async function hasKey(session: Session, target: Target): Promise<boolean> {
  const { rows } = await session.query(
    `SELECT FROM pg_index i
     WHERE i.indrelid = $1::regclass AND i.indisunique AND i.indpred IS NULL AND i.indisvalid
       AND (SELECT array_agg(a.attname::text ORDER BY a.attname) FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey))
           = (SELECT array_agg(k ORDER BY k) FROM unnest($2::text[]) k)`,
    [qualifiedName(target), target.key],
  )
  return rows.length > 0
}

/**
 * Whether the target exists; throws `SCHEMA_DRIFT` when it exists and rows of this pipeline would not fit into it,
 * naming every difference and the statements that mend it.
 */
export async function inspectTarget(session: Session, target: Target): Promise<boolean> {
  const existing = await existingColumns(session, target)
  if (existing === undefined) return false
  const there = new Set(existing.map((column) => column.name))
  const ours = new Set(allColumns(target))
  const table = qualifiedName(target)
  const mends: string[] = []
  for (const column of target.columns)
    if (!there.has(column.name))
      mends.push(`ALTER TABLE ${table} ADD COLUMN ${quoteIdentifier(column.name)} ${column.type};`)
  for (const column of lineage(target))
    if (!there.has(column.name))
      mends.push(`ALTER TABLE ${table} ADD COLUMN ${quoteIdentifier(column.name)} ${column.type};`)
  const types = new Map(existing.map((column) => [column.name, column.type]))
  for (const column of target.columns) {
    const there = types.get(column.name)
    if (there !== undefined && losesDigits(column.type, there))
      mends.push(
        `ALTER TABLE ${table} ALTER COLUMN ${quoteIdentifier(column.name)} TYPE ${column.type}; -- it is ${there}, which would change values silently`,
      )
  }
  for (const column of existing)
    if (column.required && !ours.has(column.name))
      mends.push(`ALTER TABLE ${table} ALTER COLUMN ${quoteIdentifier(column.name)} DROP NOT NULL;`)
  if (mends.length === 0 && target.key.length > 0 && !(await hasKey(session, target)))
    mends.push(`CREATE UNIQUE INDEX ON ${table} (${keyList(target)});`)
  if (mends.length > 0)
    throw new SpillwayError("SCHEMA_DRIFT", `the table ${target.schema}.${target.name} does not fit this pipeline`, {
      where: `table ${target.schema}.${target.name}`,
      hint: `mend it with:\n${mends.map((line) => `  ${line}`).join("\n")}`,
    })
  return true
}

/**
 * Creates the target's schema, inside the caller's transaction, unless it is there: who may write into one may not always
 * create one.
 */
export async function createSchema(session: Session, target: Target): Promise<void> {
  const { rows } = await session.query(`SELECT FROM pg_namespace WHERE nspname = $1`, [target.schema])
  if (rows.length > 0) return
  // Of two transactions that create it at once, IF NOT EXISTS lets the second one fail.
  await session.query(`SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, [`spillway schema ${target.schema}`])
  await session.query(`CREATE SCHEMA IF NOT EXISTS ${quoteIdentifier(target.schema)}`)
}

/** Creates the target, empty and with its key. */
export async function createTarget(session: Session, target: Target): Promise<void> {
  await createSchema(session, target)
  await session.query(`CREATE TABLE ${qualifiedName(target)} (${definitions(target)})`)
  if (target.key.length > 0) await session.query(addKey(target))
  await indexSource(session, target)
}

/** Makes the index on `_source` where the target is to have one. */
export async function indexSource(session: Session, target: Target): Promise<void> {
  if (target.sourceIndex) await session.query(`CREATE INDEX ON ${qualifiedName(target)} (_source)`)
}

/**
 * Creates a staging table for the rows of a run, without the column that names it. For an existing target it takes the target's own
 * types and CHECK constraints, so that what the table would refuse is refused while single records can still be told apart. For a
 * missing target it is without a key, so that it can become the table.
 *
 * Never unlogged: a `CREATE UNLOGGED TABLE` that is rolled back leaves an empty file until the next checkpoint, and a server
 * that crashes before the rollback is written down cannot be started again ("could not create file …: File exists").
 */
export async function createStaging(
  session: Session,
  staging: string,
  target: Target,
  targetExists: boolean,
): Promise<void> {
  if (targetExists) {
    await session.query(`CREATE TABLE ${staging} (LIKE ${qualifiedName(target)} INCLUDING CONSTRAINTS)`)
    await session.query(`ALTER TABLE ${staging} DROP COLUMN ${RUN_COLUMN}`)
    const ours = new Set(allColumns(target))
    const others = ((await existingColumns(session, target)) ?? []).filter((column) => !ours.has(column.name))
    // Columns that the pipeline does not fill get their defaults when the rows are inserted, not in staging.
    for (const column of others)
      await session.query(`ALTER TABLE ${staging} ALTER COLUMN ${quoteIdentifier(column.name)} DROP NOT NULL`)
  } else await session.query(`CREATE TABLE ${staging} (${definitions(target, RUN_COLUMN)})`)
  // Vacuuming what is published or dropped in a moment costs as much as copying part of it, and publishing would wait for it.
  await session.query(`ALTER TABLE ${staging} SET (autovacuum_enabled = off)`)
}

/**
 * Gives staged rows the run that they are of. The column is added with a default, which PostgreSQL keeps once for all rows that
 * are there by then: no row is written, and where staging becomes the table, none of them ever holds the run's id itself.
 */
export async function stampRun(session: Session, staging: string, runId: string): Promise<void> {
  await session.query(`ALTER TABLE ${staging} ADD COLUMN ${RUN_COLUMN} text NOT NULL DEFAULT ${quoteLiteral(runId)}`)
}

/** Takes from a staging table that has become the target what only staging needs. */
export const endStaging = (target: Target): string =>
  `ALTER TABLE ${qualifiedName(target)} ALTER COLUMN ${RUN_COLUMN} DROP DEFAULT, RESET (autovacuum_enabled)`
