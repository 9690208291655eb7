import { afterEach, beforeEach, expect, test } from "vitest"
import { z } from "zod"
import { files, pipeline, table, type Pipeline, type TableOptions } from "../../src/index.ts"
import { decimal, timestamp } from "../../src/schema/index.ts"
import { losesDigits } from "../../src/postgres/target.ts"
import { digest, testBed, type Bed } from "./bed.ts"

let bed: Bed
beforeEach(async () => {
  bed = await testBed()
})
afterEach(() => bed.end())

const orders = (name: string, root: string, sink: TableOptions): Pipeline =>
  pipeline({
    name,
    source: files("**/*.csv", { root }),
    schema: z.object({ id: z.string(), amount: decimal() }),
    sink: table("shop.orders", sink),
  })

test.each([
  ["upsert", { key: ["id"] }],
  ["append", { mode: "append" as const }],
])("two pipelines whose files have the same names do not mix their rows in one table (%s)", async (_mode, sink) => {
  await bed.write("eu/jan.csv", "id,amount\ne1,1\ne2,2\n")
  await bed.write("us/jan.csv", "id,amount\nu1,1\n")
  expect(await bed.run(orders("eu", `${bed.directory}/eu`, sink))).toMatchObject({ status: "completed" })
  const before = await digest(bed, "shop.orders")
  const refused = await bed.run(orders("us", `${bed.directory}/us`, sink))
  expect(refused.status).not.toBe("completed")
  expect(JSON.stringify(refused.error ?? refused.held)).toMatch(/could not be told apart|duplicate key/)
  expect(await digest(bed, "shop.orders")).toBe(before)
})

test("with a root that tells them apart, two pipelines share a table", async () => {
  await bed.write("eu/jan.csv", "id,amount\ne1,1\n")
  await bed.write("us/jan.csv", "id,amount\nu1,1\nu2,1\n")
  const both = ["eu", "us"].map((name) =>
    pipeline({
      name,
      source: files(`${name}/*.csv`),
      schema: z.object({ id: z.string(), amount: decimal() }),
      sink: table("shop.orders", { key: ["id"] }),
    }),
  )
  for (const one of both) expect(await bed.run(one)).toMatchObject({ status: "completed" })
  await bed.write("us/jan.csv", "id,amount\nu1,1\n")
  for (const one of both) expect(await bed.run(one)).toMatchObject({ status: "completed" })
  expect(await bed.rows("SELECT id FROM shop.orders ORDER BY id")).toEqual([{ id: "e1" }, { id: "u1" }])
})

test.each([
  ["upsert", { key: ["id"] }],
  ["append", { mode: "append" as const }],
])(
  "the ledger of partitions can be emptied: everything is read again and nothing doubled (%s)",
  async (_mode, sink) => {
    await bed.write("jan.csv", "id,amount\na,1\nb,2\n")
    await bed.write("feb.csv", "id,amount\nc,1\n")
    const one = orders("orders", bed.directory, sink)
    await bed.run(one)
    const before = await digest(bed, "shop.orders")
    await bed.rows("DELETE FROM ops.processed_partitions")
    expect(await bed.run(one)).toMatchObject({ status: "completed", counts: { read: 3, unchanged: 3, inserted: 0 } })
    expect(await digest(bed, "shop.orders")).toBe(before)
  },
)

test("a table that would change values silently is refused, with the statements that mend it", async () => {
  await bed.rows(`CREATE SCHEMA shop`)
  await bed.rows(
    `CREATE TABLE shop.orders (id text PRIMARY KEY, amount numeric(10,2), at timestamp, _source text, _position bigint, _seq bigint, _run_id text)`,
  )
  await bed.write("jan.csv", "id,amount,at\na,0.001,2026-01-01 10:00+02:00\n")
  const one = pipeline({
    name: "orders",
    source: files("*.csv"),
    schema: z.object({ id: z.string(), amount: decimal(), at: timestamp({ zone: "in text" }) }),
    sink: table("shop.orders", { key: ["id"] }),
  })
  const report = await bed.run(one)
  expect(report).toMatchObject({ status: "failed", error: { code: "SCHEMA_DRIFT" } })
  expect(report.error?.hint).toContain('ALTER COLUMN "amount" TYPE numeric;')
  expect(report.error?.hint).toContain('ALTER COLUMN "at" TYPE timestamptz;')
  for (const line of report.error?.hint?.split("\n").slice(1) ?? []) await bed.rows(line)
  expect(await bed.run(one)).toMatchObject({ status: "completed" })
  expect(
    await bed.rows("SELECT amount::text, at AT TIME ZONE 'UTC' = '2026-01-01 08:00' AS right FROM shop.orders"),
  ).toEqual([{ amount: "0.001", right: true }])
})

test.each([
  ["numeric", "numeric(10,2)", true],
  ["numeric(8,2)", "numeric(10,2)", false],
  ["numeric(8,3)", "numeric(10,2)", true],
  ["bigint", "numeric(20,0)", false],
  ["numeric", "numeric", false],
  ["numeric", "double precision", true],
  ["bigint", "double precision", true],
  ["integer", "double precision", false],
  ["double precision", "real", true],
  ["timestamptz", "timestamp with time zone", false],
  ["timestamptz", "timestamp without time zone", true],
  ["timestamptz", "timestamp(3) with time zone", true],
  ["timestamptz", "date", true],
  ["date", "timestamp without time zone", false],
  ["integer", "bigint", false],
  ["text", "character varying(20)", false],
])("%s into %s: loses %s", (declared, there, loses) => {
  expect(losesDigits(declared, there)).toBe(loses)
})
