// The project of the kill test of models, the sales it loads, and what its tables must hold, worked out from the sales alone.
import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { z } from "zod"
import { seededRandom } from "../../src/core/random.ts"
import { csv, files, model, month, pipeline, project, stages, table, type Project } from "../../src/index.ts"

const IN_MONTH = "sold >= ${partition.start} AND sold < ${partition.end}"

/** A pipeline, a model by month over it, another one over that, and two stages over both. */
export function killProject(): Project {
  const sales = pipeline({
    name: "sales",
    source: files("*.csv", { format: csv() }),
    schema: z.object({ sold: z.iso.date(), product: z.string(), cents: z.int() }),
    sink: table("bronze.sales", { mode: "append" }),
  })
  const daily = model({
    name: "daily",
    from: "bronze.sales",
    partition: month("sold"),
    sql: `SELECT sold, product, count(*) AS lines, sum(cents) AS cents FROM bronze.sales WHERE ${IN_MONTH} GROUP BY 1, 2`,
    sink: table("silver.daily", { key: ["sold", "product"] }),
    sums: `SELECT sum(cents) AS cents FROM bronze.sales WHERE ${IN_MONTH}`,
  })
  const monthly = model({
    name: "monthly",
    from: "silver.daily",
    partition: month("sold"),
    sql: `SELECT to_char(sold, 'YYYY-MM') AS month_key, sum(lines) AS lines, sum(cents) AS cents
          FROM silver.daily WHERE ${IN_MONTH} GROUP BY 1`,
    sink: table("gold.monthly", { mode: "replace" }),
  })
  const performance = stages({
    name: "performance",
    stages: [
      model({
        name: "products",
        from: "silver.daily",
        sql: "SELECT product, sum(lines) AS lines, sum(cents) AS cents FROM silver.daily GROUP BY 1",
        sink: table("gold.products", { key: ["product"] }),
      }),
      model({
        name: "total",
        from: "gold.monthly",
        sql: "SELECT 'all' AS name, sum(lines) AS lines, sum(cents) AS cents FROM gold.monthly",
        sink: table("gold.total", { key: ["name"] }),
      }),
    ],
  })
  return project({ pipelines: [sales, daily, monthly, performance] })
}

export interface Sold {
  readonly sold: string
  readonly product: string
  readonly cents: number
}

/** Sales by file. */
export type SoldFiles = Readonly<Record<string, readonly Sold[]>>

const FILES = 5
const ROWS = 40
const MONTHS = 6

/** The same for the same seed. */
export function makeSales(seed: number): SoldFiles {
  const random = seededRandom(seed)
  const below = (n: number): number => Math.floor(random.next() * n)
  const one = (): Sold => ({
    sold: `2011-0${1 + below(MONTHS)}-${String(1 + below(28)).padStart(2, "0")}`,
    product: `p${below(7)}`,
    cents: below(10_000) - 1_000,
  })
  return Object.fromEntries(
    Array.from({ length: FILES }, (_, n) => [`sales-${n}.csv`, Array.from({ length: ROWS }, one)]),
  )
}

/** One file corrected, one without its sales of a month, one new: other months stay as they are. */
export function changedSales(sales: SoldFiles): SoldFiles {
  const [first = "", second = ""] = Object.keys(sales)
  return {
    ...sales,
    [first]: (sales[first] ?? []).map((one) => (one.sold < "2011-02" ? { ...one, cents: one.cents + 1 } : one)),
    [second]: (sales[second] ?? []).map((one) => (one.sold.startsWith("2011-02") ? { ...one, product: "other" } : one)),
    "sales-new.csv": [{ sold: "2011-09-09", product: "p1", cents: 5 }],
  }
}

export async function writeSales(folder: string, sales: SoldFiles): Promise<void> {
  await mkdir(folder, { recursive: true })
  for (const [name, rows] of Object.entries(sales))
    await writeFile(
      join(folder, name),
      ["sold,product,cents", ...rows.map(({ sold, product, cents }) => `${sold},${product},${cents}`), ""].join("\n"),
    )
}

/** Rows by table as `key lines cents`, sorted. */
export function tablesOf(sales: SoldFiles): Record<string, string[]> {
  const all = Object.values(sales).flat()
  const grouped = (keyOf: (one: Sold) => string): string[] => {
    const groups = new Map<string, { lines: number; cents: number }>()
    for (const one of all) {
      const { lines, cents } = groups.get(keyOf(one)) ?? { lines: 0, cents: 0 }
      groups.set(keyOf(one), { lines: lines + 1, cents: cents + one.cents })
    }
    return [...groups].map(([key, { lines, cents }]) => `${key} ${lines} ${cents}`).sort()
  }
  return {
    "bronze.sales": all.map(({ sold, product, cents }) => `${sold} ${product} ${cents}`).sort(),
    "silver.daily": grouped(({ sold, product }) => `${sold} ${product}`),
    "gold.monthly": grouped(({ sold }) => sold.slice(0, 7)),
    "gold.products": grouped(({ product }) => product),
    "gold.total": grouped(() => "all"),
  }
}

export const monthsOf = (sales: SoldFiles): string[] =>
  [...new Set(Object.values(sales).flatMap((rows) => rows.map(({ sold }) => sold.slice(0, 7))))].sort()
