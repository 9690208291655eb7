import fc from "fast-check"
import pg from "pg"
import { afterAll, beforeAll, expect, test } from "vitest"
import { quoteIdentifier, quoteLiteral, quoteTable } from "../../src/postgres/quote.ts"
import { testDatabaseUrl } from "./server.ts"

let client: pg.Client
beforeAll(async () => {
  client = new pg.Client({ connectionString: await testDatabaseUrl() })
  await client.connect()
})
afterAll(() => client.end())

const text = fc.string({ unit: "binary" }).filter((s) => !s.includes("\0"))

test("any name that PostgreSQL can hold comes back as it was", async () => {
  const names = text.filter((s) => s !== "" && Buffer.byteLength(s) <= 63)
  await fc.assert(
    fc.asyncProperty(names, async (name) => {
      const { fields } = await client.query(`SELECT 1 AS ${quoteIdentifier(name)}`)
      expect(fields.map((field) => field.name)).toEqual([name])
    }),
  )
})

test("any text comes back as it was, whatever standard_conforming_strings is", async () => {
  for (const setting of ["on", "off"]) {
    await client.query(`SET standard_conforming_strings = ${setting}`)
    await fc.assert(
      fc.asyncProperty(fc.oneof(text, fc.stringMatching(/^[\\'E]*$/)), async (value) => {
        const { rows } = await client.query<{ value: string }>(`SELECT ${quoteLiteral(value)} AS value`)
        expect(rows).toEqual([{ value }])
      }),
    )
  }
})

test("names that PostgreSQL would cut, change or refuse are refused", () => {
  for (const name of ["", "a\0b", "x".repeat(64), "é".repeat(32), "\ud800"])
    expect(() => quoteIdentifier(name)).toThrow(expect.objectContaining({ code: "CONFIG" }) as Error)
  expect(quoteIdentifier("é".repeat(31) + "x")).toHaveLength(34)
  expect(() => quoteLiteral("a\0")).toThrow(expect.objectContaining({ code: "CONFIG" }) as Error)
})

test("a table's name is quoted part by part", () => {
  expect(quoteTable('we"ird', "Name.with.dots")).toBe('"we""ird"."Name.with.dots"')
})
