import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { afterEach, beforeEach, expect, test } from "vitest"
import { model, month, sql, table } from "../../src/index.ts"
import {
  IN_MONTH,
  modelBed,
  monthlyModel,
  MONTHLY_SQL,
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

const nothingBelowZero = sql("nothing below zero", "SELECT * FROM staged WHERE cents < 0")

const ALL = { "2011-01": "completed", "2011-02": "completed", "2011-03": "completed" }

test("a month that fails a check is held, alone, with its old rows; the next run tries it again", async () => {
  sales["late"] = sales["late"]!.filter((s) => s.cents > 0)
  const checked = monthlyModel({ checks: [nothingBelowZero] })
  await m.run(source)
  await m.run(checked)
  const before = await m.tuples("mart.monthly")

  sales["late"].push(sale(7, "2011-03-31", "bun", -30), sale(8, "2011-02-02", "ale", 1))
  await m.run(source)
  const report = await m.run(checked)
  expect(report).toMatchObject({ status: "partial", partitions: { published: 1, held: 1 } })
  expect(report.held).toMatchObject([{ partition: "2011-03", code: "QUALITY_GATE" }])
  expect(report.held[0]?.message).toContain("nothing below zero")
  expect(await m.lines("mart.monthly")).toEqual([...monthlyOf(sales, ["2011-01", "2011-02"]), "2011-03 ale 1 5"].sort())
  expect((await m.tuples("mart.monthly"))["2011-03"]).toBe(before["2011-03"])
  expect(await m.statuses("monthly")).toEqual({ ...ALL, "2011-03": "held" })
  expect(await m.months("monthly")).toEqual({ ...ALL, "2011-03": "failed" })
  expect(await m.todo(checked)).toEqual({ "2011-03": "held-before" })
  expect(await m.run(checked)).toMatchObject({ status: "partial", partitions: { chosen: 1, published: 0, held: 1 } })

  sales["late"] = sales["late"].map((s) => ({ ...s, cents: Math.abs(s.cents) }))
  await m.run(source)
  expect(await m.run(checked)).toMatchObject({ status: "completed", partitions: { chosen: 1, published: 1 } })
  expect(await m.lines("mart.monthly")).toEqual(monthlyOf(sales))
  expect(await m.statuses("monthly")).toEqual(ALL)
  expect(await m.months("monthly")).toEqual(ALL)
  expect(await m.todo(checked)).toEqual({})
})

test("with publish: run, one month that fails holds all of them", async () => {
  await m.run(source)
  const together = monthlyModel({ checks: [nothingBelowZero], publish: "run" })
  const report = await m.run(together)
  expect(report).toMatchObject({ status: "partial", partitions: { published: 0, held: 3 } })
  expect(await m.lines("mart.monthly")).toEqual([])
  sales["late"]!.pop()
  await m.run(source)
  expect(await m.run(together)).toMatchObject({ status: "completed", partitions: { published: 3 } })
  expect(await m.lines("mart.monthly")).toEqual(monthlyOf(sales))
  expect(await m.bed.value("SELECT count(DISTINCT xmin::text)::int FROM mart.monthly")).toBe(1)
})

test("an error that one month's data causes fails that month alone and names the file", async () => {
  sales["zero"] = [sale(10, "2011-02-14", "cup", -990)]
  await m.run(source)
  const path = join(m.bed.directory, "share.sql")
  await writeFile(
    path,
    `SELECT to_char(sold, 'YYYY-MM') AS month_key, product, 100 / sum(cents) AS share
     FROM shop.sales WHERE ${IN_MONTH} GROUP BY 1, 2`,
  )
  const share = monthlyModel({ sql: pathToFileURL(path), sink: table("mart.share", { key: ["month_key", "product"] }) })
  const report = await m.run(share)
  expect(report).toMatchObject({ status: "partial", partitions: { published: 2, held: 1 } })
  expect(report.held).toMatchObject([{ partition: "2011-02", code: "DB_CONSTRAINT" }])
  expect(report.held[0]?.message).toMatch(/division by zero/)
  expect(`${report.held[0]?.message} ${report.held[0]?.hint}`).toContain("share.sql")
  expect(await m.statuses("monthly")).toEqual({ ...ALL, "2011-02": "held" })
  expect(await m.bed.value("SELECT string_agg(DISTINCT month_key, ' ' ORDER BY month_key) FROM mart.share")).toBe(
    "2011-01 2011-03",
  )
  sales["zero"] = []
  await m.run(source)
  expect(await m.run(share)).toMatchObject({ status: "completed", partitions: { chosen: 1, published: 1 } })
})

test("SQL that is no SQL is refused before anything is done, with its file", async () => {
  await m.run(source)
  const path = join(m.bed.directory, "wrong.sql")
  for (const [text, says] of [
    [`SELEC 1`, /SELEC/],
    [`SELECT id, FROM shop.sales WHERE ${IN_MONTH}`, /syntax error/],
    [`SELECT nobody FROM shop.sales WHERE ${IN_MONTH}`, /nobody/],
    [`SELECT id FROM shop.sale WHERE ${IN_MONTH}`, /shop\.sale/],
    [`SELECT id FROM shop.sales WHERE sold >= \${partition.begin}`, /partition\.begin/],
  ] as const) {
    await writeFile(path, text)
    await expect(m.run(monthlyModel({ sql: pathToFileURL(path) }))).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringMatching(says) as string,
      where: expect.stringContaining("wrong.sql") as string,
      hint: expect.stringMatching(/./) as string,
    })
  }
  expect(await m.statuses("monthly")).toEqual({})
  await expect(m.run(monthlyModel({ sql: pathToFileURL(join(m.bed.directory, "nowhere.sql")) }))).rejects.toMatchObject(
    { code: "CONFIG", where: expect.stringContaining("nowhere.sql") as string },
  )
})

test("a key that a month gives twice holds that month alone", async () => {
  await m.run(source)
  const twice = model({
    name: "twice",
    from: "shop.sales",
    partition: month("sold"),
    sql: `SELECT to_char(sold, 'YYYY-MM') AS month_key, product, cents FROM shop.sales WHERE ${IN_MONTH}`,
    sink: table("mart.twice", { key: ["month_key", "product"] }),
  })
  for (const chosen of [3, 1]) {
    const report = await m.run(twice)
    expect(report).toMatchObject({ status: "partial", partitions: { chosen, published: chosen - 1, held: 1 } })
    expect(report.held).toMatchObject([{ partition: "2011-01", code: "DB_CONSTRAINT" }])
    expect(report.held[0]?.message).toContain("month_key, product")
    expect(await m.lines("mart.twice")).toEqual([
      "2011-02 ale 75",
      "2011-02 cup 990",
      "2011-03 ale 5",
      "2011-03 bun -30",
    ])
  }
})

test("a key that two months give is published for one and holds the other", async () => {
  sales = { one: [sale(1, "2011-01-01", "ale", 1), sale(2, "2011-02-01", "bun", 2), sale(3, "2011-03-01", "ale", 3)] }
  await m.run(source)
  const perProduct = model({
    name: "per_product",
    from: "shop.sales",
    partition: month("sold"),
    sql: `SELECT product, sum(cents) AS cents FROM shop.sales WHERE ${IN_MONTH} GROUP BY 1`,
    sink: table("mart.per_product", { key: ["product"] }),
  })
  for (const chosen of [3, 1]) {
    const report = await m.run(perProduct)
    expect(report).toMatchObject({ status: "partial", partitions: { chosen, published: chosen - 1, held: 1 } })
    expect(report.held).toMatchObject([{ partition: "2011-03", code: "DB_CONSTRAINT" }])
    expect(await m.lines("mart.per_product")).toEqual(["ale 1", "bun 2"])
  }
})

test("sums that the query does not keep hold the month: a join that loses rows, and one that multiplies them", async () => {
  const { bed } = m
  await bed.rows("CREATE SCHEMA ref")
  await bed.rows("CREATE TABLE ref.products (product text, kind text)")
  await bed.rows("INSERT INTO ref.products VALUES ('ale', 'drink'), ('bun', 'food')")
  await m.run(source)
  const perKind = monthlyModel({
    sql: MONTHLY_SQL.replace("FROM shop.sales", "FROM shop.sales JOIN ref.products USING (product)"),
    sums: `SELECT count(*) AS lines, sum(cents) AS cents FROM shop.sales WHERE ${IN_MONTH}`,
  })
  const lost = await m.run(perKind)
  expect(lost).toMatchObject({ status: "partial", partitions: { published: 2, held: 1 } })
  expect(lost.held).toMatchObject([{ partition: "2011-02", code: "CONSERVATION" }])
  expect(lost.held[0]?.message).toMatch(/lines sums to 1, but to 2/)
  expect(await m.lines("mart.monthly")).toEqual(monthlyOf(sales, ["2011-01", "2011-03"]))

  await bed.rows("INSERT INTO ref.products VALUES ('cup', 'thing'), ('bun', 'sweet')")
  const multiplied = await m.run(perKind, { full: true })
  expect(multiplied.held.map(({ partition, code }) => `${partition} ${code}`)).toEqual([
    "2011-01 CONSERVATION",
    "2011-03 CONSERVATION",
  ])
  expect(await m.lines("mart.monthly")).toEqual(monthlyOf(sales))

  await bed.rows("DELETE FROM ref.products WHERE kind = 'sweet'")
  expect(await m.run(perKind)).toMatchObject({ status: "completed", partitions: { chosen: 2, published: 2 } })
  expect(await m.lines("mart.monthly")).toEqual(monthlyOf(sales))
})

test("sums of floating numbers are compared as they are stored", async () => {
  await m.run(source)
  const floating = monthlyModel({
    sql: `SELECT id, (cents / 10.0)::float8 AS tenths FROM shop.sales WHERE ${IN_MONTH}`,
    sink: table("mart.floating", { key: ["id"] }),
    sums: `SELECT sum(cents / 10.0) AS tenths FROM shop.sales WHERE ${IN_MONTH}`,
  })
  sales["tenths"] = [1, 2, 3, 7, 11].map((cents, n) => sale(20 + n, "2011-05-01", "ale", cents))
  await m.run(source)
  expect(await m.run(floating)).toMatchObject({ status: "completed", held: [], error: undefined })
})

test("a trigger that drops a row fails the run, and nothing of it is there", async () => {
  const { bed } = m
  await m.run(source)
  await m.run(monthlyModel())
  const before = await m.lines("mart.monthly")
  await bed.rows(`CREATE FUNCTION mart.swallow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$`)
  await bed.rows(
    `CREATE TRIGGER swallow BEFORE INSERT ON mart.monthly FOR EACH ROW WHEN (NEW.product = 'dud') EXECUTE FUNCTION mart.swallow()`,
  )
  sales["more"] = [sale(11, "2011-02-03", "dud", 1), sale(12, "2011-02-03", "eel", 1)]
  await m.run(source)
  const report = await m.run(monthlyModel())
  expect(report).toMatchObject({ status: "failed", error: { code: "CONSERVATION" } })
  expect(await m.lines("mart.monthly")).toEqual(before)
  await bed.rows("DROP TRIGGER swallow ON mart.monthly")
  expect(await m.run(monthlyModel())).toMatchObject({ status: "completed" })
  expect(await m.lines("mart.monthly")).toEqual(monthlyOf(sales))
})

test("a date that no month can stand for holds its partition alone", async () => {
  await m.run(source)
  await m.bed.rows(
    "INSERT INTO shop.sales SELECT (jsonb_populate_record(s, '{\"_position\": 999}')).* FROM shop.sales s LIMIT 1",
  )
  await m.bed.rows("UPDATE shop.sales SET sold = '12011-01-05' WHERE _position = 999")
  const report = await m.run(monthlyModel())
  expect(report).toMatchObject({ status: "partial", error: undefined, partitions: { published: 3, held: 1 } })
  expect(report.held).toMatchObject([{ partition: "12011-01", code: "VALIDATION" }])
  expect(await m.lines("mart.monthly")).toEqual(monthlyOf(sales))
  expect(await m.months("monthly")).toEqual(ALL)
})
