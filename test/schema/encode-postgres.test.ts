import { pipeline } from "node:stream/promises"
import { Readable } from "node:stream"
import pg from "pg"
import { from as copyFrom } from "pg-copy-streams"
import { afterAll, beforeAll, expect, it } from "vitest"
import { z } from "zod"
import type { RecordObject } from "../../src/core/records.ts"
import { toRecordSchema } from "../../src/schema/adapter.ts"
import { rowEncoder } from "../../src/schema/encode.ts"
import { decimal, timestamp } from "../../src/schema/exact.ts"
import { freshDatabase, type FreshDatabase } from "../postgres/server.ts"
import { valueOf } from "./judged.ts"

let database: FreshDatabase
let client: pg.Client

beforeAll(async () => {
  database = await freshDatabase()
  client = new pg.Client({ connectionString: database.url })
  await client.connect()
})

afterAll(async () => {
  await client.end()
  await database.drop()
})

it("a record goes from text through schema and COPY into PostgreSQL without losing anything", async () => {
  const schema = toRecordSchema(
    z.object({
      InvoiceNo: z.string(),
      Quantity: z.int32(),
      UnitPrice: decimal({ min: 0 }),
      InvoiceDate: timestamp({ zone: "Europe/London" }),
      CustomerID: z.string().nullable(),
      Ratio: z.number(),
      Big: z.bigint(),
      Day: z.iso.date(),
      Flag: z.boolean().optional(),
      Tags: z.record(z.string(), z.unknown()),
    }),
  )
  const columns = schema.columns ?? []
  await client.query(
    `CREATE TABLE t (${columns.map(({ name, type, nullable }) => `${name} ${type}${nullable ? "" : " NOT NULL"}`).join(", ")})`,
  )
  const base = {
    Quantity: "-12",
    UnitPrice: "0.001000000000000000000001",
    InvoiceDate: "2010-07-01 08:26:00",
    CustomerID: null,
    Ratio: "0.1",
    Big: "123456789012345678901234567890",
    Day: "2010-12-01",
    Flag: null,
    Tags: '{"a":"tab\\tquote\\"back\\\\slash","n":[1,null]}',
  }
  const records: RecordObject[] = [
    { ...base, InvoiceNo: "536365" },
    { ...base, InvoiceNo: "\\N", Flag: "TRUE", CustomerID: "\\.", InvoiceDate: "2010-07-01T08:26:00Z" },
    { ...base, InvoiceNo: 'a\tb\nc\rd\\e"f\u0001😀\b\v', CustomerID: "17850.0" },
  ]
  const encode = rowEncoder(columns)
  const rows = records.map((record) => {
    const row = encode(valueOf(schema, record, true))
    if (typeof row !== "string") throw new Error(row.message)
    return row + "\n"
  })
  await pipeline(Readable.from([rows.join("")]), client.query(copyFrom("COPY t FROM STDIN")))
  const { rows: stored } = await client.query<Record<string, unknown>>(
    `SELECT invoice_no, quantity, unit_price::text, invoice_date AT TIME ZONE 'UTC' || '' AS at, customer_id, ratio, big::text, day::text, flag, tags FROM t`,
  )
  const same = {
    quantity: -12,
    unit_price: "0.001000000000000000000001",
    ratio: 0.1,
    big: "123456789012345678901234567890",
    day: "2010-12-01",
    tags: { a: 'tab\tquote"back\\slash', n: [1, null] },
  }
  expect(stored).toEqual([
    { ...same, invoice_no: "536365", at: "2010-07-01 07:26:00", customer_id: null, flag: null },
    { ...same, invoice_no: "\\N", at: "2010-07-01 08:26:00", customer_id: "\\.", flag: true },
    {
      ...same,
      invoice_no: 'a\tb\nc\rd\\e"f\u0001😀\b\v',
      at: "2010-07-01 07:26:00",
      customer_id: "17850.0",
      flag: null,
    },
  ])
})
