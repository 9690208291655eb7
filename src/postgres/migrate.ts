import { createHash } from "node:crypto"
import { SpillwayError } from "../core/errors.ts"
import { classifyDatabaseError } from "./errors.ts"

/** One numbered step of the schema. Once released, neither its number nor its SQL changes. */
export interface Migration {
  /** From 1, without gaps. */
  readonly number: number
  readonly name: string
  /** Statements that may run in one transaction. */
  readonly sql: string
}

/** A connection to PostgreSQL: calls follow one another; text without values may hold several statements. */
export interface Queryable {
  query(text: string, values?: readonly unknown[]): Promise<{ rows: Record<string, unknown>[] }>
}

export interface MigrateOptions {
  /** Looked at before each migration. */
  readonly signal?: AbortSignal | undefined
}

export interface MigrateResult {
  /** Numbers of the migrations applied by this call. */
  readonly applied: number[]
  /** Numbers of those that were there before. */
  readonly already: number[]
}

/** Key of the session-level advisory lock that migrations hold: "spillway" in ASCII, as a bigint. */
export const MIGRATION_LOCK = 0x7370_696c_6c77_6179n

/**
 * Brings the database to the state that `migrations` describe. Each runs in a transaction of its own, together with its row
 * in `ops.schema_migrations`; several callers at once wait for one another, and a second call changes nothing.
 * Throws `CONFIG` when an applied migration differs from the one given, or the database knows one that is not given.
 */
export async function migrate(
  session: Queryable,
  migrations: readonly Migration[],
  options: MigrateOptions = {},
): Promise<MigrateResult> {
  await run(session, "waiting for other migrations", `SELECT pg_advisory_lock(${MIGRATION_LOCK})`)
  try {
    return await migrateLocked(session, migrations, options)
  } finally {
    // Where the connection is gone, so is the lock; the reason for that is the error to report.
    await session.query(`SELECT pg_advisory_unlock(${MIGRATION_LOCK})`).catch(() => undefined)
  }
}

async function migrateLocked(
  session: Queryable,
  migrations: readonly Migration[],
  options: MigrateOptions,
): Promise<MigrateResult> {
  await createLedger(session)
  const known = await readLedger(session)
  requireNotNewer(known, migrations)
  const result: MigrateResult = { applied: [], already: [] }
  for (const migration of migrations) {
    const checksum = checksumOf(migration)
    const earlier = known.get(migration.number)
    if (earlier === undefined) {
      options.signal?.throwIfAborted()
      await apply(session, migration, checksum)
      result.applied.push(migration.number)
    } else {
      requireSame(migration, checksum, earlier)
      result.already.push(migration.number)
    }
  }
  return result
}

async function createLedger(session: Queryable): Promise<void> {
  const { rows } = await run(
    session,
    "looking for ops.schema_migrations",
    "SELECT to_regclass('ops.schema_migrations') IS NOT NULL AS there",
  )
  // IF NOT EXISTS alone would print a notice each time, and ask for rights that a migrated database need not give.
  if (rows[0]?.["there"] === true) return
  await run(
    session,
    "creating ops.schema_migrations",
    `CREATE SCHEMA IF NOT EXISTS ops;
     CREATE TABLE IF NOT EXISTS ops.schema_migrations (
       number integer PRIMARY KEY,
       name text NOT NULL,
       checksum text NOT NULL,
       applied_at timestamptz NOT NULL DEFAULT now()
     )`,
  )
}

interface Applied {
  readonly name: string
  readonly checksum: string
}

async function readLedger(session: Queryable): Promise<Map<number, Applied>> {
  const { rows } = await run(
    session,
    "reading ops.schema_migrations",
    "SELECT number, name, checksum FROM ops.schema_migrations ORDER BY number",
  )
  return new Map(
    rows.map((row) => [Number(row["number"]), { name: String(row["name"]), checksum: String(row["checksum"]) }]),
  )
}

async function apply(session: Queryable, migration: Migration, checksum: string): Promise<void> {
  const what = `migration ${migration.number} (${migration.name})`
  await run(session, what, "BEGIN")
  try {
    await run(session, what, migration.sql)
    await run(session, what, "INSERT INTO ops.schema_migrations (number, name, checksum) VALUES ($1, $2, $3)", [
      migration.number,
      migration.name,
      checksum,
    ])
    await run(session, what, "COMMIT")
  } catch (error) {
    // Where the connection is gone, the server rolls back by itself.
    await session.query("ROLLBACK").catch(() => undefined)
    throw error
  }
}

function requireNotNewer(known: ReadonlyMap<number, Applied>, migrations: readonly Migration[]): void {
  const ours = new Set(migrations.map((migration) => migration.number))
  const unknown = [...known].find(([number]) => !ours.has(number))
  if (unknown === undefined) return
  const [number, { name }] = unknown
  throw new SpillwayError(
    "CONFIG",
    `the database has migration ${number} (${name}), which this version of Spillway does not know`,
    {
      where: "ops.schema_migrations",
      hint: "a newer Spillway migrated this database: upgrade this one, or point it to another database",
    },
  )
}

function requireSame(migration: Migration, checksum: string, earlier: Applied): void {
  if (checksum === earlier.checksum) return
  throw new SpillwayError(
    "CONFIG",
    `migration ${migration.number} (${earlier.name}) was applied with other content than this version of Spillway has`,
    {
      where: "ops.schema_migrations",
      hint: "use the Spillway version that migrated this database, or another database; migrations never change once applied",
      context: { applied: earlier.checksum, ours: checksum },
    },
  )
}

const checksumOf = (migration: Migration): string => createHash("sha256").update(migration.sql).digest("hex")

async function run(
  session: Queryable,
  what: string,
  text: string,
  values?: readonly unknown[],
): ReturnType<Queryable["query"]> {
  try {
    return await (values === undefined ? session.query(text) : session.query(text, values))
  } catch (error) {
    const classified = classifyDatabaseError(error)
    throw new SpillwayError(classified.code, `${what}: ${classified.message}`, {
      cause: error,
      hint:
        classified.code === "AUTH"
          ? "the user needs the right to create schemas in this database (GRANT CREATE ON DATABASE …)"
          : classified.hint,
      where: classified.where ?? "the ops schema",
      context: classified.context,
    })
  }
}
