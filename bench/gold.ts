// node bench/gold.ts [--months 24 --rows 200000 --runs 5]
// A gold table rebuilt month by month: the model, with its ledger, leases, checks and commit per month, against plain
// INSERT … SELECT … GROUP BY of the same query, one transaction per month. In turn, in this one run; medians are printed.
import { readFile } from "node:fs/promises"
import { parseArgs } from "node:util"
import pg from "pg"
import { model, month, rowCount, run, table, type Model, type RunReport } from "spillway"
import example from "../examples/retail/spillway.config.ts"
import { benchServer, median, seconds, spread } from "./server.ts"

const { values } = parseArgs({
  options: {
    months: { type: "string", default: "24" },
    rows: { type: "string", default: "200000" },
    runs: { type: "string", default: "5" },
  },
})
const [months, rows, runs] = [Number(values.months), Number(values.rows), Number(values.runs)]

const GOLD = "gold.fact_sales_monthly"
const PLAIN = "gold.plain_sales_monthly"
/** In the order of the query. */
const COLUMNS = "month_key, year, month, units_sold, revenue, returned_units, refund_amount, lines"
const QUERY = new URL("../examples/retail/models/fact_sales_monthly.sql", import.meta.url)

const withSums = example.pipelines.find((runnable): runnable is Model => runnable.name === "fact_sales_monthly")
if (withSums === undefined) throw new Error("the example has no fact_sales_monthly")
const withoutSums = model({
  name: "fact_sales_monthly",
  from: "silver.fact_sales_daily",
  partition: month("sale_date"),
  sql: QUERY,
  sink: table(GOLD, { key: ["month_key"] }),
  checks: [rowCount({ min: 1, max: 1 })],
})

const server = await benchServer()
try {
  console.log(`gold by month, median of ${runs}; fsync on, logged tables\n`)
  await measure("retail", async (url) => {
    for (const runnable of example.pipelines.slice(0, 2)) completed(await run(runnable, { database: url }))
  })
  await measure(`${months} months of ${rows} rows`, makeSilver)
} finally {
  await server.stop()
}

async function measure(what: string, prepare: (url: string) => Promise<void>): Promise<void> {
  const db = await server.fresh()
  const client = new pg.Client({ connectionString: db.url })
  await client.connect()
  try {
    await prepare(db.url)
    await client.query("VACUUM ANALYZE silver.fact_sales_daily")
    completed(await run(withSums as Model, { database: db.url }))
    await client.query(`CREATE TABLE ${PLAIN} AS SELECT ${COLUMNS} FROM ${GOLD} WITH NO DATA`)
    await client.query(`ALTER TABLE ${PLAIN} ADD PRIMARY KEY (month_key)`)
    const keys = await monthsOf(client)
    const { rows: counted } = await client.query<{ n: number }>(
      "SELECT count(*)::int AS n FROM silver.fact_sales_daily",
    )
    console.log(`${what}: ${keys.length} months, ${counted[0]?.n} rows of silver`)
    const sides = { plain: [] as number[], bare: [] as number[], full: [] as number[] }
    const reports: RunReport[] = []
    for (let n = 0; n < runs; n++) {
      sides.plain.push(await timed(() => rebuildPlainly(client, keys)))
      sides.bare.push(await timed(() => rebuild(client, db.url, withoutSums)))
      sides.full.push(await timed(async () => reports.push(await rebuild(client, db.url, withSums as Model))))
      await expectSame(client)
    }
    tell("plain INSERT … SELECT", sides.plain)
    tell("the model with one check", sides.bare, sides.plain)
    tell("the example's model: 4 checks, 5 sums compared with silver", sides.full, sides.plain)
    const steps = Object.entries(reports.at(-1)?.steps ?? {}).map(([step, ms]) => `${step} ${seconds(ms)}`)
    console.log(`  of its last run: ${steps.join(", ")}\n`)
  } finally {
    await client.end()
    await db.drop()
  }
}

function tell(what: string, times: readonly number[], against?: readonly number[]): void {
  const ratio = against === undefined ? "" : `  ${(median(times) / median(against)).toFixed(2)} × plain (goal 1.30)`
  console.log(`  ${what.padEnd(60)} ${seconds(median(times))}   (${spread(times)})${ratio}`)
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await work()
  return performance.now() - start
}

/** Forgets all months and empties the table, so that both sides write every row. */
async function rebuild(client: pg.Client, url: string, built: Model): Promise<RunReport> {
  await client.query("DELETE FROM ops.processed_months WHERE pipeline_name = $1", [built.name])
  await client.query(`TRUNCATE ${GOLD}`)
  return completed(await run(built, { database: url }))
}

async function rebuildPlainly(client: pg.Client, keys: readonly string[]): Promise<void> {
  const query = (await readFile(QUERY, "utf8")).replace("${partition.start}", "$1").replace("${partition.end}", "$2")
  await client.query(`TRUNCATE ${PLAIN}`)
  for (const key of keys) {
    await client.query("BEGIN")
    await client.query(`INSERT INTO ${PLAIN} ${query}`, [`${key}-01`, nextMonth(key)])
    await client.query("COMMIT")
  }
}

function nextMonth(key: string): string {
  const [year = 0, month = 0] = key.split("-").map(Number)
  return new Date(Date.UTC(year, month, 1)).toISOString().slice(0, 10)
}

async function monthsOf(client: pg.Client): Promise<string[]> {
  const { rows: found } = await client.query<{ key: string }>(`SELECT month_key AS key FROM ${GOLD} ORDER BY 1`)
  return found.map(({ key }) => key)
}

/** Figures about different results would mean nothing. */
async function expectSame(client: pg.Client): Promise<void> {
  const { rowCount: different } = await client.query(
    `(SELECT ${COLUMNS} FROM ${GOLD} EXCEPT SELECT ${COLUMNS} FROM ${PLAIN})
     UNION ALL (SELECT ${COLUMNS} FROM ${PLAIN} EXCEPT SELECT ${COLUMNS} FROM ${GOLD})`,
  )
  if (different !== 0) throw new Error(`${different} rows differ between the two sides`)
}

function completed(report: RunReport): RunReport {
  if (report.status !== "completed") throw new Error(`${report.pipeline}: ${report.status} ${report.error?.message}`)
  return report
}

/** A silver table of the example's shape: 28 days in each month, 4,000 products. */
async function makeSilver(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(
      `CREATE SCHEMA silver;
       CREATE TABLE silver.fact_sales_daily (sale_date date, stock_code text, country text, lines bigint, units_sold bigint,
         revenue numeric, returned_units bigint, refund_amount numeric, PRIMARY KEY (sale_date, stock_code, country))`,
    )
    await client.query(
      `INSERT INTO silver.fact_sales_daily
       SELECT (date '2010-01-01' + make_interval(months => m))::date + i % 28, 'P' || (i / 28) % 4000, 'C' || i / 112000,
              1 + i % 7, 1 + i % 90, (1 + i % 90) * 2.55, i % 3, (i % 3) * 1.25
       FROM generate_series(0, $1::int - 1) m, generate_series(0, $2::int - 1) i`,
      [months, rows],
    )
  } finally {
    await client.end()
  }
}
