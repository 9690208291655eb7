import { afterAll, beforeAll, expect, test } from "vitest"
import { z } from "zod"
import { csv, day, files, month, pipeline, table, value } from "../../src/index.ts"
import { by, keyExpression } from "../../src/models/partition-unit.ts"
import { timestamp } from "../../src/schema/index.ts"
import { testBed, type Bed } from "./bed.ts"

let bed: Bed
beforeAll(async () => {
  bed = await testBed()
})
afterAll(() => bed.end())

const sales = (name: string, mode: "append" | "upsert") =>
  pipeline({
    name,
    source: files(`${name}/*.csv`, { format: csv() }),
    schema: z.object({ id: z.int(), sold: timestamp({ zone: "Europe/London" }).nullable(), amount: z.int() }),
    sink: table(`shop.${name}`, {
      ...(mode === "append" ? { mode } : { key: ["id"] }),
    }),
  })

/** What models that read the table ask for. */
async function track(name: string): Promise<void> {
  for (const [unit, type] of [
    [month("sold", "Europe/London"), "timestamptz"],
    [day("sold", "America/New_York"), "timestamptz"],
    [value("amount"), "bigint"],
  ] as const)
    await bed.rows(`INSERT INTO ops.tracked_partitions (table_name, partition_by, expression) VALUES ($1, $2, $3)`, [
      `shop.${name}`,
      by(unit),
      keyExpression(unit, type, "$row"),
    ])
}

/** Touches of a run by slice, with whether their transaction is the one that wrote rows. */
const touches = async (runId: string): Promise<Record<string, string[]>> => {
  const rows = await bed.rows<{ by: string; values: string[] }>(
    `SELECT partition_by AS by, array_agg(partition_value ORDER BY partition_value) AS values
     FROM ops.touched_partitions WHERE run_id = $1 GROUP BY 1`,
    [runId],
  )
  return Object.fromEntries(rows.map((row) => [row.by, row.values]))
}

test.each(["append", "upsert"] as const)(
  "%s: old and new slices of what changed are recorded, with the transaction, and nothing else",
  async (mode) => {
    const name = `sales_${mode}`
    const pipelineOf = sales(name, mode)
    const file = `${name}/a.csv`
    await track(name)
    await bed.write(
      file,
      [
        "id,sold,amount",
        "1,2011-01-31 23:30:00,10",
        "2,2011-02-01 02:00:00,20",
        "3,,30",
        "4,2011-06-30 23:30:00,40",
        "",
      ].join("\n"),
    )
    const first = await bed.run(pipelineOf)
    expect(await touches(first.runId)).toEqual({
      "month(sold, Europe/London)": ["2011-01", "2011-02", "2011-06"],
      "day(sold, America/New_York)": ["2011-01-31", "2011-06-30"],
      "value(amount)": ["10", "20", "30", "40"],
    })
    const [{ table_name: tableName, transactions, committed } = {}] = await bed.rows<{
      table_name: string
      transactions: number
      committed: boolean
    }>(
      `SELECT table_name, count(DISTINCT xid)::int AS transactions,
            bool_and(pg_xact_status(xid) = 'committed') AS committed
     FROM ops.touched_partitions WHERE run_id = $1 GROUP BY 1`,
      [first.runId],
    )
    expect({ tableName, transactions, committed }).toEqual({
      tableName: `shop.${name}`,
      transactions: 1,
      committed: true,
    })

    // One row moves from January to March, one (the last) is gone, the others are as they were.
    await bed.write(
      file,
      ["id,sold,amount", "1,2011-03-05 12:00:00,10", "2,2011-02-01 02:00:00,20", "3,,30", ""].join("\n"),
    )
    const second = await bed.run(pipelineOf)
    expect(second.counts).toMatchObject({ updated: 1, unchanged: 2, deleted: 1 })
    expect(await touches(second.runId)).toEqual({
      "month(sold, Europe/London)": ["2011-01", "2011-03", "2011-06"],
      "day(sold, America/New_York)": ["2011-01-31", "2011-03-05", "2011-06-30"],
      "value(amount)": ["10", "40"],
    })

    const full = await bed.run(pipelineOf, { full: true })
    expect(full.counts).toMatchObject({ read: 3, unchanged: 3 })
    expect(await touches(full.runId)).toEqual({})
    const idle = await bed.run(pipelineOf)
    expect(await touches(idle.runId)).toEqual({})
  },
)

test("a file that is held touches nothing", async () => {
  const name = "sales_held"
  await track(name)
  await bed.write(`${name}/a.csv`, "id,sold,amount,extra\n1,2011-01-31 23:30:00,10,x\n")
  const report = await bed.run(sales(name, "append"))
  expect(report.status).toBe("partial")
  expect(await touches(report.runId)).toEqual({})
})
