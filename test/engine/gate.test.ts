import { afterEach, beforeEach, expect, test } from "vitest"
import { z } from "zod"
import {
  accepted,
  csv,
  files,
  notNull,
  nullRatio,
  passRate,
  pipeline,
  range,
  rowCount,
  sql,
  table,
  unique,
  type Check,
  type PipelineOptions,
} from "../../src/index.ts"
import { recordsSource } from "../../src/testing/index.ts"
import { testBed, unbalanced, type Bed } from "./bed.ts"

let bed: Bed
beforeEach(async () => {
  bed = await testBed()
})
afterEach(() => bed.end())

const days = (extra: Partial<PipelineOptions> = {}) =>
  pipeline({
    name: "days",
    source: files("*.csv", { format: csv() }),
    schema: z.object({ id: z.int(), day: z.string(), amount: z.int().min(0) }),
    checks: [passRate(0.95)],
    sink: table("shop.days", { mode: "append" }),
    ...extra,
  })

const dayOf = (n: number): string => `2011-01-${String(n).padStart(2, "0")}`
const fileOf = (n: number, amount: (i: number) => number | string): string =>
  `id,day,amount\n${Array.from({ length: 20 }, (_, i) => `${n * 100 + i},${dayOf(n)},${amount(i)}\n`).join("")}`

/** Days 1 to 12; every record of day 5 is bad. */
async function writeDays(): Promise<void> {
  for (let n = 1; n <= 12; n++)
    await bed.write(
      `${dayOf(n)}.csv`,
      fileOf(n, (i) => (n === 5 ? -1 - i : i)),
    )
}

const published = (): Promise<{ day: string; rows: number }[]> =>
  bed.rows(`SELECT day, count(*)::int AS rows FROM shop.days GROUP BY 1 ORDER BY 1`)

const letters = (): Promise<{ partition_key: string; status: string; count: number }[]> =>
  bed.rows(`SELECT partition_key, status, count(*)::int FROM ops.dead_letters GROUP BY 1, 2 ORDER BY 1, 2`)

const otherDays = [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12].map((n) => ({ day: dayOf(n), rows: 20 }))

test("one wholly bad day is held with its letters, the others are published; corrected it follows and its letters are superseded", async () => {
  await writeDays()
  const first = await bed.run(days())
  expect(first).toMatchObject({ status: "partial", partitions: { total: 12, published: 11, held: 1 } })
  expect(first.held).toMatchObject([
    { partition: `${dayOf(5)}.csv`, code: "QUALITY_GATE", hint: expect.any(String) as string },
  ])
  expect(first.held[0]?.message).toContain("expected at least 95 % good records, found 0 % (0 of 20, 20 dead-lettered)")
  expect(first.counts).toMatchObject({ read: 220, inserted: 220, deadLettered: 0 })
  expect(await published()).toEqual(otherDays)
  expect(await letters()).toEqual([{ partition_key: `${dayOf(5)}.csv`, status: "pending", count: 20 }])
  expect(
    await bed.rows(`SELECT partition_key, error_code FROM ops.processed_partitions WHERE status = 'held'`),
  ).toEqual([{ partition_key: `${dayOf(5)}.csv`, error_code: "QUALITY_GATE" }])
  expect(await bed.rows(`SELECT status, published, held FROM ops.runs`)).toEqual([
    { status: "partial", published: 11, held: 1 },
  ])

  const again = await bed.run(days())
  expect(again).toMatchObject({ status: "partial", partitions: { reasons: { "held-before": 1 }, unchanged: 11 } })
  expect(await letters()).toEqual([{ partition_key: `${dayOf(5)}.csv`, status: "pending", count: 20 }])

  await bed.write(
    `${dayOf(5)}.csv`,
    fileOf(5, (i) => i),
  )
  const corrected = await bed.run(days())
  expect(corrected).toMatchObject({ status: "completed", counts: { read: 20, inserted: 20 } })
  expect(await published()).toEqual(
    [...otherDays, { day: dayOf(5), rows: 20 }].sort((a, b) => (a.day < b.day ? -1 : 1)),
  )
  expect(await letters()).toEqual([{ partition_key: `${dayOf(5)}.csv`, status: "superseded", count: 20 }])
  expect(await unbalanced(bed, "days")).toEqual([])
})

test("a day that goes bad later keeps its good rows of before", async () => {
  await bed.write(
    "a.csv",
    fileOf(1, (i) => i),
  )
  await bed.run(days())
  await bed.write(
    "a.csv",
    fileOf(1, () => -1),
  )
  expect(await bed.run(days())).toMatchObject({ status: "partial", partitions: { held: 1 } })
  expect(await published()).toEqual([{ day: dayOf(1), rows: 20 }])
  await bed.write(
    "a.csv",
    fileOf(1, (i) => i + 1),
  )
  expect(await bed.run(days())).toMatchObject({ status: "completed", counts: { updated: 20, inserted: 0 } })
})

test('publish: "run" publishes all or nothing', async () => {
  await writeDays()
  const whole = days({ publish: "run" })
  const first = await bed.run(whole)
  expect(first).toMatchObject({ status: "partial", partitions: { published: 0, held: 12 } })
  expect(first.held.filter((held) => held.message.startsWith(`held together with ${dayOf(5)}.csv`))).toHaveLength(11)
  expect(await published()).toEqual([])
  await bed.write(
    `${dayOf(5)}.csv`,
    fileOf(5, (i) => i),
  )
  expect(await bed.run(whole)).toMatchObject({ status: "completed", counts: { read: 240, inserted: 240 } })
  expect(await bed.value(`SELECT count(DISTINCT xmin::text)::int FROM shop.days`)).toBe(1)
})

test("a check that warns does not hold", async () => {
  await writeDays()
  const report = await bed.run(days({ checks: [passRate(0.95, { severity: "warn" })] }))
  expect(report).toMatchObject({
    status: "completed",
    partitions: { published: 12, held: 0 },
    counts: { deadLettered: 20 },
  })
  expect(await bed.rows(`SELECT partition_key, severity, observed FROM ops.quality_results WHERE NOT passed`)).toEqual([
    { partition_key: `${dayOf(5)}.csv`, severity: "warn", observed: 0 },
  ])
  expect(bed.eventsOf("check.judged").filter((event) => !event.passed)).toHaveLength(1)
})

interface Item {
  [property: string]: unknown
  id: number
  colour: string | null
  price: string | null
}

const good: Item[] = [
  { id: 1, colour: "red", price: "1.5" },
  { id: 2, colour: "blue", price: "2.5" },
  { id: 3, colour: "red", price: "3.5" },
]

/** Each check, records that fail it, how many it then counts, and the ids of its samples. */
const checks: [Check, readonly Item[], number | null, number[]][] = [
  [passRate(0.9), [...good, { id: 4, colour: "red", price: "dear" }], 0.75, []],
  [notNull("colour"), [...good, { id: 4, colour: null, price: "1" }], 1, [4]],
  [
    unique("colour"),
    [...good.slice(0, 2), { id: 4, colour: null, price: "1" }, { id: 5, colour: "red", price: "1" }],
    1,
    [1, 5],
  ],
  [unique(["colour", "price"]), [...good, { id: 4, colour: "red", price: "1.50" }], 1, [1, 4]],
  [accepted("colour", ["red", "blue"]), [...good, { id: 4, colour: "it's", price: "1" }], 1, [4]],
  [range("price", { min: "0.5", max: "3.5" }), [...good, { id: 4, colour: "red", price: "3.5000001" }], 1, [4]],
  [rowCount({ min: 3, max: 3 }), good.slice(0, 2), 2, []],
  [nullRatio("colour", { max: 0.25 }), [{ id: 1, colour: null, price: "1" }, ...good.slice(1)], 1 / 3, [1]],
  [sql("cheap", "SELECT * FROM staged WHERE price < 1;"), [...good, { id: 4, colour: "red", price: "0.99" }], 1, [4]],
]

test.each(checks.map((entry) => [entry[0].name, ...entry] as const))(
  "%s passes and fails",
  async (name, check, bad, observed, samples) => {
    const enough = name.startsWith("unique(colour)") ? good.slice(0, 2) : good
    const items = pipeline({
      name: "items",
      source: recordsSource(() => ({ bad, good: enough })),
      schema: z.object({
        id: z.int(),
        colour: z.string().nullable(),
        price: z
          .string()
          .regex(/^[\d.]+$/)
          .nullable(),
      }),
      columns: { price: { type: "numeric" } },
      checks: [check],
      sink: table("shop.items", { mode: "append" }),
    })
    const report = await bed.run(items)
    expect(report, JSON.stringify(report.error)).toMatchObject({ status: "partial", error: undefined })
    expect(report.held).toMatchObject([{ partition: "bad", code: "QUALITY_GATE" }])
    expect(await bed.value(`SELECT count(*)::int FROM shop.items WHERE _source = 'bad'`)).toBe(0)
    expect(await bed.value(`SELECT count(*)::int FROM shop.items WHERE _source = 'good'`)).toBe(enough.length)
    const results = await bed.rows<{ samples: { id: number }[] }>(
      `SELECT partition_key, check_name, severity, passed, observed, samples, table_name, message FROM ops.quality_results ORDER BY 1`,
    )
    expect(results).toMatchObject([
      { partition_key: "bad", check_name: name, severity: "fail", passed: false, observed, table_name: "shop.items" },
      { partition_key: "good", check_name: name, severity: "fail", passed: true, samples: [] },
    ])
    expect(results[0]?.samples.map((sample) => sample.id).sort()).toEqual(samples)
    expect(report.held[0]?.message).toContain(name)
  },
)

test("samples are five at most, and show no lineage of the run", async () => {
  const many = Array.from({ length: 12 }, (_, i) => ({ id: i, colour: null }))
  await bed.run(
    pipeline({
      name: "items",
      source: recordsSource(() => ({ many })),
      schema: z.object({ id: z.int(), colour: z.string().nullable() }),
      checks: [notNull("colour"), sql("all", "TABLE staged")],
      sink: table("shop.items", { key: ["id"] }),
    }),
  )
  const rows = await bed.rows<{ check_name: string; observed: number; samples: unknown[] }>(
    `SELECT check_name, observed, samples FROM ops.quality_results ORDER BY 1`,
  )
  expect(rows).toMatchObject([{ observed: 12 }, { observed: 12 }])
  expect(rows.map((row) => row.samples.length)).toEqual([5, 5])
  expect(rows[1]?.samples[0]).toEqual({ id: 0, colour: null, _source: "many", _position: 1 })
})

test("a check with a property the schema does not have is refused where it is declared", () => {
  expect(() => days({ checks: [notNull("shade"), unique(["id", "hue"]), passRate(0.9)] })).toThrow(
    /"shade", which the schema does not have.*\n.*"hue", which the schema does not have/,
  )
})

test.each([
  [
    "a query that does not run",
    sql("broken", "SELECT FROM nowhere"),
    /check "broken" does not run: .*nowhere/,
    /relation staged/,
  ],
  ["a query that writes", sql("sly", "DELETE FROM staged RETURNING *"), /check "sly" does not run/, /relation staged/],
])("a check with %s ends the run with CONFIG and publishes nothing", async (_what, check, message, hint) => {
  const report = await bed.run(
    pipeline({
      name: "items",
      source: recordsSource(() => ({ good })),
      schema: z.object({ id: z.int(), colour: z.string().nullable() }),
      onNewColumn: "ignore",
      checks: [check],
      sink: table("shop.items", { mode: "append" }),
    }),
  )
  expect(report).toMatchObject({ status: "failed", error: { code: "CONFIG" } })
  expect(report.error?.message).toMatch(message)
  expect(report.error?.hint).toMatch(hint)
  expect(await bed.value(`SELECT to_regclass('shop.items')::text`)).toBeNull()
})
