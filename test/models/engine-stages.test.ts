import { afterEach, beforeEach, expect, test } from "vitest"
import { model, sql, stages, table, type Model, type ModelOptions, type RunReport } from "../../src/index.ts"
import {
  modelBed,
  monthlyModel,
  monthlyOf,
  salesPipeline,
  someSales,
  sale,
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

const perProduct = (options: Partial<ModelOptions> = {}): Model =>
  model({
    name: "per_product",
    from: "mart.monthly",
    sql: "SELECT product, sum(cents) AS cents FROM mart.monthly GROUP BY 1",
    sink: table("mart.per_product", { key: ["product"] }),
    ...options,
  })

const whole = (second: Model = perProduct(), name = "whole") =>
  stages({ name, stages: [source, monthlyModel(), second] })

const productsOf = (): string[] => {
  const sums = new Map<string, number>()
  for (const { product, cents } of Object.values(sales).flat()) sums.set(product, (sums.get(product) ?? 0) + cents)
  return [...sums].map(([product, cents]) => `${product} ${cents}`).sort()
}

const ended = ({ stages: done = [] }: RunReport): string[] => done.map(({ stage, status }) => `${stage} ${status}`)

interface StageRow {
  readonly stage: string
  readonly status: string
  readonly value: string | null
  readonly code: string | null
  readonly of: string | null
  readonly started: Date
  readonly ended: Date
  readonly ms: number
}

/** The rows of the stages themselves in `ops.pipeline_checkpoint`, in the order in which they began. */
const checkpoints = (runId: string): Promise<StageRow[]> =>
  m.bed.rows<StageRow>(
    `SELECT stage, status, checkpoint_value AS value, metadata->>'code' AS code, metadata->>'run_id' AS of,
            start_time AS started, end_time AS ended, duration_ms AS ms
     FROM ops.pipeline_checkpoint WHERE run_id = $1 AND checkpoint_key = '' AND stage <> 'run' ORDER BY start_time, id`,
    [runId],
  )

test("stages run in order, each with a checkpoint of its own; again, none has anything to do", async () => {
  const first = await m.run(whole())
  expect(first).toMatchObject({ status: "completed", attempt: 1, error: undefined, held: [] })
  expect(ended(first)).toEqual(["sales completed", "monthly completed", "per_product completed"])
  expect(await m.lines("mart.monthly")).toEqual(monthlyOf(sales))
  expect(await m.lines("mart.per_product")).toEqual(productsOf())
  expect(first.counts).toMatchObject({ read: 7 + 6 + 3, inserted: 7 + 6 + 3 })

  const rows = await checkpoints(first.runId)
  expect(rows.map(({ stage, status, value }) => `${stage} ${status} ${value}`)).toEqual([
    "sales completed completed",
    "monthly completed completed",
    "per_product completed completed",
  ])
  for (const [n, row] of rows.entries()) {
    expect(row.ms).toBeGreaterThanOrEqual(0)
    expect(row.ended.getTime()).toBeGreaterThanOrEqual(row.started.getTime())
    if (n > 0) expect(row.started.getTime()).toBeGreaterThanOrEqual(rows[n - 1]!.ended.getTime())
    // The run of the stage itself, whose partitions have checkpoints too.
    expect(row.of).toBe(first.stages?.[n]?.runId)
    expect(
      await m.bed.value("SELECT correlation_id FROM ops.runs WHERE run_id = $1 AND status = 'completed'", [row.of]),
    ).toBe(first.runId)
  }
  expect(
    await m.bed.value(
      "SELECT (metadata->'counts'->>'inserted')::int FROM ops.pipeline_checkpoint WHERE run_id = $1 AND stage = 'monthly'",
      [first.runId],
    ),
  ).toBe(6)

  const second = await m.run(whole())
  expect(second).toMatchObject({ status: "completed", attempt: 1, counts: { read: 0 } })
  expect(second.runId).not.toBe(first.runId)
  expect(ended(second)).toEqual(["sales completed", "monthly completed", "per_product completed"])
})

test("the row of a stage is there while it runs", async () => {
  const seen: string[] = []
  const { runId } = await m.run(whole(), {
    on: (event) => {
      if (event.type === "stage.started" || event.type === "stage.finished")
        seen.push(`${event.type} ${event.stage}${event.type === "stage.finished" ? ` ${event.status}` : ""}`)
    },
  })
  expect(seen).toEqual(
    ["sales", "monthly", "per_product"].flatMap((stage) => [
      `stage.started ${stage}`,
      `stage.finished ${stage} completed`,
    ]),
  )
  expect(await m.bed.value("SELECT count(*)::int FROM ops.pipeline_checkpoint WHERE status = 'in_progress'")).toBe(0)
  expect(
    await m.bed.value("SELECT status FROM ops.pipeline_checkpoint WHERE run_id = $1 AND stage = 'run'", [runId]),
  ).toBe("completed")
})

test("a stage that fails ends the run; the next one is its second attempt, continues there and redoes nothing", async () => {
  const rated = perProduct({
    sql: "SELECT product, sum(cents) * mart.rate(product) AS cents FROM mart.monthly GROUP BY 1",
  })
  const failed = await m.run(whole(rated))
  expect(failed).toMatchObject({ status: "failed", attempt: 1 })
  expect(failed.error?.message).toMatch(/per_product.*mart\.rate/)
  expect(ended(failed)).toEqual(["sales completed", "monthly completed", "per_product failed"])
  const rows = await checkpoints(failed.runId)
  expect(rows.map(({ stage, status }) => `${stage} ${status}`)).toEqual([
    "sales completed",
    "monthly completed",
    "per_product failed",
  ])
  expect([failed.error?.code, rows[2]?.code]).toEqual(["CONFIG", "CONFIG"])
  const runsOf = (name: string): Promise<number> =>
    m.bed.value("SELECT count(*)::int FROM ops.runs WHERE pipeline_name = $1", [name])
  const before = await m.tuples("mart.monthly")

  await m.bed.rows("CREATE FUNCTION mart.rate(text) RETURNS int LANGUAGE sql AS $$ SELECT 1 $$")
  const again = await m.run(whole(rated))
  expect(again).toMatchObject({ status: "completed", runId: failed.runId, attempt: 2 })
  expect(ended(again)).toEqual(["sales skipped", "monthly skipped", "per_product completed"])
  expect(await m.tuples("mart.monthly")).toEqual(before)
  expect([await runsOf("sales"), await runsOf("monthly")]).toEqual([1, 1])
  expect(await m.lines("mart.per_product")).toEqual(productsOf())
  const after = await checkpoints(failed.runId)
  expect(after.map(({ stage, status }) => `${stage} ${status}`)).toEqual([
    "sales completed",
    "monthly completed",
    "per_product completed",
  ])
  expect(after.slice(0, 2)).toEqual(rows.slice(0, 2))
})

test("a stage that holds a partition stops the ones behind it", async () => {
  const checked = monthlyModel({ checks: [sql("nothing below zero", "SELECT * FROM staged WHERE cents < 0")] })
  const of = stages({ name: "whole", stages: [source, checked, perProduct()] })
  const held = await m.run(of)
  expect(held).toMatchObject({ status: "partial", partitions: { held: 1 } })
  expect(held.held).toMatchObject([{ partition: "monthly/2011-03", code: "QUALITY_GATE" }])
  expect(ended(held)).toEqual(["sales completed", "monthly partial"])
  const rows = await checkpoints(held.runId)
  expect(rows.map(({ stage, status, code }) => `${stage} ${status} ${code}`)).toEqual([
    "sales completed null",
    "monthly failed QUALITY_GATE",
  ])
  // What the first stage loads was corrected meanwhile: it is not skipped.
  sales["late"]!.pop()
  sales["more"] = [sale(9, "2011-02-03", "bun", 1)]
  const again = await m.run(of)
  expect(again).toMatchObject({ status: "completed", runId: held.runId, attempt: 2 })
  expect(ended(again)).toEqual(["sales completed", "monthly completed", "per_product completed"])
  expect(await m.lines("mart.per_product")).toEqual(productsOf())
})

test("other stages under the name of a run that failed begin a run of their own", async () => {
  const broken = perProduct({
    sql: "SELECT product, 1 / (sum(cents) - sum(cents)) AS cents FROM mart.monthly GROUP BY 1",
  })
  const failed = await m.run(whole(broken))
  expect(failed.status).toBe("partial")
  const other = await m.run(whole(perProduct()))
  expect(other).toMatchObject({ status: "completed", attempt: 1 })
  expect(other.runId).not.toBe(failed.runId)
  expect(await m.bed.value("SELECT count(*)::int FROM ops.leases WHERE holder IS NOT NULL")).toBe(0)
  expect(await m.bed.value("SELECT count(*)::int FROM ops.runs WHERE status = 'running'")).toBe(0)
})

test("stopped in the middle, the run is cancelled and the next one continues", async () => {
  const stop = new AbortController()
  const stopped = await m.run(whole(), {
    signal: stop.signal,
    on: (event) => {
      if (event.type === "stage.started" && event.stage === "monthly") stop.abort()
    },
  })
  expect(stopped).toMatchObject({ status: "cancelled" })
  expect(ended(stopped)).toEqual(["sales completed", "monthly cancelled"])
  const again = await m.run(whole())
  expect(again).toMatchObject({ status: "completed", runId: stopped.runId, attempt: 2 })
  expect(ended(again)).toEqual(["sales skipped", "monthly completed", "per_product completed"])
  expect(await m.lines("mart.per_product")).toEqual(productsOf())
})
