import { afterEach, beforeEach, expect, test } from "vitest"
import { model, month, pipeline, table } from "../../src/index.ts"
import { recordsSource } from "../../src/testing/index.ts"
import { digest } from "../engine/bed.ts"
import { z } from "zod"
import { modelBed, type ModelBed } from "./engine-bed.ts"

let m: ModelBed
beforeEach(async () => {
  m = await modelBed()
})
afterEach(() => m.end())

interface Reading extends Record<string, unknown> {
  readonly taken: string
  readonly label: string | null
  readonly level: number | null
}
type Readings = Record<string, Reading[]>

const reading = (taken: string, label: string | null, level: number | null): Reading => ({ taken, label, level })

/** Equal rows, rows with nulls, a text that says null, and texts that would be cut apart at a comma or a quote. */
const someReadings = (): Readings => ({
  a: [
    reading("2011-01-01", "x", 1),
    reading("2011-01-01", "x", 1),
    reading("2011-01-01", "x", 1),
    reading("2011-01-01", null, 1),
    reading("2011-01-01", null, 1),
    reading("2011-01-01", "", null),
    reading("2011-01-01", "null", null),
  ],
  b: [
    reading("2011-02-01", 'a,"b",', 2),
    reading("2011-02-01", "(a)", 2),
    reading("2011-02-01", "x", 1),
    reading("2011-03-01", "Zürich\n", 3),
  ],
})

const readingsPipeline = (readings: () => Readings) =>
  pipeline({
    name: "readings",
    source: recordsSource(readings),
    schema: z.object({ taken: z.iso.date(), label: z.string().nullable(), level: z.int().nullable() }),
    sink: table("lab.readings", { mode: "append" }),
  })

const copied = model({
  name: "copied",
  from: "lab.readings",
  partition: month("taken"),
  sql: "SELECT taken, label, level::numeric(8,2) AS level FROM lab.readings WHERE taken >= ${partition.start} AND taken < ${partition.end}",
  sink: table("lab.copied", { mode: "replace" }),
})

/** The rows of the table as JSON with how often each is there. */
async function multiset(): Promise<string[]> {
  const rows = await m.bed.rows<Reading & { n: number }>(
    "SELECT taken::text, label, level::float8, count(*)::int AS n FROM lab.copied GROUP BY 1, 2, 3",
  )
  return rows.map(({ taken, label, level, n }) => JSON.stringify([taken, label, level, n])).sort()
}

function multisetOf(readings: Readings): string[] {
  const all = Object.values(readings)
    .flat()
    .map(({ taken, label, level }) => JSON.stringify([taken, label, level]))
  return [...new Set(all)].map((text) => `${text.slice(0, -1)},${all.filter((other) => other === text).length}]`).sort()
}

test("equal rows are counted, and what is there already is not written", async () => {
  const readings = someReadings()
  await m.run(readingsPipeline(() => readings))
  expect(await m.run(copied)).toMatchObject({ status: "completed", counts: { read: 11, inserted: 11 } })
  expect(await multiset()).toEqual(multisetOf(readings))
  const before = await digest(m.bed, "lab.copied")
  expect((await m.run(copied)).partitions).toMatchObject({ chosen: 0 })
  const full = await m.run(copied, { full: true })
  expect(full).toMatchObject({ status: "completed", counts: { read: 11, unchanged: 11, inserted: 0, deleted: 0 } })
  expect(await digest(m.bed, "lab.copied")).toBe(before)
})

test("of a changed month only the difference is written: one row more, one less, one other", async () => {
  const readings = someReadings()
  const source = readingsPipeline(() => readings)
  await m.run(source)
  await m.run(copied)
  const rowsOf = async (key: string): Promise<string[]> =>
    (
      await m.bed.rows<{ id: string }>("SELECT ctid::text || '/' || xmin AS id FROM lab.copied WHERE _source = $1", [
        key,
      ])
    ).map((row) => row.id)

  const first = await rowsOf("2011-01")
  const others = (await m.tuples("lab.copied"))["2011-02"]
  readings["a"]!.push(reading("2011-01-01", "x", 1))
  await m.run(source)
  expect(await m.run(copied)).toMatchObject({ counts: { read: 8, unchanged: 7, inserted: 1, deleted: 0 } })
  expect(await multiset()).toEqual(multisetOf(readings))
  const second = await rowsOf("2011-01")
  expect(second).toEqual(expect.arrayContaining(first))

  readings["a"]!.splice(3, 1)
  await m.run(source)
  expect(await m.run(copied)).toMatchObject({ counts: { read: 7, unchanged: 7, inserted: 0, deleted: 1 } })
  expect(await multiset()).toEqual(multisetOf(readings))
  expect(second).toEqual(expect.arrayContaining(await rowsOf("2011-01")))

  readings["a"]![4] = reading("2011-01-01", null, null)
  await m.run(source)
  expect(await m.run(copied)).toMatchObject({ counts: { read: 7, unchanged: 6, inserted: 1, deleted: 1 } })
  expect(await multiset()).toEqual(multisetOf(readings))
  expect((await m.tuples("lab.copied"))["2011-02"]).toBe(others)

  // The month becomes empty.
  readings["a"] = []
  await m.run(source)
  expect(await m.run(copied)).toMatchObject({ status: "completed", counts: { read: 0, deleted: 7 } })
  expect(await multiset()).toEqual(multisetOf(readings))
  expect((await m.tuples("lab.copied"))["2011-02"]).toBe(others)
})

test("the touches of a replaced table are those of the rows that differ: the next model rebuilds only these", async () => {
  const readings = someReadings()
  const source = readingsPipeline(() => readings)
  const labels = model({
    name: "labels",
    from: "lab.copied",
    partition: month("taken"),
    sql: "SELECT taken, count(DISTINCT label) AS labels FROM lab.copied WHERE taken >= ${partition.start} AND taken < ${partition.end} GROUP BY 1",
    sink: table("lab.labels", { key: ["taken"] }),
  })
  await m.run(source)
  await m.run(copied)
  await m.run(labels)
  readings["b"]![1] = reading("2011-03-02", "(a)", 2)
  await m.run(source)
  await m.run(copied)
  expect(await m.todo(labels)).toEqual({ "2011-02": "stale", "2011-03": "stale" })
  await m.run(labels)
  expect(await m.todo(labels)).toEqual({})
  await m.run(copied, { full: true })
  expect(await m.todo(labels)).toEqual({})
})
