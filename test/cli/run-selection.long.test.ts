import pg from "pg"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { freshDatabase, type FreshDatabase } from "../postgres/server.ts"
import { envelope, projectFolder, SPILLWAY, spillway, ZOD, type Answer, type TestProject } from "./command-line.ts"

const SHOP = `
import { csv, files, model, month, pipeline, project, stages, table } from "${SPILLWAY}"
import { z } from "${ZOD}"
const orders = pipeline({
  name: "orders",
  source: files("data/*.csv", { format: csv() }),
  schema: z.object({ id: z.int(), sold: z.iso.date(), cents: z.int() }),
  sink: table("bronze.orders", { key: ["id"] }),
})
const monthly = model({
  name: "monthly",
  from: "bronze.orders",
  partition: month("sold"),
  sql: "SELECT \${partition.key} AS month_key, sum(cents) AS cents FROM bronze.orders WHERE sold >= \${partition.start} AND sold < \${partition.end}",
  sink: table("gold.monthly", { key: ["month_key"] }),
})
const totals = stages({
  name: "totals",
  stages: [
    model({ name: "total", from: "bronze.orders", sql: "SELECT 1 AS one, sum(cents) AS cents FROM bronze.orders", sink: table("gold.total", { key: ["one"] }) }),
  ],
})
export default project({ pipelines: [orders, monthly, totals] })
`
const MONTHS = ["2010-11", "2010-12", "2011-01", "2011-03", "2011-12"]

let fresh: FreshDatabase
let folder: TestProject
let client: pg.Client

beforeAll(async () => {
  fresh = await freshDatabase()
  const data = MONTHS.map((month, i) => [`data/${month}.csv`, `id,sold,cents\n${i},${month}-09,${i + 1}00\n`] as const)
  folder = await projectFolder({ "spillway.config.ts": SHOP, ...Object.fromEntries(data) })
  client = new pg.Client({ connectionString: fresh.url })
  await client.connect()
  expect(await command("run", "orders")).toMatchObject({ code: 0 })
})
afterAll(async () => {
  await client.end()
  await fresh.drop()
  await folder.remove()
})

const command = (...args: string[]): Promise<Answer> =>
  spillway([...args, "--project", folder.directory], { DATABASE_URL: fresh.url })

const rows = async <T extends object>(sql: string): Promise<T[]> => (await client.query<T>(sql)).rows

/** Months of the gold table, each with the transaction that wrote the ledger's row of it. */
async function built(): Promise<Record<string, string>> {
  const found = await rows<{ key: string; xmin: string }>(
    `SELECT partition_key AS key, p.xmin::text FROM ops.processed_partitions p
     JOIN gold.monthly ON month_key = partition_key WHERE pipeline_name = 'monthly' AND status = 'completed' ORDER BY 1`,
  )
  return Object.fromEntries(found.map(({ key, xmin }) => [key, xmin]))
}

/** Runs it and gives the months that it built, built again or not. */
async function buildsOf(...args: string[]): Promise<string[]> {
  const before: Record<string, string> = await built().catch(() => ({}))
  expect(await command("run", ...args)).toMatchObject({ code: 0, stderr: "" })
  return Object.entries(await built()).flatMap(([key, xmin]) => (before[key] === xmin ? [] : [key]))
}

interface Planned {
  readonly pipeline: string
  readonly total: number
  readonly todo: { readonly key: string; readonly reason: string; readonly detail?: string; readonly rows: number }[]
}
const planned = async (...args: string[]): Promise<Planned[]> =>
  envelope(await command("run", "--dry-run", "--json", ...args)).data as Planned[]

describe("what a run is narrowed to", () => {
  it("builds the months that are asked for, and none twice", async () => {
    expect(await buildsOf("monthly", "--year", "2010", "--month", "12")).toEqual(["2010-12"])
    expect(await buildsOf("monthly", "--year", "2010")).toEqual(["2010-11"])
    expect(await buildsOf("monthly", "--month", "12")).toEqual(["2011-12"])
    expect(await buildsOf("monthly", "--partition", "2011-03")).toEqual(["2011-03"])
    expect(await buildsOf("monthly", "--from", "2011-01", "--to", "2011-02")).toEqual(["2011-01"])
    expect(await buildsOf("monthly")).toEqual([])
  })

  it("resets what is asked for and builds that again", async () => {
    const asked = await command("run", "monthly", "--reset", "--year", "2010")
    expect(asked).toMatchObject({ code: 2, stdout: "" })
    expect(asked.stderr).toContain("Forget 2 partitions of monthly (year 2010), and process them again?")
    expect(asked.stderr).toContain("hint: add --yes")
    expect(await buildsOf("monthly")).toEqual([])

    expect(await buildsOf("monthly", "--reset", "--yes", "--year", "2010")).toEqual(["2010-11", "2010-12"])
    expect(await buildsOf("monthly", "--reset", "--yes", "--month", "12")).toEqual(["2010-12", "2011-12"])
    expect(await buildsOf("monthly", "--reset", "--yes")).toEqual(MONTHS)
    expect(await rows(`SELECT count(*)::int, sum(cents)::int FROM gold.monthly`)).toEqual([{ count: 5, sum: 1500 }])
  })

  it("--only stale builds what changed since, --only missing what was never built", async () => {
    await folder.write({ "data/2011-03.csv": "id,sold,cents\n3,2011-03-09,450\n" })
    expect(await command("run", "orders")).toMatchObject({ code: 0 })
    expect(await buildsOf("monthly", "--only", "missing")).toEqual([])
    expect(await buildsOf("monthly", "--only", "stale", "--year", "2010")).toEqual([])
    expect(await planned("monthly", "--only", "stale")).toMatchObject([
      { pipeline: "monthly", total: 1, todo: [{ key: "2011-03", reason: "stale", rows: 1 }] },
    ])
    expect(await buildsOf("monthly", "--only", "failed,stale")).toEqual(["2011-03"])
    expect(await rows(`SELECT cents::int FROM gold.monthly WHERE month_key = '2011-03'`)).toEqual([{ cents: 450 }])
  })

  it("of a whole project it narrows what is divided by time, the rest runs as ever", async () => {
    await folder.write({
      "data/2010-11.csv": "id,sold,cents\n0,2010-11-09,150\n",
      "data/2011-01.csv": "id,sold,cents\n2,2011-01-09,350\n",
    })
    expect(await buildsOf("--year", "2011")).toEqual(["2011-01"])
    expect(await rows(`SELECT cents::int FROM gold.total`)).toEqual([{ cents: 1650 }])
    expect(await buildsOf("--year", "2010")).toEqual(["2010-11"])
  })
})

describe("what cannot be meant", () => {
  it.each<[code: number, says: string, hint: string, args: string[]]>([
    [2, "--month 13 is not a month", "1 to 12", ["monthly", "--month", "13"]],
    [2, "--month 0 is not a month", "1 to 12", ["monthly", "--month", "0"]],
    [2, "--year 11 is not a year", "four digits", ["monthly", "--year", "11"]],
    [2, "--from 2011-03 is after --to 2011-01", "swap them", ["monthly", "--from", "2011-03", "--to", "2011-01"]],
    [2, "--from 2011-02-30 is not a date", "--from 2011, 2011-03 or", ["monthly", "--from", "2011-02-30"]],
    [2, `"2011-13" is not a month`, "2011-03", ["monthly", "--partition", "2011-13"]],
    [2, `"fresh" is not one of`, "missing,failed,stale", ["monthly", "--only", "fresh"]],
    [2, "--year asks for a time", "--partition", ["orders", "--year", "2011"]],
    [2, "--partition is about one pipeline", "name the pipeline", ["--partition", "2011-03"]],
    [2, "--dry-run changes nothing, --reset does", "one of them", ["monthly", "--dry-run", "--reset"]],
    [4, "no partition of year 2012", "it has 5, from 2010-11 to 2011-12", ["monthly", "--year", "2012"]],
    [4, "no partition of month 2011-02", "it has 5", ["monthly", "--year", "2011", "--month", "2"]],
    [4, `no partition "2012-01"`, "it has 5", ["monthly", "--partition", "2012-01"]],
    [4, "no partition of year 2012", "it has 5", ["monthly", "--year", "2012", "--dry-run"]],
    [4, `no partition "2012-01"`, "it has 5", ["monthly", "--partition", "2012-01", "--dry-run"]],
    [4, `no partition "data/x.csv"`, "it has 5", ["orders", "--partition", "data/x.csv", "--dry-run"]],
    [4, "no partition of year 2012", "it has 5", ["monthly", "--year", "2012", "--reset", "--yes"]],
  ])("exit %i: %s", async (code, says, hint, args) => {
    const before = await built()
    const answer = await command("run", ...args)
    expect(answer).toMatchObject({ code, stdout: "" })
    expect(answer.stderr).toContain(says)
    const [, told = ""] = /^hint: (.*)$/m.exec(answer.stderr) ?? []
    expect(told).toContain(hint)
    expect(await built()).toEqual(before)
  })
})

describe("--dry-run", () => {
  it("tells what would be done and why, and writes nothing", async () => {
    await folder.write({ "data/2011-04.csv": "id,sold,cents\n9,2011-04-01,100\n" })
    expect(await command("run", "orders")).toMatchObject({ code: 0 })
    await client.query(`DELETE FROM ops.processed_months WHERE pipeline_name = 'monthly' AND month_key = '2010-12'`)
    await folder.write({ "data/2011-05.csv": "id,sold,cents\n10,2011-05-01,100\n" })

    const before = await everything()
    const answer = await command("run", "--dry-run")
    expect(answer).toMatchObject({ code: 0, stderr: "" })
    expect(answer.stdout).toMatch(/^orders: 1 of 7 files to do\n {2}data\/2011-05\.csv +missing/)
    expect(answer.stdout).toMatch(
      /\nmonthly: 2 of 6 partitions to do, and what follows from orders\n {2}2010-12 .*1 row.*\n {2}2011-04 .*1 row/,
    )
    expect(answer.stdout).toMatch(/\ntotals: 1 of 1 partition to do, and what follows from orders\n {2}all +stale/)
    expect(await planned()).toHaveLength(3)
    expect(await planned("monthly", "--year", "2010", "--month", "12")).toMatchObject([
      { total: 1, todo: [{ key: "2010-12", rows: 1 }] },
    ])
    expect(await everything()).toEqual(before)

    expect(await command("run")).toMatchObject({ code: 0 })
    const after = await everything()
    expect(after.written).not.toEqual(before.written)
    expect(after.tables).not.toEqual(before.tables)
    expect((await command("run", "--dry-run")).stdout).toBe(
      "orders: 0 of 7 files to do\n\nmonthly: 0 of 7 partitions to do\n\ntotals: 0 of 1 partition to do\n",
    )
  })
})

/** Every row of every table with where it lies and who wrote it, every sequence, and PostgreSQL's own count of what was written. */
async function everything() {
  // A server process hands in its counts when it ends.
  await expect
    .poll(
      () =>
        rows(`SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
                        AND backend_type = 'client backend'`),
      { timeout: 20_000 },
    )
    .toEqual([])
  const names = await rows<{ name: string }>(
    `SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables
     WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1`,
  )
  const tables: Record<string, unknown> = {}
  for (const { name } of names)
    tables[name] = await rows(`SELECT ctid::text, xmin::text, t::text AS row FROM ${name} t ORDER BY t.ctid`)
  await client.query(`SELECT pg_stat_clear_snapshot()`)
  return {
    tables,
    sequences: await rows(`SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY 1, 2`),
    // The server itself keeps statistics in these two.
    written: await rows(
      `SELECT schemaname, relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_all_tables
       WHERE relname NOT IN ('pg_statistic', 'pg_toast_2619', 'pg_class') AND NOT (SELECT relisshared FROM pg_class WHERE oid = relid) AND n_tup_ins + n_tup_upd + n_tup_del > 0 ORDER BY 1, 2`,
    ),
  }
}
