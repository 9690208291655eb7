import { afterEach, beforeEach, expect, test } from "vitest"
import { z } from "zod"
import { csv, files, passRate, pipeline, table } from "../../src/index.ts"
import { failpoints, systemPorts } from "../../src/testing/index.ts"
import { digest, testBed, unbalanced, type Bed } from "./bed.ts"

/** So many that their keys are indexed on a connection of its own. */
const ROWS = 60_000

let bed: Bed
beforeEach(async () => {
  bed = await testBed()
})
afterEach(() => bed.end())

const things = pipeline({
  name: "things",
  source: files("*.csv", { format: csv() }),
  schema: z.object({ id: z.int(), what: z.string() }),
  sink: table("shop.things", { key: ["id"] }),
})

/** Rows 0 to `ROWS`, some of them broken, and `more`. */
const content = (more = ""): string =>
  `id,what\n${Array.from({ length: ROWS }, (_, i) => `${i % 1000 === 7 ? "seven" : i},x${i}\n`).join("")}${more}`
const GOOD = ROWS - 60

const keyOf = (): Promise<string> =>
  bed.value(
    `SELECT string_agg(conname || ' ' || pg_get_constraintdef(oid), ', ') FROM pg_constraint WHERE conrelid = 'shop.things'::regclass AND contype = 'p'`,
  )
const leftovers = (): Promise<string | null> =>
  bed.value(`SELECT string_agg(relname, ', ' ORDER BY relname) FROM pg_class WHERE relname ~ '^run_[0-9]'`)

test("many rows make a table with its key, and again change nothing", async () => {
  await bed.write("a.csv", content())
  expect(await bed.run(things)).toMatchObject({
    status: "completed",
    counts: { read: ROWS, inserted: GOOD, deadLettered: 60 },
  })
  expect(await keyOf()).toBe("things_pkey PRIMARY KEY (id)")
  const before = await digest(bed, "shop.things")
  await bed.write("b.csv", content())
  expect(await bed.run(things)).toMatchObject({ status: "completed", counts: { inserted: 0, unchanged: GOOD } })
  expect(await digest(bed, "shop.things")).toBe(before)
  expect(await leftovers()).toBeNull()
  expect(await unbalanced(bed, "things")).toEqual([])
})

test.each(["a new table", "a table that is there"])(
  "rows that share a key among many: the later one counts, in %s",
  async (which) => {
    if (which !== "a new table") {
      await bed.write("0.csv", "id,what\n1,old\n")
      await bed.run(things)
    }
    await bed.write("a.csv", content("3,last\n4,first\n4,last\n"))
    expect(await bed.run(things, { partitions: ["a.csv"] })).toMatchObject({
      status: "completed",
      counts: { read: ROWS + 3, duplicate: 3, deadLettered: 60 },
    })
    expect(await bed.rows(`SELECT id::int, what FROM shop.things WHERE id IN (1, 3, 4) ORDER BY id`)).toEqual([
      { id: 1, what: "x1" },
      { id: 3, what: "last" },
      { id: 4, what: "last" },
    ])
    expect(await bed.value(`SELECT count(*)::int FROM shop.things`)).toBe(GOOD)
    expect(await keyOf()).toBe("things_pkey PRIMARY KEY (id)")
    expect(await leftovers()).toBeNull()
    expect(await unbalanced(bed, "things")).toEqual([])
  },
)

test("a file that is held takes nothing of the others with it", async () => {
  await bed.write("a.csv", content())
  await bed.write("b.csv", "id,what\nnone,x\n1000001,y\n")
  const gated = pipeline({
    name: "things",
    source: files("*.csv", { format: csv() }),
    schema: z.object({ id: z.int(), what: z.string() }),
    checks: [passRate(0.9)],
    sink: table("shop.things", { key: ["id"] }),
  })
  expect(await bed.run(gated)).toMatchObject({
    status: "partial",
    partitions: { published: 1, held: 1 },
    counts: { inserted: GOOD },
  })
  expect(await bed.value(`SELECT count(*)::int FROM shop.things WHERE _source = 'a.csv'`)).toBe(GOOD)
  expect(await bed.value(`SELECT count(*)::int FROM shop.things`)).toBe(GOOD)
  expect(await keyOf()).toBe("things_pkey PRIMARY KEY (id)")
  expect(await leftovers()).toBeNull()
})

test("a publish of many rows that failed is done by the next run, with the index that is there", async () => {
  await bed.write("a.csv", content())
  const stop = (): never => {
    throw new Error("stopped by the test")
  }
  const first = await bed.run(things, {
    ports: { ...systemPorts, failpoints: failpoints({ "publish.rows-written": stop }) },
  })
  expect(first).toMatchObject({ status: "failed", error: { message: "stopped by the test" } })
  expect(await leftovers()).toMatch(/^run_\d+_\d+, run_\d+_\d+_key$/)
  expect(await bed.value(`SELECT count(*)::int FROM ops.dead_letters`)).toBe(0)
  expect(await bed.run(things)).toMatchObject({
    status: "completed",
    runId: first.runId,
    attempt: 2,
    counts: { read: ROWS, inserted: GOOD, deadLettered: 60 },
  })
  expect(await keyOf()).toBe("things_pkey PRIMARY KEY (id)")
  expect(await leftovers()).toBeNull()
})
