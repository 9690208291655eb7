import { afterEach, beforeEach, expect, test } from "vitest"
import { day, model, month, table, value, whole, type PartitionUnit } from "../../src/index.ts"
import { digest } from "../engine/bed.ts"
import {
  modelBed,
  monthlyModel,
  monthlyOf,
  MONTHLY_SQL,
  sale,
  salesPipeline,
  someSales,
  type ModelBed,
} from "./engine-bed.ts"

let m: ModelBed
beforeEach(async () => {
  m = await modelBed()
})
afterEach(() => m.end())

const DIVISIONS: readonly {
  readonly name: string
  readonly partition: PartitionUnit
  readonly where: string
  readonly keys: readonly string[]
}[] = [
  {
    name: "month",
    partition: month("sold"),
    where: "sold >= ${partition.start} AND sold < ${partition.end}",
    keys: ["2011-01", "2011-02", "2011-03"],
  },
  {
    name: "day",
    partition: day("sold"),
    where: "sold >= ${partition.start} AND sold < ${partition.end}",
    keys: ["2011-01-05", "2011-01-31", "2011-02-01", "2011-02-28", "2011-03-01", "2011-03-31"],
  },
  { name: "value", partition: value("product"), where: "product = ${partition.key}", keys: ["ale", "bun", "cup"] },
  {
    name: "expression",
    partition: value("cents > 50"),
    where: "(cents > 50)::text = ${partition.key}",
    keys: ["false", "true"],
  },
  { name: "whole", partition: whole(), where: "true", keys: ["all"] },
]

test.each(DIVISIONS)(
  "by $name: built once, then nothing to do and nothing written",
  async ({ partition, where, keys }) => {
    const sales = someSales()
    const listed = model({
      name: "listed",
      from: "shop.sales",
      partition,
      sql: `SELECT id, sold::text AS sold, product, cents FROM shop.sales WHERE ${where}`,
      sink: table("mart.listed", { key: ["id"] }),
      sums: `SELECT sum(cents) AS cents FROM shop.sales WHERE ${where}`,
    })
    await m.run(salesPipeline(() => sales))
    expect(Object.keys(await m.todo(listed))).toEqual(keys)
    const first = await m.run(listed)
    expect(first).toMatchObject({ status: "completed", error: undefined, counts: { read: 7, inserted: 7 } })
    expect(first.partitions).toMatchObject({
      total: keys.length,
      published: keys.length,
      reasons: { new: keys.length },
    })
    const should = Object.values(sales)
      .flat()
      .map((s) => `${s.id} ${s.sold} ${s.product} ${s.cents}`)
      .sort()
    expect(await m.lines("mart.listed")).toEqual(should)
    expect(await m.statuses("listed")).toEqual(Object.fromEntries(keys.map((key) => [key, "completed"])))
    expect(Object.keys(await m.months("listed"))).toEqual(partition.kind === "month" ? keys : [])

    const before = await digest(m.bed, "mart.listed")
    expect(await m.todo(listed)).toEqual({})
    const second = await m.run(listed)
    expect(second).toMatchObject({ status: "completed", counts: { read: 0 } })
    expect(second.partitions).toMatchObject({ total: keys.length, chosen: 0, published: 0, unchanged: keys.length })
    expect(await digest(m.bed, "mart.listed")).toBe(before)

    const full = await m.run(listed, { full: true })
    expect(full).toMatchObject({
      status: "completed",
      counts: { read: 7, unchanged: 7, inserted: 0, updated: 0, deleted: 0 },
    })
    expect(full.partitions).toMatchObject({ published: keys.length, reasons: { full: keys.length } })
    expect(await digest(m.bed, "mart.listed")).toBe(before)
  },
)

test("a key that no longer comes out is removed, and a month without rows becomes empty", async () => {
  const sales = someSales()
  await m.run(salesPipeline(() => sales))
  await m.run(monthlyModel())
  expect(await m.lines("mart.monthly")).toEqual(monthlyOf(sales))
  const before = await m.tuples("mart.monthly")

  // No bun in January and nothing at all in March any more; February is not concerned.
  sales["early"] = sales["early"]!.filter((s) => s.id !== 3)
  sales["late"] = sales["late"]!.filter((s) => s.sold < "2011-03")
  await m.run(salesPipeline(() => sales))
  expect(await m.todo(monthlyModel())).toMatchObject({ "2011-01": "stale", "2011-03": "stale" })
  const again = await m.run(monthlyModel())
  expect(again).toMatchObject({ status: "completed", counts: { inserted: 0, updated: 0, deleted: 3 } })
  expect(await m.lines("mart.monthly")).toEqual(monthlyOf(sales))
  const after = await m.tuples("mart.monthly")
  expect(after["2011-02"]).toBe(before["2011-02"])
  expect(after["2011-03"]).toBeUndefined()
  expect(await m.statuses("monthly")).toEqual({
    "2011-01": "completed",
    "2011-02": "completed",
    "2011-03": "completed",
  })
  expect(await m.todo(monthlyModel())).toEqual({})

  // And it comes back.
  sales["again"] = [sale(9, "2011-03-03", "cup", 7)]
  await m.run(salesPipeline(() => sales))
  expect(await m.todo(monthlyModel())).toEqual({ "2011-03": "stale" })
  await m.run(monthlyModel())
  expect(await m.lines("mart.monthly")).toEqual(monthlyOf(sales))
})

test("a key that moves to another month is taken along", async () => {
  const sales = someSales()
  const listed = model({
    name: "listed",
    from: "shop.sales",
    partition: month("sold"),
    sql: "SELECT id, cents FROM shop.sales WHERE sold >= ${partition.start} AND sold < ${partition.end}",
    sink: table("mart.listed", { key: ["id"] }),
  })
  await m.run(salesPipeline(() => sales))
  await m.run(listed)
  const partitionOf = (id: number): Promise<string> =>
    m.bed.value("SELECT _source FROM mart.listed WHERE id = $1", [id])
  for (const [id, to] of [
    [1, "2011-03"],
    [6, "2011-01"],
  ] as const) {
    for (const file of Object.keys(sales))
      sales[file] = sales[file]!.map((s) => (s.id === id ? { ...s, sold: `${to}-15` } : s))
    await m.run(salesPipeline(() => sales))
    const moved = await m.run(listed)
    expect(moved).toMatchObject({ status: "completed", held: [] })
    expect(await partitionOf(id)).toBe(to)
    expect(await m.lines("mart.listed")).toHaveLength(7)
  }
})

test("a model that changed is built anew, and only rows that differ are written", async () => {
  const sales = someSales()
  await m.run(salesPipeline(() => sales))
  await m.run(monthlyModel())
  const before = await digest(m.bed, "mart.monthly")
  const reworded = monthlyModel({ sql: `${MONTHLY_SQL} ORDER BY 1, 2` })
  expect(await m.todo(reworded)).toEqual({ "2011-01": "changed", "2011-02": "changed", "2011-03": "changed" })
  const same = await m.run(reworded)
  expect(same).toMatchObject({ status: "completed", counts: { read: 6, unchanged: 6, updated: 0, inserted: 0 } })
  expect(await digest(m.bed, "mart.monthly")).toBe(before)
  expect(await m.todo(reworded)).toEqual({})

  const tuples = await m.tuples("mart.monthly")
  const other = monthlyModel({ sql: MONTHLY_SQL.replace("sum(cents)", "sum(abs(cents))") })
  const changed = await m.run(other)
  expect(changed).toMatchObject({ status: "completed", counts: { read: 6, unchanged: 5, updated: 1 } })
  const { "2011-03": march, ...rest } = await m.tuples("mart.monthly")
  expect(rest).toEqual({ "2011-01": tuples["2011-01"], "2011-02": tuples["2011-02"] })
  expect(march).not.toBe(tuples["2011-03"])
  expect(await m.lines("mart.monthly")).toContain("2011-03 bun 1 30")
})

test("parameters are bound, whatever they hold, and a changed one makes the model another", async () => {
  const sales = someSales()
  sales["odd"] = [sale(8, "2011-01-02", "'; DROP TABLE shop.sales; --", 1)]
  await m.run(salesPipeline(() => sales))
  const of = (products: readonly string[]) =>
    monthlyModel({
      sql: MONTHLY_SQL.replace("GROUP BY", "AND product = ANY(${params.products}::text[]) GROUP BY"),
      params: { products },
    })
  const only = (...products: string[]): string[] =>
    monthlyOf({
      only: Object.values(sales)
        .flat()
        .filter((s) => products.includes(s.product)),
    })
  await m.run(of(["'; DROP TABLE shop.sales; --", "ale"]))
  expect(await m.lines("mart.monthly")).toEqual(only("'; DROP TABLE shop.sales; --", "ale"))
  expect(await m.todo(of(["'; DROP TABLE shop.sales; --", "ale"]))).toEqual({})
  expect(new Set(Object.values(await m.todo(of(["bun"]))))).toEqual(new Set(["changed"]))
  await m.run(of(["bun"]))
  expect(await m.lines("mart.monthly")).toEqual(only("bun"))
})
