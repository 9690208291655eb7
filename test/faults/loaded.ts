// What must be in the database after a load, worked out from the orders alone.
import pg from "pg"
import { expect } from "vitest"
import type { Counts, RunEvent } from "../../src/core/events.ts"
import type { TableMode } from "../../src/engine/definition.ts"
import type { Orders } from "./orders.ts"

interface Row {
  readonly id: string
  readonly amount: number
  readonly note: string | null
  readonly source: string
  readonly position: number
}

const byPlace = (a: Row, b: Row): number => a.source.localeCompare(b.source) || a.position - b.position

/** The table as it must be: in `upsert` the last order of an id in the order of the partitions wins. */
function expectedRows(orders: Orders, mode: TableMode): Row[] {
  const rows = Object.entries(orders).flatMap(([source, list]) =>
    list.flatMap(({ id, amount, note }, i) => (amount < 0 ? [] : [{ id, amount, note, source, position: i + 1 }])),
  )
  const kept = mode === "append" ? rows : [...new Map(rows.map((row) => [row.id, row])).values()]
  return kept.sort(byPlace)
}

const expectedLetters = (orders: Orders): { partition: string; ordinal: number; raw: string }[] =>
  Object.entries(orders).flatMap(([partition, list]) =>
    list.flatMap((order, i) => (order.amount < 0 ? [{ partition, ordinal: i + 1, raw: JSON.stringify(order) }] : [])),
  )

export async function query<Result>(url: string, sql: string, values: unknown[] = []): Promise<Result[]> {
  const client = new pg.Client({ connectionString: url })
  client.on("error", () => undefined)
  await client.connect()
  try {
    return (await client.query(sql, values)).rows as Result[]
  } finally {
    await client.end()
  }
}

/** Table, dead letters and partition ledger are exactly what the orders make of them: nothing lost, nothing twice. */
export async function expectLoaded(url: string, name: string, mode: TableMode, orders: Orders): Promise<void> {
  const rows = await query<Row>(
    url,
    `SELECT id, amount::int, note, _source AS source, _position::int AS position FROM public."${name}"`,
  )
  expect(rows.sort(byPlace)).toEqual(expectedRows(orders, mode))
  const letters = await query(
    url,
    `SELECT partition_key AS partition, ordinal::int, convert_from(raw, 'UTF8') AS raw FROM ops.dead_letters
     WHERE pipeline_name = $1 AND status = 'pending' AND attempts = 1 ORDER BY partition_key, dead_letters.ordinal`,
    [name],
  )
  expect(letters).toEqual(expectedLetters(orders))
  const ledger = await query<{ key: string; status: string; counts: Counts }>(
    url,
    `SELECT partition_key AS key, status, counts FROM ops.processed_partitions WHERE pipeline_name = $1 ORDER BY 1`,
    [name],
  )
  expect(ledger.map(({ key, status, counts }) => [key, status, counts.read])).toEqual(
    Object.entries(orders).map(([key, list]) => [key, "completed", list.length]),
  )
  const runs = await query<{ counts: Counts }>(url, `SELECT counts FROM ops.runs WHERE pipeline_name = $1`, [name])
  expect(runs.reduce((sum, { counts }) => sum + (counts.inserted ?? 0) - (counts.deleted ?? 0), 0)).toBe(rows.length)
  const staging = await query(
    url,
    `SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     JOIN ops.runs r ON r.run_no = split_part(relname, '_', 2)::bigint
     WHERE nspname = 'ops_staging' AND relname ~ '^run_[0-9]+_[0-9]+$' AND r.pipeline_name = $1
     UNION ALL SELECT partition_key FROM ops_staging.progress p JOIN ops.runs r USING (run_id) WHERE r.pipeline_name = $1`,
    [name],
  )
  expect(staging).toEqual([])
}

/** Changes whenever a row of the table is written, be it with the same values. */
export async function tupleDigest(url: string, name: string): Promise<string> {
  const [row] = await query<{ digest: string }>(
    url,
    `SELECT coalesce(md5(string_agg(ctid::text || xmin::text, ',' ORDER BY ctid)), 'empty') AS digest FROM public."${name}"`,
  )
  return row?.digest ?? ""
}

/** How often each partition was published, over the events of any number of runs. */
export function publishedTimes(events: readonly RunEvent[]): Record<string, number> {
  const times: Record<string, number> = {}
  for (const event of events)
    if (event.type === "partition.published") times[event.partition] = (times[event.partition] ?? 0) + 1
  return times
}

/** Records read into staging per partition, over the events of any number of runs. */
export function stagedRecords(events: readonly RunEvent[]): Record<string, number> {
  const read: Record<string, number> = {}
  for (const event of events)
    if (event.type === "batch.staged") read[event.partition] = (read[event.partition] ?? 0) + event.read
  return read
}

export const onceEach = (orders: Orders): Record<string, number> =>
  Object.fromEntries(Object.keys(orders).map((key) => [key, 1]))

export const recordsEach = (orders: Orders): Record<string, number> =>
  Object.fromEntries(Object.entries(orders).map(([key, list]) => [key, list.length]))
