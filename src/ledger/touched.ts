import { quoteTable } from "../postgres/quote.ts"
import { lockTarget } from "../postgres/publish.ts"
import type { Session } from "../postgres/session.ts"

/** How a table is divided for those who read it. */
export interface TrackedSlices {
  /** Names the division: `month(invoice_date)`. */
  readonly by: string
  /** SQL for the key of `$row`'s partition, as text. */
  readonly expression: string
}

export interface Touch {
  readonly by: string
  readonly value: string
}

/** What commits into a table are asked to keep track of. Read with the table locked, it cannot miss a model that registers. */
export async function trackedSlices(session: Session, table: string): Promise<TrackedSlices[]> {
  const { rows } = await session.query<TrackedSlices>(
    `SELECT partition_by AS by, expression FROM ops.tracked_partitions WHERE table_name = $1 ORDER BY 1`,
    [table],
  )
  return rows
}

/** Records which slices of a table this transaction touched, under its transaction id. */
export async function recordTouches(
  session: Session,
  runId: string,
  table: string,
  touches: readonly Touch[],
): Promise<void> {
  if (touches.length === 0) return
  await session.query(
    `INSERT INTO ops.touched_partitions (table_name, partition_by, partition_value, run_id)
     SELECT $1, v.by, v.value, $2 FROM jsonb_to_recordset($3) v(by text, value text)`,
    [table, runId, JSON.stringify(touches)],
  )
}

/** Stands for a run where a table's slices were found by looking at all of it. */
const FIRST_LOOK = "first look"

/**
 * Has every later commit into a table keep track of these slices. The first time, the slices that are there already are
 * looked up, with the table locked against commits: none can fall in between.
 */
export async function trackSlices(
  session: Session,
  { schema, name }: { schema: string; name: string },
  { by, expression }: TrackedSlices,
): Promise<void> {
  const table = `${schema}.${name}`
  const registered = async (): Promise<boolean> =>
    (
      await session.query(
        `SELECT FROM ops.tracked_partitions WHERE table_name = $1 AND partition_by = $2 AND expression = $3`,
        [table, by, expression],
      )
    ).rowCount > 0
  if (await registered()) return
  await session.transaction(async () => {
    await lockTarget(session, { schema, name })
    if (await registered()) return
    await session.query(
      `INSERT INTO ops.tracked_partitions (table_name, partition_by, expression) VALUES ($1, $2, $3)
       ON CONFLICT (table_name, partition_by) DO UPDATE SET expression = excluded.expression`,
      [table, by, expression],
    )
    const slices = await slicesNow(session, { schema, name }, expression)
    await recordTouches(
      session,
      FIRST_LOOK,
      table,
      slices.map((value) => ({ by, value })),
    )
  })
}

/** The slices that the rows of a table lie in, by looking at all of them. */
export async function slicesNow(
  session: Session,
  { schema, name }: { schema: string; name: string },
  expression: string,
): Promise<string[]> {
  const { rows } = await session.query<{ value: string | null }>(
    `SELECT DISTINCT ${expression.replaceAll("$row", "r")} AS value FROM ${quoteTable(schema, name)} r`,
  )
  return rows.flatMap((row) => (row.value === null ? [] : [row.value])).sort()
}

/** Rows by slice, by looking at all of them. */
export async function rowsBySlice(
  session: Session,
  { schema, name }: { schema: string; name: string },
  expression: string,
): Promise<Map<string, number>> {
  const { rows } = await session.query<{ value: string | null; n: string }>(
    `SELECT ${expression.replaceAll("$row", "r")} AS value, count(*) AS n FROM ${quoteTable(schema, name)} r GROUP BY 1`,
  )
  return new Map(rows.flatMap((row) => (row.value === null ? [] : [[row.value, Number(row.n)]])))
}

/** Whether pipelines or models of this database write a table; changes by others are not kept track of. */
export async function isLoaded(session: Session, table: string): Promise<boolean> {
  const { rows } = await session.query(`SELECT FROM ops.source_positions WHERE position->>'table' = $1 LIMIT 1`, [
    table,
  ])
  return rows.length > 0
}

/** The slices of a table that were ever touched. */
export async function touchedSlices(session: Session, table: string, by: string): Promise<string[]> {
  const { rows } = await session.query<{ value: string }>(
    `SELECT DISTINCT partition_value AS value FROM ops.touched_partitions WHERE table_name = $1 AND partition_by = $2 ORDER BY 1`,
    [table, by],
  )
  return rows.map((row) => row.value)
}

/** A table that a model reads. */
export interface Upstream {
  readonly table: string
  readonly by: string
  /** Any touch of it concerns every partition of the model. */
  readonly whole: boolean
}

/** The latest touch of what a partition was built from, of those that its build did not see. */
export interface UnseenTouch {
  readonly table: string
  readonly runId: string
  readonly touchedAt: Date
}

/**
 * The completed partitions of a model that are not built on all there is: the snapshot of a build does not show a transaction
 * that touched what it read. Right under concurrent writers, as a transaction in flight is in no snapshot. A snapshot from the
 * future (the database was restored into another server) shows nothing for sure.
 */
export async function unseenTouches(
  session: Session,
  model: string,
  upstreams: readonly Upstream[],
): Promise<Map<string, UnseenTouch>> {
  const { rows } = await session.query<{ key: string; table: string; run_id: string; touched_at: Date }>(
    `SELECT DISTINCT ON (pp.partition_key) pp.partition_key AS key, u.name AS table, t.run_id, t.touched_at
     FROM unnest($2::text[], $3::text[], $4::boolean[]) u(name, by, whole)
     JOIN ops.touched_partitions t ON t.table_name = u.name AND t.partition_by = u.by
     JOIN ops.processed_partitions pp ON pp.pipeline_name = $1 AND pp.status = 'completed' AND (u.whole OR pp.partition_key = t.partition_value)
     WHERE pp.snapshot IS NULL OR NOT pg_visible_in_snapshot(t.xid, pp.snapshot)
        OR pg_snapshot_xmax(pp.snapshot) > pg_snapshot_xmax(pg_current_snapshot())
     ORDER BY pp.partition_key, t.id DESC`,
    [model, upstreams.map((u) => u.table), upstreams.map((u) => u.by), upstreams.map((u) => u.whole)],
  )
  return new Map(rows.map((row) => [row.key, { table: row.table, runId: row.run_id, touchedAt: row.touched_at }]))
}
