import { afterAll, beforeAll, expect, test } from "vitest"
import { z } from "zod"
import { accepted, pipeline, recordCheck, table, type Pipeline, type PipelineOptions } from "../../src/index.ts"
import { recordsSource } from "../../src/testing/index.ts"
import { testBed, unbalanced, type Bed } from "./bed.ts"

let bed: Bed
beforeAll(async () => {
  bed = await testBed()
})
afterAll(() => bed.end())

let pipelines = 0

/** A pipeline over records `{ id, items }` into a table of its own. */
function orders(
  records: readonly Record<string, unknown>[],
  extra: Partial<PipelineOptions> = {},
): { pipeline: Pipeline; table: string; name: string } {
  const name = `t${++pipelines}`
  return {
    name,
    table: `shop.${name}`,
    pipeline: pipeline({
      name,
      source: recordsSource(() => ({ orders: records }), { batchSize: 2 }),
      schema: z.object({ id: z.int(), items: z.array(z.string()) }),
      sink: table(`shop.${name}`, { mode: "append" }),
      ...extra,
    }),
  }
}

const letters = (pipelineName: string): Promise<unknown[]> =>
  bed.rows(
    `SELECT error_code, step, error_msg, rule, path, record->>'id' AS id FROM ops.dead_letters WHERE pipeline_name = $1 ORDER BY ordinal`,
    [pipelineName],
  )

const records = [
  { id: 1, items: ["a", "b", "c"] },
  { id: 2, items: [] },
  { id: 3, items: ["d"] },
  { id: 4, items: ["e", "f"] },
  { id: 5, items: ["g", "h"] },
]

const Line = z.object({ order: z.int(), item: z.string() })
const linesOf = (record: Record<string, unknown>) =>
  (record["items"] as string[]).map((item) => ({ order: record["id"], item }))

test("a record is expanded in order, filtered when nothing is left, and all of it is counted", async () => {
  const { pipeline: expanding, table: name } = orders(records, {
    transform: (record) => (record["id"] === 4 ? undefined : linesOf(record)),
    output: Line,
  })
  const report = await bed.run(expanding)
  expect(report.status).toBe("completed")
  expect(report.counts).toMatchObject({ read: 5, expanded: 3, inserted: 6, filtered: 2, deadLettered: 0 })
  expect(await bed.rows(`SELECT "order"::int, item, _position::int, _item FROM ${name} ORDER BY _seq, _item`)).toEqual([
    { order: 1, item: "a", _position: 1, _item: 0 },
    { order: 1, item: "b", _position: 1, _item: 1 },
    { order: 1, item: "c", _position: 1, _item: 2 },
    { order: 3, item: "d", _position: 3, _item: 0 },
    { order: 5, item: "g", _position: 5, _item: 0 },
    { order: 5, item: "h", _position: 5, _item: 1 },
  ])
  const full = await bed.run(expanding, { full: true })
  expect(full.counts).toMatchObject({ read: 5, expanded: 3, unchanged: 6, filtered: 2, inserted: 0, updated: 0 })
  expect(await unbalanced(bed, expanding.name)).toEqual([])
})

test("a record that is expanded to fewer rows than before loses the others", async () => {
  let many = 3
  const name = `t${++pipelines}`
  const source = recordsSource(() => ({ p: [{ id: 1, items: Array.from({ length: many }, (_, i) => `i${i}`) }] }))
  const { pipeline: expanding } = orders([], {
    name,
    source,
    sink: table(`shop.${name}`, { mode: "append" }),
    transform: linesOf,
    output: Line,
  })
  await bed.run(expanding)
  many = 2
  expect((await bed.run(expanding)).counts).toMatchObject({ read: 1, expanded: 1, unchanged: 2, deleted: 1 })
})

test("one bad row of an expansion sets the whole record aside", async () => {
  const { pipeline: expanding, name } = orders(records, {
    transform: (record) => linesOf(record).map((line) => (line.item === "f" ? { ...line, item: 7 } : line)),
    output: Line,
  })
  const report = await bed.run(expanding)
  expect(report.counts).toMatchObject({ read: 5, expanded: 3, inserted: 6, filtered: 1, deadLettered: 1 })
  expect(await letters(name)).toEqual([
    {
      error_code: "VALIDATION",
      step: "transform",
      error_msg: "item: expected text, got 7",
      rule: "invalid_type",
      path: "item",
      id: "4",
    },
  ])
})

test("a row of an expansion that the column cannot hold sets the whole record aside", async () => {
  const {
    pipeline: expanding,
    name,
    table: target,
  } = orders(records, {
    transform: linesOf,
    output: Line,
    columns: { item: { type: "varchar(1)" } },
    source: recordsSource(() => ({ orders: [...records, { id: 6, items: ["x", "yy", "z"] }] }), { batchSize: 4 }),
  })
  const report = await bed.run(expanding)
  expect(report.counts).toMatchObject({ read: 6, expanded: 4, inserted: 8, filtered: 1, deadLettered: 1 })
  expect(await letters(name)).toMatchObject([{ error_code: "DB_CONSTRAINT", step: "load", id: "6" }])
  expect(await bed.value(`SELECT count(*)::int FROM ${target} WHERE "order" = 6`)).toBe(0)
})

test("a transform that throws sends its record to the letters with what it said", async () => {
  const { pipeline: throwing, name } = orders(records, {
    schema: z.object({ id: z.int(), items: z.array(z.string()) }),
    transform: (record) => {
      if (record["id"] === 3) throw new RangeError("no such item: 3")
      return record
    },
  })
  const report = await bed.run(throwing)
  expect(report.counts).toMatchObject({ read: 5, inserted: 4, deadLettered: 1 })
  expect(report.deadLetters).toEqual({ TRANSFORM: 1 })
  expect(await letters(name)).toEqual([
    {
      error_code: "TRANSFORM",
      step: "transform",
      error_msg: "the transform failed: no such item: 3",
      rule: null,
      path: null,
      id: "3",
    },
  ])
})

test("what is no record, or a promise, is not taken for one", async () => {
  const returned: Record<number, unknown> = {
    1: null,
    2: "text",
    3: Promise.resolve({ id: 3, items: [] }),
    4: [null, 7],
  }
  const {
    pipeline: strange,
    name,
    table: target,
  } = orders(records, {
    transform: ((record: { id: number }) => (record.id in returned ? returned[record.id] : record)) as never,
  })
  const report = await bed.run(strange)
  expect(report).toMatchObject({ status: "completed", counts: { read: 5, inserted: 1, deadLettered: 4 } })
  expect(report.deadLetters).toEqual({ TRANSFORM: 4 })
  expect(await letters(name)).toMatchObject([
    { error_msg: expect.stringContaining("got null") as string },
    { error_msg: expect.stringContaining('got "text"') as string },
    { error_msg: expect.stringContaining("promise") as string },
    { error_msg: expect.stringContaining("got null") as string },
  ])
  expect(await bed.rows(`SELECT id::int FROM ${target}`)).toEqual([{ id: 5 }])
})

test("prepare comes before the schema; what it throws is a letter with the record as it was", async () => {
  const {
    pipeline: preparing,
    name,
    table: target,
  } = orders([{ ID: " 1 ", ITEMS: "a b" }, { ID: "2" }], {
    prepare: (record) => ({ id: Number(record["ID"]), items: (record["ITEMS"] as string).split(" ") }),
  })
  const report = await bed.run(preparing)
  expect(report.counts).toMatchObject({ read: 2, inserted: 1, deadLettered: 1 })
  expect(await bed.rows(`SELECT id::int, items FROM ${target}`)).toEqual([{ id: 1, items: ["a", "b"] }])
  expect(await letters(name)).toMatchObject([{ error_code: "TRANSFORM", step: "prepare" }])
  expect(await bed.value(`SELECT record FROM ops.dead_letters WHERE pipeline_name = $1`, [name])).toEqual({ ID: "2" })
})

test("a schema may answer later", async () => {
  const known = async (id: number): Promise<boolean> => Promise.resolve(id !== 2)
  const { pipeline: asynchronous, name } = orders(records, {
    schema: z.object({ id: z.int().refine(known, "is not known"), items: z.array(z.string()) }),
    transform: linesOf,
    output: Line.refine(async ({ item }) => Promise.resolve(item !== "h"), { message: "is sold out", path: ["item"] }),
  })
  const report = await bed.run(asynchronous)
  expect(report.counts).toMatchObject({ read: 5, expanded: 3, inserted: 6, filtered: 0, deadLettered: 2 })
  expect(await letters(name)).toMatchObject([
    { error_code: "VALIDATION", step: "validate", path: "id", id: "2" },
    { error_code: "VALIDATION", step: "transform", path: "item", id: "5" },
  ])
})

test("record-level checks judge what comes out of the transform, and name every rule that is broken", async () => {
  const { pipeline: checked, name } = orders(records, {
    transform: linesOf,
    output: Line,
    checks: [
      accepted("item", ["a", "b", "c", "d", "g"], { level: "record" }),
      recordCheck("low order", (line) => (line["order"] as number) < 5 || "the order is too high"),
    ],
  })
  const report = await bed.run(checked)
  expect(report.counts).toMatchObject({ read: 5, expanded: 2, inserted: 4, filtered: 1, deadLettered: 2 })
  expect(report.deadLetters).toEqual({ QUALITY_GATE: 2 })
  expect(await letters(name)).toMatchObject([
    { error_code: "QUALITY_GATE", step: "check", rule: "accepted(item)", path: "item", id: "4" },
    { error_code: "QUALITY_GATE", step: "check", rule: "low order", id: "5" },
  ])
  expect(await unbalanced(bed, name)).toEqual([])
})
