import { afterEach, beforeEach, expect, test } from "vitest"
import { z } from "zod"
import { passRate, pipeline, table, type PipelineOptions } from "../../src/index.ts"
import { decimal } from "../../src/schema/index.ts"
import { postgres, type PostgresSourceOptions } from "../../src/sources/sql/sql.ts"
import { failpoints, onThe, systemPorts } from "../../src/testing/index.ts"
import { digest, testBed, unbalanced, type Bed } from "../engine/bed.ts"

let bed: Bed
beforeEach(async () => {
  bed = await testBed()
  await bed.rows("CREATE SCHEMA shop")
  await bed.rows(
    "CREATE TABLE shop.orders (id bigint PRIMARY KEY, changed timestamptz NOT NULL, amount numeric NOT NULL)",
  )
})
afterEach(() => bed.end())

const insert = (values: string): Promise<unknown> => bed.rows(`INSERT INTO shop.orders VALUES ${values}`)

const copied = (source: Partial<PostgresSourceOptions>, options: Partial<PipelineOptions> = {}) =>
  pipeline({
    name: "orders_copy",
    source: postgres({ connection: bed.url, query: "SELECT id, changed, amount FROM shop.orders", ...source }),
    schema: z.object({ id: z.int(), changed: z.iso.datetime({ offset: true }), amount: decimal() }),
    sink: table("bronze.orders", { mode: "append" }),
    ...options,
  })

/** Rows of either table that the other does not have, as often. */
const difference = (): Promise<unknown[]> =>
  bed.rows(`(SELECT id, changed::timestamptz, amount FROM bronze.orders EXCEPT ALL SELECT * FROM shop.orders)
            UNION ALL (SELECT * FROM shop.orders EXCEPT ALL SELECT id, changed::timestamptz, amount FROM bronze.orders)`)

test("appended slices hold every row once, whatever comes late with the boundary's value", async () => {
  const pipe = copied({ cursor: "changed", key: "id" })
  await insert("(1, '2024-01-01', 0.1), (3, '2024-01-02', 12345678901234567890.123456789)")
  expect(await bed.run(pipe)).toMatchObject({ status: "completed", counts: { inserted: 2 } })
  await insert("(2, '2024-01-02', 7)")
  expect(await bed.run(pipe)).toMatchObject({ status: "completed" })
  expect(await difference()).toEqual([])
  await insert("(4, '2024-01-02', 8), (5, '2024-01-03', 9)")
  expect(await bed.run(pipe)).toMatchObject({ status: "completed" })
  expect(await difference()).toEqual([])
  expect(await bed.rows("SELECT DISTINCT _source FROM bronze.orders ORDER BY 1")).toEqual([
    { _source: 'changed after "2024-01-02 00:00:00+00" to "2024-01-03 00:00:00+00"' },
    { _source: 'changed to "2024-01-02 00:00:00+00"' },
  ])
  const before = await digest(bed, "bronze.orders")
  expect(await bed.run(pipe)).toMatchObject({ status: "completed", counts: { read: 0 } })
  expect(await bed.run(pipe, { full: true })).toMatchObject({ counts: { read: 5, unchanged: 5 } })
  expect(await digest(bed, "bronze.orders")).toBe(before)
  expect(await unbalanced(bed, pipe.name)).toEqual([])
})

test("with a key in the table, a row that changed replaces its older self", async () => {
  const pipe = copied({ cursor: "changed", key: "id" }, { sink: table("bronze.orders", { key: ["id"] }) })
  await insert("(1, '2024-01-01', 1), (2, '2024-01-01', 2), (3, '2024-01-02', 3)")
  await bed.run(pipe)
  await bed.rows("UPDATE shop.orders SET amount = 20, changed = '2024-01-05' WHERE id IN (2, 3)")
  expect(await bed.run(pipe)).toMatchObject({ status: "completed" })
  expect(await difference()).toEqual([])
})

test("a run that is stopped in a slice goes on behind the last row", async () => {
  const pipe = copied({ cursor: "id" })
  await bed.rows("INSERT INTO shop.orders SELECT n, now(), n / 3.0 FROM generate_series(1, 3000) n")
  const stop = new AbortController()
  const ports = { ...systemPorts, failpoints: failpoints({ "batch.staged": onThe(2, () => stop.abort()) }) }
  const first = await bed.run(pipe, { ports, signal: stop.signal })
  expect(first).toMatchObject({ status: "cancelled" })
  await insert("(3001, now(), 1)")
  const second = await bed.run(pipe)
  expect(second).toMatchObject({ status: "completed", runId: first.runId, attempt: 2 })
  const reread = bed.eventsOf("batch.staged").reduce((sum, event) => sum + event.read, 0)
  expect(reread).toBeLessThan(3001)
  expect(second.counts).toMatchObject({ read: 3001, inserted: 3001 })
  expect(await difference()).toEqual([])
})

test("a whole query makes the table what the query gives, and cannot be appended", async () => {
  await insert("(1, '2024-01-01', 1), (2, '2024-01-01', 2)")
  const pipe = copied({}, { sink: table("bronze.orders", { mode: "replace" }) })
  await bed.run(pipe)
  await bed.rows("DELETE FROM shop.orders WHERE id = 1")
  expect(await bed.run(pipe)).toMatchObject({ status: "completed" })
  expect(await difference()).toEqual([])
  expect(() => copied({})).toThrow(expect.objectContaining({ code: "CONFIG" }))
})

test("a slice that fails its gate is held and read again, and the next one goes on", async () => {
  await insert("(1, '2024-01-01', -1)")
  const schema = z.object({ id: z.int(), changed: z.string(), amount: decimal({ min: 0 }) })
  const pipe = copied({ cursor: "id" }, { schema, checks: [passRate(0.9)] })
  expect(await bed.run(pipe)).toMatchObject({ status: "partial" })
  await insert("(2, '2024-01-02', 2)")
  expect(await bed.run(pipe)).toMatchObject({ status: "partial" })
  await bed.rows("UPDATE shop.orders SET amount = 1 WHERE id = 1")
  expect(await bed.run(pipe)).toMatchObject({ status: "completed" })
  expect(await bed.rows("SELECT id FROM bronze.orders ORDER BY id")).toHaveLength(2)
})
