import { SpillwayError } from "../core/errors.ts"
import { bySource, emptyCounts, imbalanced, type PublishResult, type SourceCounts } from "./publish-counts.ts"
import {
  changedRows,
  confirmedTable,
  goneRows,
  newestFirst,
  newRows,
  statements,
  textArray,
  type PublishRequest,
  type Statements,
} from "./publish-sql.ts"
import { quoteIdentifier, quoteTable } from "./quote.ts"
import { replaceRows } from "./replace-rows.ts"
import type { Session } from "./session.ts"
import { adoptKeys, hasIndexedKeys, haveOwnKeys, isSharedKey, WORK_MEMORY } from "./staged-keys.ts"
import { slices } from "./slices.ts"
import {
  addKey,
  allColumns,
  APPEND_KEY,
  createSchema,
  createTarget,
  endStaging,
  indexSource,
  inspectTarget,
  keyList,
  qualifiedName,
  stampRun,
  type Target,
} from "./target.ts"

/** Until the end of the transaction nobody else publishes into the table; of two that would create it, the second finds it. */
export async function lockTarget(session: Session, target: Pick<Target, "schema" | "name">): Promise<void> {
  await session.query(`SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`, [
    `spillway table ${quoteTable(target.schema, target.name)}`,
  ])
}

/**
 * Publishes a staged group inside the caller's transaction, which has locked the target: finds the difference between staging and target by joins and
 * writes only that. Other writers of the table wait meanwhile; readers do not. Into a table that does not exist yet, the
 * staging table itself is moved.
 */
export async function publishStaging(session: Session, request: PublishRequest): Promise<PublishResult> {
  const { target } = request
  await session.query(`SET LOCAL work_mem = '${WORK_MEMORY}'; SET LOCAL maintenance_work_mem = '${WORK_MEMORY}'`)
  const isNew = !(await inspectTarget(session, target))
  const staged = isNew ? await countBySource(session, request) : []
  await request.indexed
  await stampRun(session, request.staging, request.runId)
  if (isNew) {
    const adopted = await adoptStaging(session, request, staged)
    if (adopted !== undefined) return adopted
    await createTarget(session, target)
  }
  await session.query(`LOCK TABLE ${qualifiedName(target)} IN SHARE ROW EXCLUSIVE MODE`)
  const counts = emptyCounts(request.sources)
  if (target.mode === "replace") return replaceRows(session, request, counts)
  const sql = statements(request)
  // Source and position are a key by construction; only keys from the data can repeat.
  if (target.mode === "upsert") {
    await noteConfirmed(session, sql, request)
    await removeRepeats(session, sql, counts)
  }
  const plan = await compare(session, sql, request, counts)
  const touches = await touched(session, sql, request, plan)
  if (request.replaced.length > 0) await removeGone(session, sql, request, counts)
  if (plan.updates > 0) await update(session, sql, plan)
  if (plan.inserts > 0) await insert(session, sql, plan)
  await session.query(`DROP TABLE ${request.staging}`)
  await session.query(`DROP TABLE IF EXISTS ${confirmedTable(request.staging)}`)
  return { counts, touches, adopted: false }
}

/** The rows of staging that the target has a newer version of: where each stood in its source. */
export async function outdatedRows(
  session: Session,
  request: PublishRequest,
): Promise<{ source: string; position: number }[]> {
  if (request.target.mode !== "upsert" || request.force === true) return []
  const sql = statements(request)
  const { rows } = await session.query<{ source: string; position: string }>(
    `SELECT s._source AS source, s._position AS position FROM ${sql.staging} s JOIN ${sql.table} t ON ${sql.sameKey} WHERE ${sql.newer}
     UNION ALL
     SELECT _source, _position FROM (
       SELECT _source, _position, row_number() OVER (PARTITION BY ${keyList(sql.target)} ORDER BY ${newestFirst(sql.target)}) AS place FROM ${sql.staging}
     ) r WHERE place > 1`,
  )
  return rows.map(({ source, position }) => ({ source, position: Number(position) }))
}

/** Makes the staging table the target, or gives undefined when rows in it share a key. */
async function adoptStaging(
  session: Session,
  { staging, target, sources, tracked }: PublishRequest,
  staged: readonly StagedRows[],
): Promise<PublishResult | undefined> {
  const counts = emptyCounts(sources)
  for (const { source, rows } of staged) bySource(counts, source).inserted = rows
  const touches = await slices(session, tracked, (expression) => `SELECT ${expression} AS value FROM ${staging} s`)
  const isIndexed = await hasIndexedKeys(session, staging)
  session.savepoint("adopt")
  try {
    await createSchema(session, target)
    const bare = staging.slice(staging.indexOf(".") + 1)
    await session.query(`ALTER TABLE ${staging} SET SCHEMA ${quoteIdentifier(target.schema)}`)
    await session.query(
      `ALTER TABLE ${quoteIdentifier(target.schema)}.${bare} RENAME TO ${quoteIdentifier(target.name)}`,
    )
    await session.query(endStaging(target))
    if (isIndexed) await adoptKeys(session, staging, target)
    else if (target.key.length > 0) await session.query(addKey(target))
    await indexSource(session, target)
  } catch (error) {
    if (!isSharedKey(error)) throw error
    await session.query(`ROLLBACK TO SAVEPOINT adopt`)
    return undefined
  }
  return { counts, touches, adopted: true }
}

interface StagedRows {
  readonly source: string
  readonly rows: number
}

/** Staged rows per source. Of one source all of them are its own: looking at each takes several times as long as counting them. */
async function countBySource(session: Session, { staging, sources }: PublishRequest): Promise<StagedRows[]> {
  const [only] = sources
  const { rows } = await session.query<{ source: string | undefined; rows: string }>(
    only !== undefined && sources.length === 1
      ? `SELECT count(*) AS rows FROM ${staging}`
      : `SELECT _source AS source, count(*) AS rows FROM ${staging} GROUP BY 1`,
  )
  return rows.map(({ source = only ?? "", rows: n }) => ({ source, rows: Number(n) }))
}

/**
 * Notes which rows of the table are what their own source, read again, says now, before of each key only one row is left in
 * staging: an equal one of another source does not take them over.
 */
async function noteConfirmed(session: Session, sql: Statements, request: PublishRequest): Promise<void> {
  const { staging, replaced, sources } = request
  if (replaced.length === 0 || sources.length < 2) return
  const key = keyList(sql.target)
  await session.query(
    `CREATE TABLE ${confirmedTable(staging)} AS
     SELECT ${sql.target.key.map((name) => `t.${quoteIdentifier(name)}`).join(", ")} FROM ${sql.table} t JOIN (
       SELECT DISTINCT ON (${key}, _source) * FROM ${staging}
       WHERE _source = ANY(${textArray(replaced)}) AND (${key}) IN (SELECT ${key} FROM ${staging} GROUP BY ${key} HAVING count(*) > 1)
       ORDER BY ${key}, _source, ${newestFirst(sql.target)}
     ) s ON ${sql.sameKey} AND s._source = t._source WHERE NOT ${sql.dataDiffers}`,
  )
}

/** Leaves one row per key in staging: the newest. Another of the same source is a duplicate, of an earlier source superseded. */
async function removeRepeats(
  session: Session,
  { staging, target }: Statements,
  counts: Map<string, SourceCounts>,
): Promise<void> {
  const key = keyList(target)
  const order = newestFirst(target)
  if (await haveOwnKeys(session, staging, target)) return
  const repeated = `SELECT ${key} FROM ${staging} GROUP BY ${key} HAVING count(*) > 1`
  const { rows } = await session.query<{ source: string; duplicate: string; superseded: string }>(
    `WITH ranked AS (
       SELECT ctid AS id, row_number() OVER (PARTITION BY ${key} ORDER BY ${order}) AS place,
              row_number() OVER (PARTITION BY ${key}, _source ORDER BY ${order}) AS place_in_source
       FROM ${staging} WHERE (${key}) IN (${repeated})
     ), gone AS (
       DELETE FROM ${staging} s USING ranked r WHERE s.ctid = r.id AND r.place > 1 RETURNING s._source, r.place_in_source
     )
     SELECT _source AS source, count(*) FILTER (WHERE place_in_source > 1) AS duplicate,
            count(*) FILTER (WHERE place_in_source = 1) AS superseded
     FROM gone GROUP BY 1`,
  )
  for (const row of rows) {
    const of = bySource(counts, row.source)
    of.duplicate = Number(row.duplicate)
    of.superseded = Number(row.superseded)
  }
}

/** Of a model, no partition may bring a key that another one, which is not being built now, has in the table. */
async function refuseForeignKeys(session: Session, sql: Statements, request: PublishRequest): Promise<void> {
  const { rows } = await session.query<{ brought: string; has: string }>(
    `SELECT s._source AS brought, t._source AS has FROM ${sql.staging} s JOIN ${sql.table} t ON ${sql.sameKey}
     WHERE t._source <> s._source AND t._source <> ALL($1::text[]) LIMIT 1`,
    [request.sources],
  )
  const [found] = rows
  if (found === undefined) return
  throw new SpillwayError(
    "DB_CONSTRAINT",
    `${found.brought} brings a key that ${found.has} has: their rows could not be told apart`,
    {
      where: `table ${sql.table}`,
      hint: `let the key (${sql.target.key.join(", ")}) contain what the model is divided by`,
    },
  )
}

interface Plan {
  readonly inserts: number
  readonly updates: number
  /** Every row of staging is to be inserted. */
  readonly allNew: boolean
}

/** Compares staging with the target by one join and fills in the counts. */
async function compare(
  session: Session,
  sql: Statements,
  request: PublishRequest,
  counts: Map<string, SourceCounts>,
): Promise<Plan> {
  if (request.exclusive) await refuseForeignKeys(session, sql, request)
  const { rows: any } = await session.query(`SELECT FROM ${sql.table} LIMIT 1`)
  const onlyNew =
    any.length === 0 || (sql.target.mode === "append" && request.replaced.length === 0 && request.adds !== true)
  // What is unchanged is what is left: to compare the values of every row once more takes as long as the join.
  const { rows } = await session.query<{
    source: string
    staged: string
    inserted: string
    updated: string
    superseded: string
  }>(
    onlyNew
      ? `SELECT _source AS source, count(*) AS staged, count(*) AS inserted, 0 AS updated, 0 AS superseded FROM ${sql.staging} GROUP BY 1`
      : `SELECT s._source AS source, count(*) AS staged, count(*) FILTER (WHERE t._seq IS NULL) AS inserted,
                count(*) FILTER (WHERE t._seq IS NOT NULL AND ${sql.newer}) AS superseded,
                count(*) FILTER (WHERE t._seq IS NOT NULL AND NOT ${sql.newer} AND ${sql.differs}) AS updated
         FROM ${sql.staging} s LEFT JOIN ${sql.table} t ON ${sql.sameKey} GROUP BY 1`,
  )
  let inserts = 0
  let updates = 0
  let others = 0
  for (const row of rows) {
    const of = bySource(counts, row.source)
    const superseded = Number(row.superseded)
    of.inserted = Number(row.inserted)
    of.updated = Number(row.updated)
    of.unchanged = Number(row.staged) - of.inserted - of.updated - superseded
    of.superseded += superseded
    inserts += of.inserted
    updates += of.updated
    others += of.unchanged + superseded
  }
  return { inserts, updates, allNew: updates + others === 0 }
}

/** The slices of the target that the writes to come will touch: old and new values. */
async function touched(
  session: Session,
  sql: Statements,
  request: PublishRequest,
  plan: Plan,
): Promise<{ by: string; value: string }[]> {
  const parts: ((expression: string, alias: "s" | "t") => string)[] = []
  if (plan.inserts > 0)
    parts.push((expression, alias) => (alias === "s" ? `SELECT ${expression} AS value ${newRows(sql)}` : ""))
  if (plan.updates > 0) parts.push((expression) => `SELECT ${expression} AS value ${changedRows(sql)}`)
  if (request.replaced.length > 0)
    parts.push((expression, alias) => (alias === "t" ? `SELECT ${expression} AS value FROM ${goneRows(sql)}` : ""))
  if (parts.length === 0) return []
  return slices(
    session,
    request.tracked,
    (ofStaging, ofTarget) =>
      parts
        .flatMap((part) => [part(ofStaging, "s"), part(ofTarget, "t")])
        .filter((text) => text !== "")
        .join(" UNION ALL "),
    request.replaced.length > 0 ? [request.replaced] : undefined,
  )
}

/** Rows of the replaced sources that their new version no longer has. */
async function removeGone(
  session: Session,
  sql: Statements,
  request: PublishRequest,
  counts: Map<string, SourceCounts>,
): Promise<void> {
  const { rows } = await session.query<{ source: string; deleted: string }>(
    `WITH gone AS (DELETE FROM ${goneRows(sql)} RETURNING t._source)
     SELECT _source AS source, count(*) AS deleted FROM gone GROUP BY 1`,
    [request.replaced],
  )
  for (const row of rows) bySource(counts, row.source).deleted = Number(row.deleted)
}

async function update(session: Session, sql: Statements, plan: Plan): Promise<void> {
  const keys: readonly string[] = sql.target.mode === "append" ? APPEND_KEY : sql.target.key
  const set = allColumns(sql.target)
    .filter((name) => !keys.includes(name))
    .map((name) => `${quoteIdentifier(name)} = s.${quoteIdentifier(name)}`)
    .join(", ")
  const { rowCount } = await session.query(
    `UPDATE ${sql.table} t SET ${set} FROM ${sql.staging} s WHERE ${sql.sameKey} AND NOT ${sql.newer} AND ${sql.differs}`,
  )
  requireCount("updated", plan.updates, rowCount)
}

async function insert(session: Session, sql: Statements, plan: Plan): Promise<void> {
  const { rowCount } = await session.query(
    `INSERT INTO ${sql.table} (${sql.columns}) SELECT ${sql.columns} ${plan.allNew ? `FROM ${sql.staging}` : newRows(sql)}`,
  )
  requireCount("inserted", plan.inserts, rowCount)
}

function requireCount(what: string, expected: number, got: number): void {
  if (expected !== got) throw imbalanced(`${expected} rows were to be ${what}, the database ${what} ${got}`)
}
