import { afterEach, beforeEach, expect, test } from "vitest"
import { z } from "zod"
import { model, month, pipeline, project, reads, stages, table, whole } from "../../src/index.ts"
import { partitionsOf } from "../../src/engine/run-any.ts"
import { recordsSource } from "../../src/testing/index.ts"
import { digest } from "../engine/bed.ts"
import {
  IN_MONTH,
  modelBed,
  monthlyModel,
  monthlyOf,
  sale,
  salesPipeline,
  someSales,
  type ModelBed,
  type Sales,
} from "./engine-bed.ts"

let m: ModelBed
let sales: Sales
const source = salesPipeline(() => sales)
beforeEach(async () => {
  m = await modelBed()
  sales = someSales()
})
afterEach(() => m.end())

const built = async (runnable: ReturnType<typeof model>): Promise<string[]> => {
  const report = await m.run(runnable)
  expect(report).toMatchObject({ status: "completed", error: undefined })
  return m.events.flatMap((event) => (event.type === "partition.published" ? [event.partition] : [])).sort()
}

test("who deletes months from ops.processed_months has just those built again, and no row is written", async () => {
  await m.run(source)
  await m.run(monthlyModel())
  const before = await digest(m.bed, "mart.monthly")
  await m.bed.rows("DELETE FROM ops.processed_months WHERE month_key = '2011-02'")
  expect(await m.todo(monthlyModel())).toEqual({ "2011-02": "new" })
  expect(await built(monthlyModel())).toEqual(["2011-02"])
  await m.bed.rows("DELETE FROM ops.processed_months")
  expect(await built(monthlyModel())).toEqual(["2011-01", "2011-02", "2011-03"])
  expect(await digest(m.bed, "mart.monthly")).toBe(before)
  expect(
    await m.bed.rows("SELECT month_key, year, month, status FROM ops.processed_months ORDER BY month_key"),
  ).toEqual([1, 2, 3].map((n) => ({ month_key: `2011-0${n}`, year: 2011, month: n, status: "completed" })))
  expect(await m.todo(monthlyModel())).toEqual({})
})

test("a new file, a corrected one and a removed row make their months stale, and no others", async () => {
  await m.run(source)
  await m.run(monthlyModel())
  const changes: readonly (readonly [string, () => void, readonly string[]])[] = [
    ["a new file", () => void (sales["new"] = [sale(20, "2011-03-02", "ale", 1)]), ["2011-03"]],
    ["a row of another amount", () => void (sales["early"]![0] = sale(1, "2011-01-05", "ale", 101)), ["2011-01"]],
    [
      "a row of another month",
      () => void (sales["late"]![0] = sale(5, "2011-03-28", "cup", 990)),
      ["2011-02", "2011-03"],
    ],
    ["the last row gone", () => void sales["early"]!.pop(), ["2011-02"]],
    ["a month nobody knew", () => void (sales["newer"] = [sale(21, "2012-12-31", "ale", 1)]), ["2012-12"]],
    ["a file read again, as it was", () => undefined, []],
  ]
  for (const [what, change, months] of changes) {
    change()
    const before = await m.tuples("mart.monthly")
    const loaded = await m.run(source, { full: true })
    const todo = await m.todo(monthlyModel())
    expect(Object.keys(todo), what).toEqual(months)
    const plans = await partitionsOf(monthlyModel(), { database: m.bed.url })
    for (const plan of plans.filter(({ reason }) => reason === "stale"))
      expect(plan.detail, what).toMatch(new RegExp(`^shop\\.sales was touched by ${loaded.runId} at 20`))
    expect(await built(monthlyModel()), what).toEqual(months)
    expect(await m.lines("mart.monthly"), what).toEqual(monthlyOf(sales))
    const after = await m.tuples("mart.monthly")
    for (const key of Object.keys(before).filter((key) => !months.includes(key)))
      expect(after[key], `${what}: ${key}`).toBe(before[key])
    expect(await m.todo(monthlyModel()), what).toEqual({})
  }
})

test("a change of a table of reference makes every month stale", async () => {
  const kinds = {
    all: [
      { product: "ale", kind: "drink" },
      { product: "bun", kind: "food" },
      { product: "cup", kind: "thing" },
    ],
  }
  const reference = pipeline({
    name: "kinds",
    source: recordsSource(() => kinds),
    schema: z.object({ product: z.string(), kind: z.string() }),
    sink: table("shop.kinds", { key: ["product"] }),
  })
  const perKind = model({
    name: "per_kind",
    from: ["shop.sales", reads("shop.kinds", whole())],
    partition: month("sold"),
    sql: `SELECT to_char(sold, 'YYYY-MM') AS month_key, kind, sum(cents) AS cents
          FROM shop.sales JOIN shop.kinds USING (product) WHERE ${IN_MONTH} GROUP BY 1, 2`,
    sink: table("mart.per_kind", { key: ["month_key", "kind"] }),
  })
  await m.run(source)
  await m.run(reference)
  expect(await built(perKind)).toEqual(["2011-01", "2011-02", "2011-03"])
  await m.run(reference, { full: true })
  expect(await m.todo(perKind)).toEqual({})
  const before = await m.tuples("mart.per_kind")
  kinds.all[2] = { product: "cup", kind: "china" }
  await m.run(reference)
  expect(await m.todo(perKind)).toEqual({ "2011-01": "stale", "2011-02": "stale", "2011-03": "stale" })
  expect(await built(perKind)).toEqual(["2011-01", "2011-02", "2011-03"])
  expect(await m.lines("mart.per_kind")).toContain("2011-02 china 990")
  const after = await m.tuples("mart.per_kind")
  expect([after["2011-01"], after["2011-03"]]).toEqual([before["2011-01"], before["2011-03"]])
  expect(after["2011-02"]).not.toBe(before["2011-02"])
})

test("a table that somebody else writes is read too: its partitions are found by looking at it", async () => {
  const { bed } = m
  await expect(m.run(monthlyModel())).rejects.toMatchObject({ code: "CONFIG" })
  await bed.rows("CREATE SCHEMA shop")
  await bed.rows("CREATE TABLE shop.sales (id int, sold date, product text, cents int)")
  const put = async (file: readonly Sales[string][number][]): Promise<void> => {
    for (const { id, sold, product, cents } of file)
      await bed.rows("INSERT INTO shop.sales VALUES ($1, $2, $3, $4)", [id, sold, product, cents])
  }
  await put(Object.values(sales).flat())
  await bed.rows("INSERT INTO shop.sales VALUES (99, NULL, 'ale', 1), (98, 'infinity', 'ale', 1)")
  expect(await built(monthlyModel())).toEqual(["2011-01", "2011-02", "2011-03"])
  expect(await m.lines("mart.monthly")).toEqual(monthlyOf(sales))
  sales["more"] = [sale(30, "2011-04-01", "ale", 4)]
  await put(sales["more"])
  expect(await m.todo(monthlyModel())).toEqual({ "2011-04": "new" })
  expect(await built(monthlyModel())).toEqual(["2011-04"])
  // Nobody says that a month known already was written to: who knows it asks for it.
  await put((sales["again"] = [sale(31, "2011-01-01", "ale", 1)]))
  await m.run(monthlyModel(), { full: true, partitions: ["2011-01"] })
  expect(await m.lines("mart.monthly")).toEqual(monthlyOf(sales))
})

test("what a plan looks at, it does not note down", async () => {
  await m.run(source)
  const ofOps = async (): Promise<string> => {
    const tables = await m.bed.rows<{ name: string }>(
      "SELECT 'ops.' || relname AS name FROM pg_class WHERE relnamespace = 'ops'::regnamespace AND relkind = 'r' ORDER BY 1",
    )
    const digests = []
    for (const { name } of tables)
      digests.push(
        `${name} ${await m.bed.value(`SELECT md5(coalesce(string_agg(t::text, '' ORDER BY ctid), '')) FROM ${name} t`)}`,
      )
    return digests.join("\n")
  }
  const before = await ofOps()
  const plans = await partitionsOf(monthlyModel(), { database: m.bed.url, countRows: true })
  expect(plans.map(({ key, reason, rows }) => `${key} ${reason} ${rows}`)).toEqual([
    "2011-01 new 3",
    "2011-02 new 2",
    "2011-03 new 2",
  ])
  expect(await ofOps()).toBe(before)
})

test("of two models in a chain, a change goes through both, month by month", async () => {
  const daily = model({
    name: "daily",
    from: "shop.sales",
    partition: month("sold"),
    sql: `SELECT sold, product, count(*) AS lines, sum(cents) AS cents FROM shop.sales WHERE ${IN_MONTH} GROUP BY 1, 2`,
    sink: table("mart.daily", { key: ["sold", "product"] }),
    sums: `SELECT sum(cents) AS cents FROM shop.sales WHERE ${IN_MONTH}`,
  })
  const monthly = monthlyModel({
    from: "mart.daily",
    sql: `SELECT to_char(sold, 'YYYY-MM') AS month_key, product, sum(lines) AS lines, sum(cents) AS cents
          FROM mart.daily WHERE ${IN_MONTH} GROUP BY 1, 2`,
    sums: `SELECT sum(cents) AS cents FROM mart.daily WHERE ${IN_MONTH}`,
  })
  await m.run(source)
  await m.run(daily)
  await m.run(monthly)
  expect(await m.lines("mart.monthly")).toEqual(monthlyOf(sales))
  const before = await m.tuples("mart.monthly")

  sales["late"]!.push(sale(40, "2011-03-04", "cup", 12))
  await m.run(source)
  expect(await m.todo(monthly)).toEqual({})
  expect(await built(daily)).toEqual(["2011-03"])
  expect(await m.todo(monthly)).toEqual({ "2011-03": "stale" })
  expect(await built(monthly)).toEqual(["2011-03"])
  expect(await m.lines("mart.monthly")).toEqual(monthlyOf(sales))
  const after = await m.tuples("mart.monthly")
  expect([after["2011-01"], after["2011-02"]]).toEqual([before["2011-01"], before["2011-02"]])

  // Rebuilt, but equal: the next model has nothing to do.
  await m.run(daily, { full: true })
  expect(await m.todo(monthly)).toEqual({})
})

test("a project runs in the order in which its tables are written and read", () => {
  const from = (name: string, ...tables: string[]) =>
    model({ name, from: tables, sql: "SELECT 1 AS id", sink: table(`x.${name}`, { key: ["id"] }) })
  const [a, b, c] = [from("a", "shop.sales"), from("b", "x.a", "shop.sales"), from("c", "x.b")]
  const both = stages({ name: "both", stages: [from("d", "x.c"), from("e", "x.d", "x.a")] })
  const names = (...pipelines: Parameters<typeof project>[0]["pipelines"][number][]): string[] =>
    project({ pipelines: pipelines }).pipelines.map(({ name }) => name)
  expect(names(both, c, b, a, source)).toEqual(["sales", "a", "b", "c", "both"])
  expect(names(source, a, b, c, both)).toEqual(["sales", "a", "b", "c", "both"])
  expect(names(from("z", "other.table"), from("y", "other.table"))).toEqual(["z", "y"])
  expect(() => project({ pipelines: [from("f", "x.g"), from("g", "x.h"), from("h", "x.f"), a] })).toThrow(
    expect.objectContaining({ code: "CONFIG", message: expect.stringMatching(/circle: f, g, h$/) as string }),
  )
  expect(() => project({ pipelines: [a, from("a", "shop.other")] })).toThrow(
    expect.objectContaining({ code: "CONFIG" }),
  )
})
