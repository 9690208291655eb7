import { afterEach, beforeEach, expect, it } from "vitest"
import { systemPorts } from "../../src/core/ports.ts"
import { SpillwayError } from "../../src/core/errors.ts"
import { model, stages, table } from "../../src/index.ts"
import { database } from "../../src/postgres/session.ts"
import type { WorkerEvent } from "../../src/scheduler/events.ts"
import { work } from "../../src/scheduler/worker.ts"
import { projectWorkload } from "../../src/scheduler/workload.ts"
import {
  modelBed,
  monthlyModel,
  monthlyOf,
  sale,
  salesPipeline,
  someSales,
  type ModelBed,
  type Sales,
} from "../models/engine-bed.ts"

let m: ModelBed
let sales: Sales
beforeEach(async () => {
  m = await modelBed()
  sales = someSales()
})
afterEach(() => m.end())

const STAGES = ["sales", "monthly", "per_product"]

const everySecond = () =>
  stages({
    name: "nightly",
    schedule: "* * * * * *",
    stages: [
      salesPipeline(() => sales),
      monthlyModel(),
      model({
        name: "per_product",
        from: "mart.monthly",
        sql: "SELECT product, sum(cents) AS cents FROM mart.monthly GROUP BY 1",
        sink: table("mart.per_product", { key: ["product"] }),
      }),
    ],
  })

const productsOf = (): string[] => {
  const sums = new Map<string, number>()
  for (const { product, cents } of Object.values(sales).flat()) sums.set(product, (sums.get(product) ?? 0) + cents)
  return [...sums].map(([product, cents]) => `${product} ${cents}`).sort()
}

interface TickRow {
  readonly status: string
  readonly run: string
  readonly correlation: string
  readonly began: Date
  readonly ended: Date
}

it("stages with a schedule are run by one of the workers at each tick, never two at a time, and see what changed since", async () => {
  const stop = new AbortController()
  const events: WorkerEvent[] = []
  const on = (event: WorkerEvent): void => {
    events.push(event)
    if (event.type === "worker.warning" || event.type === "tick.failed") stop.abort(new SpillwayError("CANCELLED", "x"))
    if (event.type !== "tick.done") return
    const done = events.filter(({ type }) => type === "tick.done").length
    if (done === 1) {
      sales["late"]?.pop()
      sales["more"] = [sale(9, "2011-02-03", "bun", 1), sale(10, "2011-04-30", "ale", 7)]
    }
    // The second one may have begun before the change.
    if (done === 3) stop.abort(new SpillwayError("CANCELLED", "enough"))
  }
  const worker = () =>
    work({
      workload: projectWorkload([everySecond()], {
        database: database(m.bed.url),
        directory: m.bed.directory,
        ports: systemPorts,
      }),
      database: database(m.bed.url),
      ports: systemPorts,
      concurrency: 2,
      schedules: true,
      signal: stop.signal,
      on,
    })
  const summaries = await Promise.all([worker(), worker()])
  expect(summaries.map(({ failed }) => failed)).toEqual([0, 0])
  expect(events.filter(({ type }) => type === "worker.warning" || type === "tick.failed")).toEqual([])

  expect(await m.lines("mart.monthly")).toEqual(monthlyOf(sales))
  expect(await m.lines("mart.per_product")).toEqual(productsOf())

  const ticks = await m.bed.rows<TickRow>(
    `SELECT t.status, t.run_id AS run, r.correlation_id AS correlation, t.started_at AS began, t.finished_at AS ended
     FROM ops.schedule_ticks t JOIN ops.runs r ON r.run_id = t.run_id AND r.status = 'completed' AND r.pipeline_name = 'nightly'
     WHERE t.pipeline_name = 'nightly' AND t.status = 'done' ORDER BY t.tick`,
  )
  expect(ticks).toHaveLength(3)
  expect(new Set(ticks.map(({ run }) => run)).size).toBe(3)
  for (const [n, { run, correlation, began, ended }] of ticks.entries()) {
    expect(correlation).toMatch(/^tick_\d{8}T\d{6}Z_/)
    const before = ticks[n - 1]?.ended
    expect(before === undefined || before <= began, `${before?.toISOString()} to ${began.toISOString()}`).toBe(true)
    expect(began <= ended).toBe(true)
    const rows = await m.bed.rows<{ text: string }>(
      `SELECT stage || ' ' || status AS text FROM ops.pipeline_checkpoint
       WHERE run_id = $1 AND checkpoint_key = '' AND stage <> 'run' ORDER BY start_time, id`,
      [run],
    )
    expect(rows.map(({ text }) => text)).toEqual(STAGES.map((stage) => `${stage} completed`))
    const inner = await m.bed.rows<{ name: string }>(
      `SELECT pipeline_name AS name FROM ops.runs WHERE correlation_id = $1 AND run_id <> $2 AND status = 'completed' ORDER BY run_no`,
      [correlation, run],
    )
    expect(inner.map(({ name }) => name)).toEqual(STAGES)
  }
  expect(await m.months("monthly")).toEqual({
    "2011-01": "completed",
    "2011-02": "completed",
    "2011-03": "completed",
    "2011-04": "completed",
  })
  expect(await m.bed.rows("SELECT FROM ops.leases WHERE holder IS NOT NULL")).toEqual([])
  expect(await m.bed.rows("SELECT FROM ops.runs WHERE status = 'running'")).toEqual([])
})
