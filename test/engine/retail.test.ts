import { readdir, readFile } from "node:fs/promises"
import { fileURLToPath } from "node:url"
import { gunzipSync } from "node:zlib"
import { parse } from "csv-parse/sync"
import { afterAll, beforeAll, expect, test } from "vitest"
import { z } from "zod"
import type { RunReport } from "../../src/engine/report.ts"
import { csv, files, nullRatio, passRate, pipeline, table } from "../../src/index.ts"
import { decimal, timestamp } from "../../src/schema/index.ts"
import { digest, testBed, unbalanced, type Bed } from "./bed.ts"

/** The UCI "Online Retail" files, one gzipped CSV per day, beside the project. Without them this test fails. */
const data = fileURLToPath(new URL("../../../shared/data/online-retail/", import.meta.url))

const retail = pipeline({
  name: "retail_transactions",
  source: files("*.csv.gz", { root: data, format: csv() }),
  schema: z.object({
    InvoiceNo: z.string(),
    StockCode: z.string(),
    Description: z.string().optional(),
    Quantity: z.int(),
    InvoiceDate: timestamp({ zone: "Europe/London" }),
    UnitPrice: decimal({ min: 0 }),
    CustomerID: z.string().optional(),
    Country: z.string(),
  }),
  checks: [passRate(0.95), nullRatio("CustomerID"), nullRatio("Description")],
  sink: table("bronze.raw_transactions", { mode: "append" }),
})

/** Prices in units of 10^-6: enough for every price there is, checked below. */
const SCALE = 6

function price(text: string): bigint {
  const [whole = "", fraction = ""] = text.replace("-", "").split(".")
  if (!/^\d+$/.test(whole) || !/^\d*$/.test(fraction) || fraction.length > SCALE) throw new Error(`a price is ${text}`)
  const magnitude = BigInt(whole + fraction.padEnd(SCALE, "0"))
  return text.startsWith("-") ? -magnitude : magnitude
}

interface Sums {
  lines: number
  quantity: bigint
  amount: bigint
}

/** The same sums as the database's, from the files by csv-parse and whole numbers. */
async function oracle() {
  const months = new Map<string, Sums>()
  const negative: { file: string; line: number; raw: string }[] = []
  const found = { files: 0, read: 0, noCustomer: 0, noDescription: 0, noCustomerLoaded: 0, thousandths: 0 }
  const names = (await readdir(data)).filter((name) => name.endsWith(".csv.gz")).sort()
  for (const file of names) {
    found.files++
    const text = gunzipSync(await readFile(`${data}${file}`)).toString()
    const [header = [], ...records] = parse(text)
    const [invoice, description, quantityAt, date, unitAt, customer] = [
      "InvoiceNo",
      "Description",
      "Quantity",
      "InvoiceDate",
      "UnitPrice",
      "CustomerID",
    ].map((name) => header.indexOf(name)) as [number, number, number, number, number, number]
    for (const record of records) {
      found.read++
      const unit = price(record[unitAt] ?? "")
      if (record[customer] === "") found.noCustomer++
      if (record[description] === "") found.noDescription++
      if (unit < 0n) {
        const lines = text.split(/\r?\n/)
        const at = lines.findIndex((line) => line.startsWith(`${record[invoice]},`))
        negative.push({ file, line: at + 1, raw: lines[at] ?? "" })
        continue
      }
      if (record[customer] === "") found.noCustomerLoaded++
      if (unit === 1000n) found.thousandths++
      const key = (record[date] ?? "").slice(0, 7)
      const sums = months.get(key) ?? { lines: 0, quantity: 0n, amount: 0n }
      const quantity = BigInt(record[quantityAt] ?? "")
      months.set(key, {
        lines: sums.lines + 1,
        quantity: sums.quantity + quantity,
        amount: sums.amount + quantity * unit,
      })
    }
  }
  return { ...found, months, negative }
}

/** `numeric` text without trailing zeros. */
function amountText(value: bigint): string {
  const sign = value < 0n ? "-" : ""
  const digits = (value < 0n ? -value : value).toString().padStart(SCALE + 1, "0")
  return `${sign}${digits.slice(0, -SCALE)}.${digits.slice(-SCALE)}`.replace(/\.?0+$/, "")
}

let bed: Bed
let first: RunReport
let expected: Awaited<ReturnType<typeof oracle>>

beforeAll(async () => {
  bed = await testBed()
  first = await bed.run(retail)
  expected = await oracle()
})
afterAll(() => bed.end())

test("every line of 305 files is loaded or set aside", async () => {
  expect(expected).toMatchObject({ files: 305, read: 541_909 })
  expect(first).toMatchObject({ status: "completed", partitions: { total: 305, published: 305, held: 0 } })
  expect(first.counts).toMatchObject({ read: 541_909, inserted: 541_907, deadLettered: 2, filtered: 0, expanded: 0 })
  expect(first.deadLetters).toEqual({ VALIDATION: 2 })
  expect(await bed.value(`SELECT count(*)::int FROM bronze.raw_transactions`)).toBe(541_907)
  expect(await unbalanced(bed, "retail_transactions")).toEqual([])
})

test("a negative price is a letter with its file, line and raw text", async () => {
  const letters = await bed.rows<{ source: { file: string; line: number }; raw: Buffer }>(
    `SELECT source, raw, error_code, rule, path FROM ops.dead_letters ORDER BY partition_key, ordinal`,
  )
  expect(letters).toMatchObject([
    { error_code: "VALIDATION", rule: "min", path: "UnitPrice" },
    { error_code: "VALIDATION", rule: "min", path: "UnitPrice" },
  ])
  expect(letters.map(({ source, raw }) => ({ file: source.file, line: source.line, raw: raw.toString() }))).toEqual(
    expected.negative,
  )
})

test("nulls are measured over what was read and over what was loaded", async () => {
  expect(expected).toMatchObject({ noCustomer: 135_080, noDescription: 1_454, noCustomerLoaded: 135_078 })
  expect(first.nulls).toEqual({ CustomerID: 135_080, Description: 1_454 })
  expect(
    await bed.rows(
      `SELECT count(*) FILTER (WHERE customer_id IS NULL)::int AS customer, count(*) FILTER (WHERE description IS NULL)::int AS description
       FROM bronze.raw_transactions`,
    ),
  ).toEqual([{ customer: 135_078, description: 1_454 }])
})

test("sums per month are exact to the last decimal", async () => {
  const loaded = await bed.rows<{ month: string; lines: number; quantity: string; amount: string }>(
    `SELECT to_char(invoice_date AT TIME ZONE 'Europe/London', 'YYYY-MM') AS month, count(*)::int AS lines,
            sum(quantity)::text AS quantity, trim_scale(sum(quantity * unit_price))::text AS amount
     FROM bronze.raw_transactions GROUP BY 1 ORDER BY 1`,
  )
  const wanted = [...expected.months].sort(([a], [b]) => (a < b ? -1 : 1))
  expect(wanted).toHaveLength(13)
  expect(loaded).toEqual(
    wanted.map(([key, { lines, quantity, amount }]) => ({
      month: key,
      lines,
      quantity: String(quantity),
      amount: amountText(amount),
    })),
  )
  expect(expected.thousandths).toBeGreaterThan(0)
  expect(await bed.value(`SELECT count(*)::int FROM bronze.raw_transactions WHERE unit_price = 0.001`)).toBe(
    expected.thousandths,
  )
  expect(
    await bed.rows(`SELECT DISTINCT unit_price::text FROM bronze.raw_transactions WHERE unit_price = 0.001`),
  ).toEqual([{ unit_price: "0.001" }])
})

test("a second run skips all files and reads nothing, a full one reads all and writes nothing", async () => {
  const before = await digest(bed, "bronze.raw_transactions")
  const second = await bed.run(retail)
  expect(second).toMatchObject({
    status: "completed",
    partitions: { total: 305, chosen: 0, published: 0, unchanged: 305 },
  })
  expect(second.counts.read).toBe(0)
  expect(second.durationMs).toBeLessThan(2_000)
  const full = await bed.run(retail, { full: true })
  expect(full.status).toBe("completed")
  expect(full.counts).toMatchObject({
    read: 541_909,
    unchanged: 541_907,
    inserted: 0,
    updated: 0,
    deleted: 0,
    deadLettered: 2,
  })
  expect(await digest(bed, "bronze.raw_transactions")).toBe(before)
  expect(await bed.rows(`SELECT status, count(*)::int FROM ops.dead_letters GROUP BY 1`)).toEqual([
    { status: "pending", count: 2 },
  ])
})
