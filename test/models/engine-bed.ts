// Sales in memory, the pipeline that loads them, models over them, and an oracle that works it all out from the sales alone.
import { z } from "zod"
import type { PartitionReason, RunEvent } from "../../src/core/events.ts"
import type { Model, ModelOptions } from "../../src/engine/model/model.ts"
import type { Runnable } from "../../src/engine/project.ts"
import type { RunReport } from "../../src/engine/report.ts"
import { partitionsOf, run } from "../../src/engine/run-any.ts"
import type { RunOptions } from "../../src/engine/run.ts"
import { model, month, pipeline, table, type Pipeline } from "../../src/index.ts"
import { recordsSource } from "../../src/testing/index.ts"
import { testBed, type Bed } from "../engine/bed.ts"

export interface Sale extends Record<string, unknown> {
  readonly id: number
  /** `2011-03-09`. */
  readonly sold: string
  readonly product: string
  readonly cents: number
}

/** Sales by the file they are in. */
export type Sales = Record<string, Sale[]>

export const sale = (id: number, sold: string, product: string, cents: number): Sale => ({ id, sold, product, cents })

/** Three months in two files. Read anew by each test, which may change it. */
export const someSales = (): Sales => ({
  early: [
    sale(1, "2011-01-05", "ale", 100),
    sale(2, "2011-01-31", "ale", 250),
    sale(3, "2011-01-31", "bun", 30),
    sale(4, "2011-02-01", "ale", 75),
  ],
  late: [sale(5, "2011-02-28", "cup", 990), sale(6, "2011-03-01", "ale", 5), sale(7, "2011-03-31", "bun", -30)],
})

/** Loads the sales into `shop.sales`, keyed by their place in the file. */
export const salesPipeline = (sales: () => Sales, name = "sales", into = "shop.sales"): Pipeline =>
  pipeline({
    name,
    source: recordsSource(sales),
    schema: z.object({ id: z.int(), sold: z.iso.date(), product: z.string(), cents: z.int() }),
    sink: table(into, { mode: "append" }),
  })

export const IN_MONTH = "sold >= ${partition.start} AND sold < ${partition.end}"

export const MONTHLY_SQL = `
  SELECT to_char(sold, 'YYYY-MM') AS month_key, product, count(*) AS lines, sum(cents) AS cents
  FROM shop.sales WHERE ${IN_MONTH} GROUP BY 1, 2`

/** Sales by month and product in `mart.monthly`, unless told otherwise. */
export const monthlyModel = (options: Partial<ModelOptions> = {}): Model =>
  model({
    name: "monthly",
    from: "shop.sales",
    partition: month("sold"),
    sql: MONTHLY_SQL,
    sink: table("mart.monthly", { key: ["month_key", "product"] }),
    ...options,
  })

/** What `mart.monthly` has to hold: `month product lines cents`, sorted. */
export function monthlyOf(sales: Sales, months?: readonly string[]): string[] {
  const sums = new Map<string, { lines: number; cents: number }>()
  for (const { sold, product, cents } of Object.values(sales).flat()) {
    const key = `${sold.slice(0, 7)} ${product}`
    const sum = sums.get(key) ?? { lines: 0, cents: 0 }
    sums.set(key, { lines: sum.lines + 1, cents: sum.cents + cents })
  }
  return [...sums]
    .filter(([key]) => months?.includes(key.slice(0, 7)) ?? true)
    .map(([key, { lines, cents }]) => `${key} ${lines} ${cents}`)
    .sort()
}

export interface ModelBed {
  readonly bed: Bed
  readonly events: readonly RunEvent[]
  /** Runs it; the events are those of this run. */
  run(runnable: Runnable, options?: Partial<RunOptions>): Promise<RunReport>
  /** Reason by key (`part/key` of stages) of all that the next run would do. */
  todo(runnable: Runnable): Promise<Record<string, PartitionReason>>
  /** The columns that are not Spillway's own of every row, joined by blanks, sorted. */
  lines(table: string): Promise<string[]>
  /** Place and writing transaction of each row, by partition; changes when a row is written, even with the same values. */
  tuples(table: string): Promise<Record<string, string>>
  /** Status by partition in `ops.processed_partitions`. */
  statuses(pipeline: string): Promise<Record<string, string>>
  /** Status by month in `ops.processed_months`. */
  months(pipeline: string): Promise<Record<string, string>>
  end(): Promise<void>
}

export async function modelBed(): Promise<ModelBed> {
  const bed = await testBed()
  let events: RunEvent[] = []
  const pairs = async (sql: string, values: unknown[] = []): Promise<Record<string, string>> =>
    Object.fromEntries(
      (await bed.rows<{ key: string; value: string }>(sql, values)).map(({ key, value }) => [key, value]),
    )
  return {
    bed,
    get events() {
      return events
    },
    run(runnable, options = {}) {
      const own: RunEvent[] = (events = [])
      return run(runnable, { database: bed.url, directory: bed.directory, on: (event) => own.push(event), ...options })
    },
    async todo(runnable) {
      const plans = await partitionsOf(runnable, { database: bed.url, directory: bed.directory })
      const todo = plans.filter(({ reason }) => reason !== "unchanged")
      return Object.fromEntries(
        todo.map(({ part, key, reason }) => [runnable.kind === "stages" ? `${part}/${key}` : key, reason]),
      )
    },
    async lines(name) {
      const rows = await bed.rows(`SELECT * FROM ${name}`)
      return rows
        .map((row) =>
          Object.entries(row)
            .filter(([column]) => !column.startsWith("_"))
            .map(([, value]) => String(value))
            .join(" "),
        )
        .sort()
    },
    tuples: (name) =>
      pairs(
        `SELECT _source AS key, string_agg(ctid::text || '/' || xmin, ' ' ORDER BY ctid) AS value FROM ${name} GROUP BY 1`,
      ),
    statuses: (name) =>
      pairs(`SELECT partition_key AS key, status AS value FROM ops.processed_partitions WHERE pipeline_name = $1`, [
        name,
      ]),
    months: (name) =>
      pairs(`SELECT month_key AS key, status AS value FROM ops.processed_months WHERE pipeline_name = $1`, [name]),
    end: () => bed.end(),
  }
}
