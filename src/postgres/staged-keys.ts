import { quoteIdentifier } from "./quote.ts"
import type { Session } from "./session.ts"
import { keyList, primaryKeyName, qualifiedName, type Target } from "./target.ts"

/** Memory for the hash joins and sorts of a publish; it is the only statement family that needs much. */
export const WORK_MEMORY = "128MB"

/** Unlike any other error, tells that a key could not be built because rows share it. */
const UNIQUE_VIOLATION = "23505"

export const isSharedKey = (error: unknown): boolean =>
  (error as { context?: { sqlState?: unknown } }).context?.sqlState === UNIQUE_VIOLATION

/** The index on the keys of a staging table, without its schema, which is the table's. */
const indexOf = (staging: string): string => `${staging.slice(staging.indexOf(".") + 1)}_key`

const createIndex = (staging: string, target: Target): string =>
  `CREATE UNIQUE INDEX IF NOT EXISTS ${indexOf(staging)} ON ${staging} (${keyList(target)})`

/** Whoever publishes waits for the index, and must not be waited for. */
const LOCK_TIMEOUT = "2s"

/**
 * Gives staged rows an index on their keys, before the publish that needs it. Throws `DB_CONSTRAINT` where rows share a key, and gives up
 * where somebody is at work on the table.
 */
export async function indexKeys(session: Session, staging: string, target: Target): Promise<void> {
  await session.transaction(async () => {
    await session.query(`SET LOCAL maintenance_work_mem = '${WORK_MEMORY}'; SET LOCAL lock_timeout = '${LOCK_TIMEOUT}'`)
    await session.query(createIndex(staging, target))
  })
}

/** Whether `indexKeys` was done. */
export async function hasIndexedKeys(session: Session, staging: string): Promise<boolean> {
  const { rows } = await session.query(`SELECT FROM pg_class WHERE oid = to_regclass($1)`, [`${staging}_key`])
  return rows.length > 0
}

/**
 * Whether no two staged rows share a key. Building an index is the fastest way to learn that, and the comparison that follows can
 * use it.
 */
export async function haveOwnKeys(session: Session, staging: string, target: Target): Promise<boolean> {
  session.savepoint("unique_keys")
  try {
    await session.query(createIndex(staging, target))
    return true
  } catch (error) {
    if (!isSharedKey(error)) throw error
    await session.query(`ROLLBACK TO SAVEPOINT unique_keys`)
    return false
  }
}

/** Makes that index the key of the table that the staging table has become. */
export async function adoptKeys(session: Session, staging: string, target: Target): Promise<void> {
  await session.query(
    `ALTER TABLE ${qualifiedName(target)} ADD CONSTRAINT ${quoteIdentifier(primaryKeyName(target))} PRIMARY KEY USING INDEX ${indexOf(staging)}`,
  )
}
