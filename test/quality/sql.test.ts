import pg from "pg"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { PartitionMeasures, SetCheck } from "../../src/core/contracts.ts"
import { accepted, notNull, nullRatio, range, unique } from "../../src/quality/index.ts"
import { freshDatabase, type FreshDatabase } from "../postgres/server.ts"

const ROWS = `(1, 'a', 1.5, '2020-01-01T00:00Z'), (2, 'it''s', 0.1, '2020-06-01T00:00Z'), (2, 'it''s', -1, NULL), (NULL, 'back\\slash', NULL, '2021-01-01T00:00Z'), (NULL, 'back\\slash', 7, '2019-12-31T23:59Z')`

let database: FreshDatabase
let client: pg.Client

beforeAll(async () => {
  database = await freshDatabase()
  client = new pg.Client({ connectionString: database.url })
  await client.connect()
  await client.query(
    `CREATE TABLE staged ("the id" integer, name text, price numeric, at timestamptz); INSERT INTO staged VALUES ${ROWS}`,
  )
  await client.query("SET timezone = 'UTC'")
})

afterAll(async () => {
  await client.end()
  await database.drop()
})

const column = (property: string): string => pg.escapeIdentifier(property === "id" ? "the id" : property)

/** Runs a check's SQL over the staged rows as the gate does. */
async function judge(check: SetCheck): Promise<{ observed: number | null; passed: boolean; failing: number }> {
  const aggregates: Record<string, number | string | null> = {}
  for (const [name, expression] of Object.entries(check.aggregates?.(column) ?? {}))
    aggregates[name] = (await client.query<{ v: string }>(`SELECT ${expression} AS v FROM staged`)).rows[0]?.v ?? null
  const failing =
    check.failingWhere === undefined
      ? 0
      : (await client.query(`SELECT * FROM staged WHERE (${check.failingWhere(column)})`)).rowCount
  const measures: PartitionMeasures = {
    read: 5,
    staged: 5,
    filtered: 0,
    deadLettered: 0,
    aggregates,
    failing: undefined,
  }
  const { observed, passed } = check.judge(measures)
  return { observed, passed, failing: failing ?? 0 }
}

describe("checks over staged rows", () => {
  it.each<[string, SetCheck, number, number]>([
    ["nulls", notNull("id"), 2, 2],
    ["no nulls", notNull("name"), 0, 0],
    ["values of a text", accepted("name", ["a", "it's"]), 2, 2],
    ["values with quotes and backslashes", accepted("name", ["a", "it's", "back\\slash"]), 0, 0],
    ["values of an integer, nulls left out", accepted("id", [1, "2"]), 0, 0],
    ["an exact range", range("price", { min: "0.1", max: "1.5" }), 2, 2],
    ["a range with no end", range("price", { min: "0.1000000000000000001" }), 2, 2],
    ["a range of times", range("at", { min: "2020-01-01", max: "2020-12-31" }), 2, 2],
    ["a key that repeats, nulls left out", unique("id"), 1, 2],
    ["a key of two columns", unique(["id", "name"]), 1, 2],
    ["a key of two columns that differs", unique(["name", "price"]), 0, 0],
  ])("%s", async (_what, check, observed, failing) => {
    expect(await judge(check)).toEqual({ observed, passed: observed === 0, failing })
  })

  it("a share of nulls", async () => {
    expect(await judge(nullRatio("price", { max: 0.1 }))).toEqual({ observed: 0.2, passed: false, failing: 1 })
  })

  it("literals mean the same without standard_conforming_strings", async () => {
    await client.query("SET standard_conforming_strings = off")
    try {
      expect(
        await judge(accepted("name", ["a", "it's", "back\\slash", "'; DROP TABLE staged; --", "\\'"])),
      ).toMatchObject({ observed: 0 })
    } finally {
      await client.query("SET standard_conforming_strings = on")
    }
  })
})
