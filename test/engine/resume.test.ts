import { afterEach, beforeEach, expect, test } from "vitest"
import { z } from "zod"
import { csv, files, pipeline, table, type PipelineOptions } from "../../src/index.ts"
import { failpoints, onThe, recordsSource, systemPorts } from "../../src/testing/index.ts"
import { testBed, unbalanced, type Bed } from "./bed.ts"

let bed: Bed
beforeEach(async () => {
  bed = await testBed()
})
afterEach(() => bed.end())

const BATCH = 100
const records = (count: number, from = 0) => Array.from({ length: count }, (_, i) => ({ id: from + i, amount: i }))
let partitions: Record<string, { id: number; amount: number }[]> = {}

const numbers = (extra: Partial<PipelineOptions> = {}) =>
  pipeline({
    name: "numbers",
    source: recordsSource(() => partitions, { batchSize: BATCH }),
    schema: z.object({ id: z.int(), amount: z.int() }),
    sink: table("shop.numbers", { key: ["id"] }),
    ...extra,
  })

/** Stops the run as Ctrl-C does, once the `nth` batch is staged. */
function stopAfter(nth: number) {
  const stop = new AbortController()
  const ports = { ...systemPorts, failpoints: failpoints({ "batch.staged": onThe(nth, () => stop.abort()) }) }
  return { ports, signal: stop.signal }
}

const readIn = (attempt: Bed): number => attempt.eventsOf("batch.staged").reduce((sum, event) => sum + event.read, 0)

test("a run that is stopped after a batch goes on there, as the next attempt of the same run", async () => {
  partitions = { a: records(250), b: records(1_000, 10_000), c: records(50, 20_000) }
  const first = await bed.run(numbers(), stopAfter(6))
  expect(first).toMatchObject({
    status: "cancelled",
    attempt: 1,
    error: { code: "CANCELLED", hint: expect.stringContaining("continues where it stopped") as string },
  })
  expect(await bed.rows(`SELECT status, attempt, error_code FROM ops.runs`)).toEqual([
    { status: "cancelled", attempt: 1, error_code: "CANCELLED" },
  ])
  expect(await bed.value(`SELECT count(*)::int FROM ops.leases WHERE holder IS NOT NULL`)).toBe(0)
  // The first partition was whole by then; of the second nothing is visible.
  expect(await bed.rows(`SELECT DISTINCT _source FROM shop.numbers`)).toEqual([{ _source: "a" }])
  const readBefore = readIn(bed)

  const second = await bed.run(numbers())
  expect(second).toMatchObject({ status: "completed", attempt: 2, runId: first.runId })
  expect(bed.eventsOf("run.started")).toMatchObject([{ resumed: true }])
  expect(bed.eventsOf("partition.started")[0]).toMatchObject({ partition: "b", reason: "resumed" })
  expect(readIn(bed)).toBeGreaterThanOrEqual(1_300 - readBefore)
  expect(readIn(bed)).toBeLessThanOrEqual(1_300 - readBefore + BATCH)
  expect(second.counts).toMatchObject({ read: 1_300, inserted: 1_300, duplicate: 0, updated: 0 })
  expect(await bed.value(`SELECT count(*)::int FROM shop.numbers`)).toBe(1_300)
  expect(await bed.value(`SELECT count(DISTINCT _run_id)::int FROM shop.numbers`)).toBe(1)
  expect(await bed.rows(`SELECT status, attempt, error_code, published FROM ops.runs`)).toEqual([
    { status: "completed", attempt: 2, error_code: null, published: 3 },
  ])
  expect(await unbalanced(bed, "numbers")).toEqual([])
  expect(await bed.value(`SELECT count(*)::int FROM ops_staging.progress`)).toBe(0)
})

test("stopped again and again it still loads each record once, in the order of an undisturbed run", async () => {
  partitions = { a: records(500), b: records(300, 10_000) }
  let report = await bed.run(numbers(), stopAfter(1))
  const { runId } = report
  for (let n = 2; n <= 20 && report.status === "cancelled"; n++) report = await bed.run(numbers(), stopAfter(1))
  expect(report).toMatchObject({ status: "completed", runId })
  expect(report.attempt).toBeGreaterThan(4)
  expect(report.counts).toMatchObject({ read: 800, inserted: 800 })
  expect(
    await bed.value(
      `SELECT bool_and(ordered) FROM (SELECT id > lag(id, 1, -1) OVER (ORDER BY _seq) AS ordered FROM shop.numbers) o`,
    ),
  ).toBe(true)
})

test.each(["a.csv", "a.csv.gz"])("%s goes on at the line after the last batch, letters included", async (name) => {
  const { gzipSync } = await import("node:zlib")
  // Above the size of a batch of the format, so that there are several.
  const text = `id,amount\n${Array.from({ length: 300_000 }, (_, i) => (i % 50_000 === 7 ? `${i},bad\n` : `${i},${i}\n`)).join("")}`
  await bed.write(name, name.endsWith(".gz") ? gzipSync(text) : text)
  const lines = numbers({ source: files("a.csv*", { format: csv() }) })
  const first = await bed.run(lines, stopAfter(1))
  expect(first.status).toBe("cancelled")
  const readBefore = readIn(bed)
  expect(readBefore).toBeLessThan(300_000)
  const second = await bed.run(lines)
  expect(second).toMatchObject({ status: "completed", attempt: 2 })
  expect(second.counts).toMatchObject({ read: 300_000, inserted: 299_994, deadLettered: 6 })
  expect(readIn(bed)).toBeLessThan(300_000)
  expect(await bed.value(`SELECT bool_and(_position = id + 2) FROM shop.numbers`)).toBe(true)
  expect(await bed.rows(`SELECT (source->>'line')::int AS line FROM ops.dead_letters ORDER BY 1`)).toEqual(
    [0, 1, 2, 3, 4, 5].map((n) => ({ line: n * 50_000 + 9 })),
  )
})

test("when the definition has changed, a new run begins and what was staged is dropped", async () => {
  partitions = { a: records(300) }
  const first = await bed.run(numbers(), stopAfter(1))
  const staged = (): Promise<string[]> =>
    bed
      .rows<{ relname: string }>(
        `SELECT relname FROM pg_class WHERE relnamespace = 'ops_staging'::regnamespace AND relname ~ '^run_'`,
      )
      .then((rows) => rows.map((row) => row.relname))
  expect(await staged()).toHaveLength(1)
  const changed = numbers({ transform: (record) => ({ ...record, amount: -(record["amount"] as number) }) })
  const second = await bed.run(changed)
  expect(second).toMatchObject({ status: "completed", attempt: 1, counts: { read: 300, inserted: 300 } })
  expect(second.runId).not.toBe(first.runId)
  expect(await bed.value(`SELECT min(amount)::int FROM shop.numbers`)).toBe(-299)
  expect(await staged()).toEqual([])
  expect(await bed.value(`SELECT count(*)::int FROM ops_staging.progress`)).toBe(0)
  expect(
    await bed.rows(`SELECT status, definition_version <> $1 AS other FROM ops.runs ORDER BY run_no`, [
      await bed.value(`SELECT definition_version FROM ops.runs WHERE run_id = $1`, [first.runId]),
    ]),
  ).toEqual([
    { status: "cancelled", other: false },
    { status: "completed", other: true },
  ])
})

test("a partition that changed meanwhile is staged anew in the resumed run", async () => {
  partitions = { a: records(300) }
  await bed.run(numbers(), stopAfter(1))
  partitions = { a: records(150, 5_000) }
  const second = await bed.run(numbers())
  expect(second).toMatchObject({ status: "completed", attempt: 2, counts: { read: 150, inserted: 150 } })
  expect(await bed.rows(`SELECT min(id)::int, count(*)::int FROM shop.numbers`)).toEqual([{ min: 5_000, count: 150 }])
})

test("a full read that is stopped goes on with what it has not read, and an ordinary run does not take it up", async () => {
  partitions = { a: records(100), b: records(100, 1_000), c: records(300, 2_000) }
  await bed.run(numbers())
  const stopped = await bed.run(numbers(), { ...stopAfter(4), full: true })
  expect(stopped.status).toBe("cancelled")
  const resumed = await bed.run(numbers(), { full: true })
  expect(resumed).toMatchObject({
    status: "completed",
    runId: stopped.runId,
    attempt: 2,
    counts: { read: 500, unchanged: 500 },
  })
  expect(readIn(bed)).toBeLessThanOrEqual(300)
  const stoppedAgain = await bed.run(numbers(), { ...stopAfter(1), full: true })
  const ordinary = await bed.run(numbers())
  expect(ordinary.runId).not.toBe(stoppedAgain.runId)
  expect(ordinary.counts.read).toBe(0)
})
