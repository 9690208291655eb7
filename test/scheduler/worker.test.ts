import { afterEach, beforeEach, expect, it } from "vitest"
import { SpillwayError } from "../../src/core/errors.ts"
import { systemPorts } from "../../src/core/ports.ts"
import { runBackfill, type BackfillOptions, type BackfillReport } from "../../src/scheduler/backfill.ts"
import { carryOutPartition } from "../../src/scheduler/partition-job.ts"
import { enqueueBackfill } from "../../src/scheduler/fan-out.ts"
import { sweep } from "../../src/scheduler/sweep.ts"
import { concurrencyWithin, connectionsOf, nothingLeft, work } from "../../src/scheduler/worker.ts"
import type { Workload } from "../../src/scheduler/workload.ts"
import { barrier } from "../faults/waiting.ts"
import { fakeWorkload, schedulerBed, type Behaviour, type RunEnd, type SchedulerBed } from "./bed.ts"

let bed: SchedulerBed

beforeEach(async () => {
  bed = await schedulerBed()
})
afterEach(() => bed.end())

const KEYS = ["2011-01", "2011-02", "2011-03", "2011-04"]
const ITEMS = [{ name: "orders" }]
const workloadOf = (behave: Behaviour) => fakeWorkload(ITEMS, behave)
const missing = (keys: readonly string[]) => keys.map((key) => ({ key, reason: "missing" }))

async function backfill(workload: Workload, more: Partial<BackfillOptions> = {}): Promise<BackfillReport> {
  const report = await runBackfill({
    workload,
    database: bed.database,
    ports: systemPorts,
    pipeline: "orders",
    concurrency: 2,
    signal: new AbortController().signal,
    request: { selection: { start: "2011" }, choose: () => Promise.resolve({ chosen: missing(KEYS), skipped: 3 }) },
    ...more,
  })
  if (report === undefined) throw new Error("there was no backfill")
  return report
}

const failsOnce = (): Behaviour => {
  const seen = new Set<string>()
  return (key) => {
    if (key !== "2011-02" || seen.has(key)) return "built"
    seen.add(key)
    return new SpillwayError("NETWORK", "the share is away")
  }
}

it("builds every partition once, the first ones first, and one that failed again", async () => {
  const workload = workloadOf(failsOnce())
  const report = await backfill(workload, { concurrency: 1 })
  expect(report).toMatchObject({ total: 4, done: 4, failed: 0, skipped: 3, queued: 0, active: 0, continued: false })
  expect(workload.built).toEqual(["2011-01", "2011-03", "2011-04", "2011-02"])
  const rows = await bed.rows(
    `SELECT partition_key, status, attempts, error_code FROM ops.backfill_partitions ORDER BY ordinal`,
  )
  expect(rows.map((row) => Object.values(row).join(" "))).toEqual([
    "2011-01 done 1 ",
    "2011-02 done 2 ",
    "2011-03 done 1 ",
    "2011-04 done 1 ",
  ])
  expect(await bed.rows(`SELECT status FROM ops.backfills`)).toEqual([{ status: "completed" }])
})

it("says of what failed for good why, and does not try again what cannot be mended by that", async () => {
  let tries = 0
  const workload = workloadOf((key) => {
    if (key !== "2011-03") return "built"
    tries++
    return new SpillwayError("CONFIG", "the table lacks a column", { hint: "add it" })
  })
  const report = await backfill(workload)
  expect(report).toMatchObject({ done: 3, failed: 1 })
  expect(report.failures).toEqual([
    expect.objectContaining({
      key: "2011-03",
      attempts: 1,
      error: { code: "CONFIG", message: "the table lacks a column", hint: "add it" },
    }),
  ])
  expect(tries).toBe(1)
  expect(await bed.rows(`SELECT status FROM ops.backfills`)).toEqual([{ status: "partial" }])
  const [log] = await bed.rows<{ message: string }>(`SELECT message FROM ops.pipeline_logs WHERE level = 'ERROR'`)
  expect(log?.message).toBe("2011-03: failed after 1 attempts: CONFIG: the table lacks a column")
})

it("waits for a run that holds a partition, and looks again, without using up a try", async () => {
  let looks = 0
  const workload = workloadOf((key) =>
    key === "2011-01" && ++looks < 3 ? new SpillwayError("LEASE_HELD", "held") : "built",
  )
  const clock = {
    ...systemPorts.clock,
    sleep: (ms: number, signal?: AbortSignal) => systemPorts.clock.sleep(ms / 10, signal),
  }
  const report = await backfill(workload, { ports: { ...systemPorts, clock } })
  expect(report.done).toBe(4)
  expect(looks).toBe(3)
  const [row] = await bed.rows(`SELECT attempts FROM ops.backfill_partitions WHERE partition_key = '2011-01'`)
  expect(row).toEqual({ attempts: 1 })
})

it("gives back what it has in hand when it is stopped; the same again goes on with the rest", async () => {
  const stop = new AbortController()
  const gate = barrier()
  const first = workloadOf(async (key): Promise<RunEnd> => {
    if (key !== "2011-02") return "built"
    await gate.wait()
    return "built"
  })
  const stopped = backfill(first, { concurrency: 1, signal: stop.signal })
  await gate.reached
  stop.abort(new SpillwayError("CANCELLED", "stop"))
  gate.open()
  expect(await stopped).toMatchObject({ done: 1, failed: 0, queued: 3, active: 0 })
  // For other workers, who need not wait for the backfill to be continued.
  expect(await bed.rows(`SELECT count(*)::int AS n FROM ops_queue.job WHERE state = 'created'`)).toEqual([{ n: 3 }])
  const second = workloadOf(() => "built")
  const report = await backfill(second, {
    request: { selection: { start: "2011" }, choose: () => Promise.reject(new Error("nothing is to be chosen anew")) },
  })
  expect(report).toMatchObject({ done: 4, failed: 0, continued: true })
  expect([...first.built, ...second.built].sort()).toEqual(KEYS)
  expect(await bed.rows(`SELECT count(*)::int AS n FROM ops.backfills`)).toEqual([{ n: 1 }])
})

it("is taken up again without its range", async () => {
  const stop = new AbortController()
  stop.abort(new SpillwayError("CANCELLED", "stop"))
  const first = workloadOf(() => "built")
  expect(await backfill(first, { signal: stop.signal })).toMatchObject({ done: 0, queued: 4 })
  const second = workloadOf(() => "built")
  expect(await backfill(second, { request: undefined })).toMatchObject({ done: 4, continued: true })
  const none = await runBackfill({
    workload: second,
    database: bed.database,
    ports: systemPorts,
    pipeline: "orders",
    concurrency: 1,
    signal: new AbortController().signal,
    request: undefined,
  })
  expect(none).toBe(undefined)
})

it("builds once what two backfills want at the same time", async () => {
  const workload = workloadOf(() => "built")
  const other = {
    selection: { start: "2011-03" },
    choose: () => Promise.resolve({ chosen: missing(["2011-03", "2011-05"]), skipped: 0 }),
  }
  const reports = await Promise.all([backfill(workload), backfill(workload, { request: other })])
  expect(reports.map(({ done }) => done)).toEqual([4, 2])
  const twice = workload.built.filter((key, i) => workload.built.indexOf(key) !== i)
  // Only where one was over before the other began may a partition come up again; the run then finds it unchanged.
  expect(twice.filter((key) => key !== "2011-03")).toEqual([])
  expect(new Set(workload.built)).toEqual(new Set([...KEYS, "2011-05"]))
})

it("leaves to the queue what another backfill has in it", async () => {
  const workload = workloadOf(() => "built")
  const context = await bed.context(workload)
  try {
    const request = { pipeline: "orders", chosen: missing(["2011-01"]), skipped: 0 }
    await enqueueBackfill(context.ledger, context.queue, systemPorts, { ...request, selection: { start: "a" } })
    await enqueueBackfill(context.ledger, context.queue, systemPorts, { ...request, selection: { start: "b" } })
    const job = await context.queue.take("orders")
    if (job === undefined) throw new Error("there is no job")
    expect(await context.queue.take("orders")).toBe(undefined)
    expect(await carryOutPartition(context, job, "2011-01")).toBe("done")
    expect(await bed.rows(`SELECT status FROM ops.backfill_partitions`)).toEqual([
      { status: "done" },
      { status: "done" },
    ])
  } finally {
    await context.end()
  }
})

it("writes nothing down for a job that another worker has by now", async () => {
  const workload = workloadOf(() => "built")
  const context = await bed.context(workload)
  try {
    await enqueueBackfill(context.ledger, context.queue, systemPorts, {
      pipeline: "orders",
      chosen: missing(["2011-01"]),
      skipped: 0,
      selection: null,
    })
    const job = await context.queue.take("orders")
    if (job === undefined) throw new Error("there is no job")
    const older = { ...job, retryCount: job.retryCount + 1 }
    expect(await carryOutPartition(context, older, "2011-01")).toBe("lost")
    expect(await bed.rows(`SELECT status FROM ops.backfill_partitions`)).toEqual([{ status: "active" }])
  } finally {
    await context.end()
  }
})

it("queues again what vanished from the queue, and ends what pg-boss gave up", async () => {
  const workload = workloadOf(() => "built")
  const context = await bed.context(workload)
  try {
    await enqueueBackfill(context.ledger, context.queue, systemPorts, {
      pipeline: "orders",
      chosen: missing(["2011-01", "2011-02"]),
      skipped: 0,
      selection: null,
    })
    const job = await context.queue.take("orders")
    expect(job?.order).toEqual({ kind: "partition", key: "2011-01" })
    await bed.rows(`UPDATE ops_queue.job SET state = 'failed' WHERE singleton_key = 'partition:2011-01'`)
    await bed.rows(`DELETE FROM ops_queue.job WHERE singleton_key = 'partition:2011-02'`)
    await bed.rows(
      `UPDATE ops.backfill_partitions SET status = 'active', heartbeat_at = now() - interval '1 min' WHERE partition_key = '2011-01'`,
    )
    await bed.rows(
      `UPDATE ops.backfill_partitions SET queued_at = now() - interval '1 min' WHERE partition_key = '2011-02'`,
    )
    await sweep(context, ["orders"])
    expect(await bed.rows(`SELECT partition_key, status, error_code FROM ops.backfill_partitions ORDER BY 1`)).toEqual([
      { partition_key: "2011-01", status: "failed", error_code: "RETRY_EXHAUSTED" },
      { partition_key: "2011-02", status: "queued", error_code: null },
    ])
    const again = await context.queue.take("orders")
    expect(again?.order).toEqual({ kind: "partition", key: "2011-02" })
  } finally {
    await context.end()
  }
})

it("ends by itself when nothing is left, and takes only what its project has", async () => {
  const other = fakeWorkload([{ name: "other" }], () => "built")
  const context = await bed.context(other)
  await enqueueBackfill(context.ledger, context.queue, systemPorts, {
    pipeline: "other",
    chosen: missing(["2011-01"]),
    skipped: 0,
    selection: null,
  })
  await context.end()
  const workload = workloadOf(() => "built")
  const options = {
    database: bed.database,
    ports: systemPorts,
    concurrency: 1,
    schedules: true,
    signal: new AbortController().signal,
  }
  expect(await work({ ...options, workload, enough: nothingLeft(["orders"]) })).toMatchObject({ done: 0, failed: 0 })
  expect(await work({ ...options, workload: other, enough: nothingLeft(["other"]) })).toMatchObject({
    done: 1,
    failed: 0,
  })
  expect(other.built).toEqual(["2011-01"])
})

it("does not begin with a schedule that is not one", async () => {
  const schedule = { cron: "every night", timezone: "UTC", catchUp: "latest" as const }
  const workload = fakeWorkload([{ name: "orders", schedule }], () => "built")
  const options = {
    database: bed.database,
    ports: systemPorts,
    concurrency: 1,
    schedules: true,
    signal: new AbortController().signal,
  }
  await expect(work({ ...options, workload })).rejects.toMatchObject({ code: "CONFIG", where: "pipeline orders" })
})

it("knows how many connections it holds", () => {
  const workload = { connectionsPerRun: 4 }
  for (const n of [1, 2, 7]) expect(concurrencyWithin(workload, connectionsOf(workload, n))).toBe(n)
  for (const n of [1, 2, 7]) expect(concurrencyWithin(workload, connectionsOf(workload, n) - 1)).toBe(n - 1)
})
