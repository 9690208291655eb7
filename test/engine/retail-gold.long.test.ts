import { mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { gunzipSync, gzipSync } from "node:zlib"
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest"
import type { RunEvent } from "../../src/core/events.ts"
import type { RunReport } from "../../src/engine/report.ts"
import { run, type Project } from "../../src/index.ts"
import { digest, testBed, type Bed } from "./bed.ts"
import { retailSales, type Measures, type RetailSales } from "./retail-sales.ts"

// The example imports the package by its name, which would be what was last built.
vi.mock("spillway", () => import("../../src/index.ts"))
vi.mock("spillway/schema", () => import("../../src/schema/index.ts"))

/** The UCI "Online Retail" files, one gzipped CSV per day, beside the project. Without them this test fails. */
const data = fileURLToPath(new URL("../../../shared/data/online-retail/", import.meta.url))
const LOAD_MS = 240_000

const BRONZE = "bronze.raw_transactions"
const SILVER = "silver.fact_sales_daily"
const [MONTHLY, PRODUCTS, COUNTRIES] = [
  "gold.fact_sales_monthly",
  "gold.fact_product_performance",
  "gold.fact_country_sales",
]
const TABLES = [BRONZE, SILVER, MONTHLY, PRODUCTS, COUNTRIES]

interface Pass {
  readonly reports: Readonly<Record<string, RunReport>>
  readonly events: readonly RunEvent[]
}

let bed: Bed
let folder: string
let example: Project
let first: Pass

beforeAll(async () => {
  bed = await testBed()
  folder = join(bed.directory, "daily")
  await mkdir(folder)
  for (const name of await readdir(data)) await symlink(join(data, name), join(folder, name))
  vi.stubEnv("RETAIL_DATA", folder)
  example = (await import("../../examples/retail/spillway.config.ts")).default
  first = await runExample()
}, LOAD_MS)
afterAll(async () => {
  vi.unstubAllEnvs()
  await bed.end()
})

/** Runs the whole example, as `spillway run` does. */
async function runExample(): Promise<Pass> {
  const reports: Record<string, RunReport> = {}
  const events: RunEvent[] = []
  for (const runnable of example.pipelines)
    reports[runnable.name] = await run(runnable, {
      database: bed.url,
      directory: bed.directory,
      on: (event) => events.push(event),
    })
  return { reports, events }
}

const MEASURES = "units_sold, trim_scale(revenue), returned_units, trim_scale(refund_amount), lines"

/** A table's rows as the oracle writes them, by key. */
async function table(name: string, key: string, more: readonly string[] = []): Promise<Measures> {
  const found = await bed.rows<{ key: string; measures: string }>(
    `SELECT ${key} AS key, concat_ws(' ', ${[MEASURES, ...more].join(", ")}) AS measures FROM ${name}`,
  )
  return new Map(found.map((row) => [row.key, row.measures]))
}

const loaded = async (): Promise<RetailSales> => ({
  months: await table(MONTHLY, "month_key"),
  products: await table(PRODUCTS, "stock_code", ["first_sold", "last_sold", "countries"]),
  countries: await table(COUNTRIES, "country", ["products"]),
  days: await table(SILVER, DAY_KEY),
})
const DAY_KEY = "concat_ws(' ', sale_date, stock_code, country)"

const sorted = (measures: Measures): [string, string][] => [...measures].sort(([a], [b]) => (a < b ? -1 : 1))

/** The first differences, so that a failure is readable. */
function differences(found: Measures, wanted: Measures): string[] {
  const keys = new Set([...found.keys(), ...wanted.keys()])
  return [...keys]
    .filter((key) => found.get(key) !== wanted.get(key))
    .slice(0, 5)
    .map((key) => `${key}: ${found.get(key)}, but in the files ${wanted.get(key)}`)
}

async function expectSales(wanted: RetailSales): Promise<void> {
  const found = await loaded()
  expect(sorted(found.months)).toEqual(sorted(wanted.months))
  expect(differences(found.products, wanted.products)).toEqual([])
  expect(differences(found.countries, wanted.countries)).toEqual([])
  expect(differences(found.days, wanted.days)).toEqual([])
}

/** One total over each layer, written out: units, revenue, returned, refunds, lines. */
const layerTotals = (): Promise<string[]> =>
  bed
    .rows<{ total: string }>(
      [SILVER, MONTHLY, PRODUCTS, COUNTRIES]
        .map(
          (name) =>
            `SELECT concat_ws(' ', sum(units_sold), trim_scale(sum(revenue)), sum(returned_units), trim_scale(sum(refund_amount)), sum(lines)) AS total FROM ${name}`,
        )
        .concat(
          `SELECT concat_ws(' ', sum(CASE WHEN returned THEN 0 ELSE quantity END),
                  trim_scale(sum(CASE WHEN returned THEN 0 ELSE quantity * unit_price END)),
                  -sum(CASE WHEN returned THEN quantity ELSE 0 END),
                  trim_scale(-sum(CASE WHEN returned THEN quantity * unit_price ELSE 0 END)), count(*))
           FROM (SELECT *, quantity < 0 OR left(invoice_no, 1) = 'C' AS returned FROM ${BRONZE}) b`,
        )
        .join(" UNION ALL "),
    )
    .then((rows) => rows.map((row) => row.total))

async function digests(): Promise<string[]> {
  const found: string[] = []
  for (const name of TABLES) found.push(await digest(bed, name))
  return found
}

/** Which transaction wrote each row. */
async function writers(name: string, key: string): Promise<Measures> {
  const found = await bed.rows<{ key: string; writer: string }>(
    `SELECT ${key} AS key, ctid::text || ' ' || xmin::text AS writer FROM ${name}`,
  )
  return new Map(found.map((row) => [row.key, row.writer]))
}

const allWriters = async (): Promise<RetailSales> => ({
  months: await writers(MONTHLY, "month_key"),
  products: await writers(PRODUCTS, "stock_code"),
  countries: await writers(COUNTRIES, "country"),
  days: await writers(SILVER, DAY_KEY),
})

/** Keys whose text is another one, or that are in one of them only. */
const changedKeys = (before: Measures, after: Measures): string[] =>
  [...new Set([...before.keys(), ...after.keys()])].filter((key) => before.get(key) !== after.get(key)).sort()

describe("the retail example", () => {
  test("builds thirteen months and every figure is that of the files", { timeout: LOAD_MS }, async () => {
    for (const [name, report] of Object.entries(first.reports))
      expect([name, report.status, report.warnings]).toEqual([name, "completed", []])
    expect(first.reports["fact_sales_daily"]?.partitions).toMatchObject({ total: 13, published: 13 })
    expect(first.reports["fact_sales_monthly"]?.partitions).toMatchObject({ total: 13, published: 13 })
    await expectSales(await retailSales(folder))
  })

  test("the figures of five months, written out", async () => {
    const months = await table(MONTHLY, "month_key")
    expect(months.size).toBe(13)
    expect(Object.fromEntries(months)).toMatchObject({
      "2010-12": "362316 823746.14 20088 74789.12 42481",
      "2011-01": "397716 691364.56 88750 131364.3 35147",
      "2011-04": "312176 537808.621 23078 44601.5 29916",
      "2011-11": "771598 1509496.33 31312 47740.08 84711",
      "2011-12": "315052 638792.68 88719 205124.67 25525",
    })
    expect(
      await bed.rows(
        `SELECT month_key FROM ${MONTHLY} WHERE month_key <> format('%s-%s', year, lpad(month::text, 2, '0'))`,
      ),
    ).toEqual([])
  })

  test("gold, silver and bronze add up to the same", async () => {
    const totals = await layerTotals()
    expect(totals).toHaveLength(5)
    expect(new Set(totals).size).toBe(1)
    expect(totals[0]).toMatch(/ 541907$/)
  })

  test("the checks of each month were judged and passed", async () => {
    expect(
      await bed.rows(
        `SELECT check_name AS check, count(*)::int AS judged, bool_and(passed) AS passed FROM ops.quality_results
         WHERE pipeline_name = 'fact_sales_monthly' GROUP BY 1 ORDER BY 1`,
      ),
    ).toEqual(
      ["a month has sales", "no month is missing before it", "refunds do not exceed sales", "rowCount"].map(
        (check) => ({
          check,
          judged: 13,
          passed: true,
        }),
      ),
    )
  })

  test("a second run has 0 of 13 to do and writes no row", async () => {
    const before = await digests()
    const { reports } = await runExample()
    for (const name of ["fact_sales_daily", "fact_sales_monthly"])
      expect(reports[name]).toMatchObject({
        status: "completed",
        partitions: { total: 13, chosen: 0, published: 0, unchanged: 13 },
      })
    expect(reports["performance"]).toMatchObject({ status: "completed", partitions: { chosen: 0, unchanged: 2 } })
    expect(await digests()).toEqual(before)
  })

  test(
    "a changed and a new file rebuild their two months, and write only rows that differ",
    { timeout: LOAD_MS },
    async () => {
      const [salesBefore, writersBefore] = [await loaded(), await allWriters()]
      await changeOneDay("2011-03-15.csv.gz")
      await addOneDay("2011-05-07.csv.gz", "2011-05-07")
      const { reports, events } = await runExample()
      const wanted = await retailSales(folder)
      await expectSales(wanted)
      expect(new Set(await layerTotals()).size).toBe(1)

      expect(reports["retail_transactions"]?.partitions).toMatchObject({
        published: 2,
        reasons: { changed: 1, new: 1 },
      })
      for (const name of ["fact_sales_daily", "fact_sales_monthly"]) {
        expect(reports[name]?.partitions).toMatchObject({
          total: 13,
          published: 2,
          unchanged: 11,
          reasons: { stale: 2 },
        })
        const published = events.filter((event) => event.type === "partition.published" && event.pipeline === name)
        expect(published.map((event) => ("partition" in event ? event.partition : ""))).toEqual(["2011-03", "2011-05"])
      }

      const writersAfter = await allWriters()
      for (const layer of ["months", "products", "countries", "days"] as const) {
        const differing = changedKeys(salesBefore[layer], wanted[layer])
        expect([layer, changedKeys(writersBefore[layer], writersAfter[layer])]).toEqual([layer, differing])
        expect(differing.length).toBeLessThan(salesBefore[layer].size)
      }
      expect(changedKeys(writersBefore.months, writersAfter.months)).toEqual(["2011-03", "2011-05"])
      expect(changedKeys(writersBefore.countries, writersAfter.countries)).toEqual([
        "Atlantis",
        "Lebanon",
        "United Kingdom",
      ])

      const settled = await digests()
      const quiet = await runExample()
      expect(Object.values(quiet.reports).map((report) => report.partitions.chosen)).toEqual([0, 0, 0, 0])
      expect(await digests()).toEqual(settled)
    },
  )
})

/** The United Kingdom's first line of a day is sold twice over, its last ten lines are gone. */
async function changeOneDay(name: string): Promise<void> {
  const lines = gunzipSync(await readFile(join(folder, name)))
    .toString()
    .trimEnd()
    .split("\n")
  const ours = lines.map((line, i) => ({ line, i })).filter(({ line }) => line.trimEnd().endsWith(",United Kingdom"))
  const doubled = ours[0]
  if (doubled === undefined || ours.length < 20) throw new Error(`${name} is not as it was`)
  const gone = new Set(ours.slice(-10).map(({ i }) => i))
  const kept = lines.flatMap((line, i) => (gone.has(i) ? [] : i === doubled.i ? [line, line] : [line]))
  // A link would carry the change into the data itself.
  await rm(join(folder, name))
  await writeFile(join(folder, name), gzipSync(`${kept.join("\n")}\n`))
}

/** A day on which the shop was closed: a product and a country that are new, and known ones, one line a return. */
async function addOneDay(name: string, day: string): Promise<void> {
  const lines = [
    "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country",
    `552999,22423,REGENCY CAKESTAND 3 TIER,3,${day} 10:00:00,12.75,12764.0,Lebanon`,
    `C553000,22423,REGENCY CAKESTAND 3 TIER,-1,${day} 10:05:00,12.75,12764.0,Lebanon`,
    `553001,NEW1,"SAIL, LARGE",7,${day} 10:10:00,0.001,,Atlantis`,
  ]
  await writeFile(join(folder, name), gzipSync(`${lines.join("\n")}\n`))
}
