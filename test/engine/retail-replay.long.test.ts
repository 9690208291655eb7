import { mkdir, readdir, readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { gunzipSync, gzipSync } from "node:zlib"
import { parse } from "csv-parse/sync"
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest"
import { masking } from "../../src/dead-letters/masking.ts"
import { parseSelection } from "../../src/dead-letters/selection.ts"
import { triageDatabase } from "../../src/dead-letters/triage-database.ts"
import { conditionFor } from "../../src/dead-letters/triage-database.ts"
import { planReplay } from "../../src/engine/replay/replay-plan.ts"
import { replayLetters, type ReplayOptions } from "../../src/engine/replay/replay.ts"
import { database, partitionsOf, run, type Pipeline, type Project } from "../../src/index.ts"
import { discardLetters } from "../../src/ledger/dead-letter-rows.ts"
import type { Session } from "../../src/postgres/session.ts"
import { testBed, unbalanced, type Bed } from "./bed.ts"
import { retailSales, type Measures } from "./retail-sales.ts"

vi.mock("spillway", () => import("../../src/index.ts"))
vi.mock("spillway/schema", () => import("../../src/schema/index.ts"))

const data = fileURLToPath(new URL("../../../shared/data/online-retail/", import.meta.url))
const LOAD_MS = 240_000

/** Of two months. */
const DAYS = /^2011-0[34]-/
const EVERY = 61

/** What is done to a record, by turns; `mended`: it comes back whole in the end. */
const KINDS = [
  { field: "Quantity", records: 400, break: (value: string) => `${value} pcs`, mended: true },
  {
    field: "InvoiceDate",
    records: 350,
    break: (value: string) => value.replace(/^(\d+)-(\d+)-(\d+)/, "$3/$2/$1"),
    mended: false,
  },
  { field: "UnitPrice", records: 250, break: () => "free", mended: false },
] as const

let bed: Bed
let session: Session
let example: Project
let whole: string
let remaining: string

beforeAll(async () => {
  bed = await testBed()
  session = await database(bed.url).connect()
  const folders = ["broken", "whole", "remaining"].map((name) => join(bed.directory, name))
  for (const folder of folders) await mkdir(folder)
  const [broken = "", all = "", rest = ""] = folders
  await writeFiles(broken, all, rest)
  whole = all
  remaining = rest
  vi.stubEnv("RETAIL_DATA", broken)
  example = (await import("../../examples/retail/spillway.config.ts")).default
  await runExample()
}, LOAD_MS)
afterAll(async () => {
  vi.unstubAllEnvs()
  await session.end()
  await bed.end()
})

/** Writes the days as they come in, as they were, and without what is never mended. */
async function writeFiles(broken: string, all: string, rest: string): Promise<void> {
  const left = KINDS.map(({ records }) => records as number)
  let n = 0
  for (const name of (await readdir(data)).filter((file) => DAYS.test(file.replace(/^.*?(?=\d{4}-)/, ""))).sort()) {
    const [header = [], ...records] = parse(gunzipSync(await readFile(join(data, name))))
    const outcomes = records.map((record) => {
      const turn = ++n % EVERY === 0 ? Math.floor(n / EVERY) % KINDS.length : -1
      // When a kind is used up, the next one that is not takes its turn.
      const k = turn < 0 ? -1 : [turn, (turn + 1) % 3, (turn + 2) % 3].find((i) => (left[i] ?? 0) > 0)
      const kind = k === undefined ? undefined : KINDS[k]
      if (k === undefined || kind === undefined) return { record, broken: record, mended: true }
      left[k] = (left[k] ?? 0) - 1
      const at = header.indexOf(kind.field)
      return { record, broken: record.with(at, kind.break(record[at] ?? "")), mended: kind.mended }
    })
    const write = (folder: string, lines: readonly (readonly string[])[]): Promise<void> =>
      writeFile(join(folder, name), gzipSync([header, ...lines].map(csvLine).join("")))
    await write(
      broken,
      outcomes.map((one) => one.broken),
    )
    await write(
      all,
      outcomes.map((one) => one.record),
    )
    await write(
      rest,
      outcomes.filter((one) => one.mended).map((one) => one.record),
    )
  }
  if (left.some((records) => records > 0)) throw new Error(`not enough records to break: ${left.join()}`)
}

const csvLine = (values: readonly string[]): string =>
  `${values.map((value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value)).join(",")}\n`

async function runExample(): Promise<void> {
  for (const runnable of example.pipelines) {
    const report = await run(runnable, { database: bed.url, directory: bed.directory })
    expect([runnable.name, report.status]).toEqual([runnable.name, "completed"])
  }
}

const transactions = (): Pipeline => example.pipelines.find((one) => one.kind === "pipeline") as Pipeline
const ofField = (field: string) => parseSelection(`field = ${field} and code = VALIDATION`, () => new Date())
const options = (field: string): ReplayOptions => ({
  database: bed.url,
  directory: bed.directory,
  requestedBy: "the test",
  where: ofField(field),
})

async function measures(name: string, key: string): Promise<Measures> {
  const found = await bed.rows<{ key: string; line: string }>(
    `SELECT ${key} AS key, concat_ws(' ', units_sold, trim_scale(revenue), returned_units, trim_scale(refund_amount), lines) AS line FROM ${name}`,
  )
  return new Map(found.map(({ key: k, line }) => [k, line]))
}

/** Silver and gold are what a folder's files say. */
async function expectSalesOf(folder: string): Promise<void> {
  const wanted = await retailSales(folder)
  const sorted = (lines: Measures): [string, string][] => [...lines].sort(([a], [b]) => (a < b ? -1 : 1))
  const days = await measures("silver.fact_sales_daily", "concat_ws(' ', sale_date, stock_code, country)")
  expect(sorted(days)).toEqual(sorted(wanted.days))
  expect(sorted(await measures("gold.fact_sales_monthly", "month_key"))).toEqual(sorted(wanted.months))
}

const letters = async (): Promise<Record<string, number>> =>
  Object.fromEntries(
    (
      await bed.rows<{ state: string; n: number }>(
        `SELECT concat_ws(' ', path, status, attempts) AS state, count(*)::int AS n FROM ops.dead_letters GROUP BY 1 ORDER BY 1`,
      )
    ).map(({ state, n }) => [state, n]),
  )

describe("a thousand broken records of the retail data", { timeout: LOAD_MS }, () => {
  test("are three groups with the right counts", async () => {
    const { report } = await triageDatabase(session, {
      selection: undefined,
      samples: 1,
      groups: 10,
      masking: masking(),
    })
    expect(report.letters).toBe(1000)
    expect(report.groups.map(({ field, letters: n }) => [field, n])).toEqual([
      ["Quantity", 400],
      ["InvoiceDate", 350],
      ["UnitPrice", 250],
    ])
    expect(await letters()).toEqual({
      "InvoiceDate pending 1": 350,
      "Quantity pending 1": 400,
      "UnitPrice pending 1": 250,
    })
  })

  test("one is patched, tried on a few, and replayed", async () => {
    const patch = {
      fix: (record: Record<string, unknown> | undefined) => ({
        ...record,
        Quantity: String(record?.["Quantity"]).replace(" pcs", ""),
      }),
      description: "without the unit",
    }
    const plan = await planReplay(transactions(), { ...options("Quantity"), patch })
    expect(plan).toMatchObject({ letters: 400, checked: 400, pass: 400, fail: 0 })
    expect(plan.groups).toHaveLength(1)
    const canaries: unknown[] = []
    const report = await replayLetters(transactions(), {
      ...options("Quantity"),
      patch,
      canary: 25,
      goOn: (outcomes) => (canaries.push({ ...outcomes }), Promise.resolve(true)),
    })
    expect(canaries).toEqual([{ loaded: 25 }])
    expect(report).toMatchObject({ status: "completed", outcomes: { loaded: 400 } })
  })

  test("one is stopped by ratio, and stays as it was", async () => {
    const report = await replayLetters(transactions(), { ...options("InvoiceDate"), abortAbove: 0.05 })
    expect(report).toMatchObject({ status: "aborted", outcomes: {}, error: { code: "QUALITY_GATE" } })
    expect((await letters())["InvoiceDate pending 1"]).toBe(350)
  })

  test("one is discarded with a reason", async () => {
    expect(await discardLetters(session, conditionFor(ofField("UnitPrice")), "samples for the press")).toBe(250)
    expect(await letters()).toEqual({
      "InvoiceDate pending 1": 350,
      "Quantity replayed 2": 400,
      "UnitPrice discarded 1": 250,
    })
  })

  test("silver and gold follow, and all figures are those of the files", async () => {
    const [daily] = example.pipelines.filter((one) => one.kind === "model")
    const stale = (await partitionsOf(daily as (typeof example.pipelines)[number], { database: bed.url }))
      .filter(({ reason }) => reason === "stale")
      .map(({ key }) => key)
    expect(stale).toEqual(["2011-03", "2011-04"])
    await runExample()
    await expectSalesOf(remaining)
  })

  test("every record is in exactly one place", async () => {
    const { rows: read } = await session.query<{ n: string }>(
      `SELECT sum((counts->>'read')::bigint) AS n FROM ops.processed_partitions WHERE pipeline_name = $1`,
      [transactions().name],
    )
    const inTable = await bed.value<number>(`SELECT count(*)::int FROM bronze.raw_transactions`)
    const open = await bed.value<number>(
      `SELECT count(*)::int FROM ops.dead_letters d WHERE status <> 'replayed'
       AND NOT EXISTS (SELECT FROM bronze.raw_transactions t WHERE t._source = d.partition_key AND t._position = d.ordinal)`,
    )
    expect(open).toBe(600)
    expect(inTable + open).toBe(Number(read[0]?.n))
    expect(await unbalanced(bed, transactions().name)).toEqual([])
  })

  test("read again as they are, they change nothing; corrected at their source, the files win", async () => {
    const before = await bed.value(
      `SELECT md5(string_agg(t::text, ',' ORDER BY _source, _position)) FROM bronze.raw_transactions t`,
    )
    const [pipeline] = [transactions()]
    const full = await run(pipeline, { database: bed.url, directory: bed.directory, full: true })
    expect(full.counts).toMatchObject({ inserted: 0, updated: 0, deleted: 0, deadLettered: 1000 })
    expect(
      await bed.value(
        `SELECT md5(string_agg(t::text, ',' ORDER BY _source, _position)) FROM bronze.raw_transactions t`,
      ),
    ).toBe(before)
    const broken = join(bed.directory, "broken")
    for (const name of await readdir(whole)) await writeFile(join(broken, name), await readFile(join(whole, name)))
    await runExample()
    await expectSalesOf(whole)
    expect(await letters()).toEqual({
      "InvoiceDate superseded 1": 350,
      "Quantity superseded 2": 400,
      "UnitPrice discarded 1": 250,
    })
  })
})
