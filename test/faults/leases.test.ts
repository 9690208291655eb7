import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { hostname, tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest"
import type { RunEvent } from "../../src/core/events.ts"
import type { FailpointName } from "../../src/core/ports.ts"
import type { TableMode } from "../../src/engine/definition.ts"
import { runPipeline, type RunOptions } from "../../src/engine/run.ts"
import {
  failpoints,
  onThe,
  systemPorts,
  throwAwayDatabase,
  type FailpointAction,
  type ThrowAwayDatabase,
} from "../../src/testing/index.ts"
import { testDatabaseUrl } from "../postgres/server.ts"
import { Child, endChildren } from "./child.ts"
import { expectLoaded, onceEach, publishedTimes, query, recordsEach, stagedRecords, tupleDigest } from "./loaded.ts"
import { ordersOf, ordersPipeline, type Orders, type OrdersPipeline } from "./orders.ts"
import { barrier, until } from "./waiting.ts"

let database: ThrowAwayDatabase
let folder: string
let file: string
let names = 0
let name: string

beforeAll(async () => {
  database = await throwAwayDatabase({ url: await testDatabaseUrl() })
  folder = await mkdtemp(join(tmpdir(), "spillway-leases-"))
})
afterAll(async () => {
  await database.drop()
  await rm(folder, { recursive: true, force: true })
})
beforeEach(() => {
  name = `orders_${++names}`
  file = join(folder, `${name}.json`)
})
afterEach(endChildren)

const give = (orders: Orders): Promise<void> => writeFile(file, JSON.stringify(orders))
const declared = (more: Partial<OrdersPipeline> = {}): OrdersPipeline => ({
  name,
  mode: "append",
  orders: { file },
  ...more,
})
const inProcess = (
  declaration: OrdersPipeline,
  actions: Partial<Record<FailpointName, FailpointAction>> = {},
  options: Partial<RunOptions> = {},
) =>
  runPipeline(ordersPipeline(declaration), {
    database,
    ports: { ...systemPorts, failpoints: failpoints(actions) },
    ...options,
  })
const rows = <Row>(sql: string): Promise<Row[]> => query<Row>(database.url, sql, [name])

describe("two runs of one pipeline at once", () => {
  test("in two processes: the second says who holds what since when, and does nothing", async () => {
    const orders = ordersOf(1, 3, 50)
    await give(orders)
    const child = new Child({
      url: database.url,
      pipeline: declared(),
      at: { failpoint: "batch.staged", nth: 2, then: "stop" },
    })
    await child.stopped()
    const [lease] = await rows<{ run_id: string; acquired_at: Date }>(
      `SELECT run_id, acquired_at FROM ops.leases WHERE pipeline_name = $1 ORDER BY partition_key LIMIT 1`,
    )
    const events: RunEvent[] = []
    await expect(inProcess(declared(), {}, { on: (event) => events.push(event) })).rejects.toMatchObject({
      code: "LEASE_HELD",
      class: "terminal",
      message: `nothing left to do: run ${lease?.run_id} (process ${child.pid} on ${hostname()}) since ${lease?.acquired_at.toISOString()} holds 3 partitions (p01 …) of pipeline "${name}"`,
      hint: expect.stringContaining("--wait") as string,
    })
    expect(events).toEqual([])
    child.signal("SIGCONT")
    expect((await child.ended()).report).toMatchObject({ status: "completed", attempt: 1 })
    await expectLoaded(database.url, name, "append", orders)
    expect(publishedTimes(child.events)).toEqual(onceEach(orders))
    expect(stagedRecords(child.events)).toEqual(recordsEach(orders))
    expect(await rows(`SELECT status FROM ops.runs WHERE pipeline_name = $1`)).toEqual([{ status: "completed" }])
  })

  test("in two processes, with wait: the second begins when the first has ended, and finds nothing left", async () => {
    const orders = ordersOf(2, 3, 50)
    await give(orders)
    const first = new Child({
      url: database.url,
      pipeline: declared({ mode: "upsert" }),
      at: { failpoint: "publish.rows-written", nth: 1, then: "stop" },
    })
    await first.stopped()
    const second = new Child({ url: database.url, pipeline: declared({ mode: "upsert" }), wait: true })
    // It has looked: its connection is there, and idle after a statement that found the leases taken.
    await until("the second waits", async () => {
      const found = await query(
        database.url,
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'spillway/%' AND state = 'idle'
           AND application_name NOT IN (SELECT 'spillway/' || holder FROM ops.leases WHERE holder IS NOT NULL)`,
      )
      return found.length === 1
    })
    first.signal("SIGCONT")
    const [one, two] = [await first.ended(), await second.ended()]
    expect(one.report?.status).toBe("completed")
    expect(two.report?.status).toBe("completed")
    await expectLoaded(database.url, name, "upsert", orders)
    expect(publishedTimes([...first.events, ...second.events])).toEqual(onceEach(orders))
    expect(stagedRecords([...first.events, ...second.events])).toEqual(recordsEach(orders))
  })

  test.each<TableMode>(["append", "upsert"])("the second takes what came after the first's plan (%s)", async (mode) => {
    const early = ordersOf(3, 3, 50)
    const late = ordersOf(3, 2, 50, 4)
    await give(early)
    const first = new Child({
      url: database.url,
      pipeline: declared({ mode }),
      at: { failpoint: "publish.begun", nth: 1, then: "stop" },
    })
    await first.stopped()
    await give({ ...early, ...late })
    const events: RunEvent[] = []
    const report = await inProcess(declared({ mode }), {}, { on: (event) => events.push(event) })
    expect(report).toMatchObject({ status: "completed", partitions: { total: 5, chosen: 2, published: 2, held: 0 } })
    expect(report.warnings).toMatchObject([{ code: "LEASE_HELD" }])
    expect(publishedTimes(events)).toEqual(onceEach(late))
    first.signal("SIGCONT")
    expect((await first.ended()).report).toMatchObject({ status: "completed", partitions: { published: 3 } })
    const both = [...first.events, ...events]
    expect(publishedTimes(both)).toEqual(onceEach({ ...early, ...late }))
    expect(stagedRecords(both)).toEqual(recordsEach({ ...early, ...late }))
    await expectLoaded(database.url, name, mode, { ...early, ...late })
    const runs = await rows<{ status: string; published: number }>(
      `SELECT status, published FROM ops.runs WHERE pipeline_name = $1 ORDER BY published`,
    )
    expect(runs).toEqual([
      { status: "completed", published: 2 },
      { status: "completed", published: 3 },
    ])
  })

  test("many in one process, started at the same moment", async () => {
    const orders = ordersOf(4, 6, 40)
    await give(orders)
    const events: RunEvent[] = []
    const outcomes = await Promise.allSettled(
      Array.from({ length: 5 }, () => inProcess(declared(), {}, { on: (event) => events.push(event) })),
    )
    expect(publishedTimes(events)).toEqual(onceEach(orders))
    expect(stagedRecords(events)).toEqual(recordsEach(orders))
    await expectLoaded(database.url, name, "append", orders)
    for (const outcome of outcomes)
      if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "LEASE_HELD" })
    expect(outcomes.some(({ status }) => status === "fulfilled")).toBe(true)
  })

  test("many in one process with wait: all end well, each partition is done once", async () => {
    const orders = ordersOf(5, 6, 40)
    await give(orders)
    const events: RunEvent[] = []
    const on = (event: RunEvent): number => events.push(event)
    const reports = await Promise.all(Array.from({ length: 4 }, () => inProcess(declared(), {}, { wait: true, on })))
    expect(reports.map(({ status }) => status)).toEqual(Array.from({ length: 4 }, () => "completed"))
    expect(publishedTimes(events)).toEqual(onceEach(orders))
    expect(stagedRecords(events)).toEqual(recordsEach(orders))
    await expectLoaded(database.url, name, "append", orders)
  })
})

/** The leases that somebody holds have run out, by the database's clock. */
const leasesRunOut = (): Promise<void> =>
  until("the leases have run out", async () => {
    const [found] = await rows<{ out: boolean }>(
      `SELECT coalesce(bool_and(expires_at <= clock_timestamp()), false) AS out FROM ops.leases WHERE pipeline_name = $1 AND holder IS NOT NULL`,
    )
    return found?.out ?? false
  })

describe("a run that was stopped past its lease, and continued after another took over", () => {
  const places: { failpoint: FailpointName; nth: number; mode: TableMode; before: boolean }[] = [
    { failpoint: "staging.created", nth: 1, mode: "append", before: false },
    { failpoint: "batch.staged", nth: 2, mode: "append", before: false },
    { failpoint: "batch.staged", nth: 5, mode: "upsert", before: true },
    { failpoint: "gate.judged", nth: 1, mode: "append", before: true },
    { failpoint: "publish.begun", nth: 1, mode: "upsert", before: true },
    { failpoint: "publish.rows-written", nth: 1, mode: "append", before: false },
    { failpoint: "publish.rows-written", nth: 2, mode: "upsert", before: true },
    { failpoint: "publish.before-commit", nth: 1, mode: "append", before: true },
    { failpoint: "publish.before-commit", nth: 2, mode: "upsert", before: false },
  ]
  test.each(places)(
    "at $failpoint ($nth, $mode, table there before: $before): writes nothing and says LEASE_LOST",
    async ({ failpoint, nth, mode, before }) => {
      const earlier = before ? ordersOf(6, 1, 30) : {}
      const orders = { ...earlier, ...ordersOf(6, 3, 50, 2) }
      await give(earlier)
      if (before) await inProcess(declared({ mode }))
      await give(orders)
      const declaration = declared({ mode, leaseMs: 700 })
      const child = new Child({ url: database.url, pipeline: declaration, at: { failpoint, nth, then: "stop" } })
      await child.stopped()
      await leasesRunOut()
      const events: RunEvent[] = []
      const report = await inProcess(declared({ mode }), {}, { on: (event) => events.push(event) })
      expect(report).toMatchObject({ status: "completed", attempt: 2 })
      await expectLoaded(database.url, name, mode, orders)
      const state = async (): Promise<unknown> => [
        await tupleDigest(database.url, name),
        await rows(`SELECT ctid, xmin, r.* FROM ops.runs r WHERE pipeline_name = $1 ORDER BY run_no`),
        await rows(`SELECT ctid, xmin, * FROM ops.source_positions WHERE pipeline_name = $1 ORDER BY 3, 4`),
        await rows(`SELECT ctid, xmin, * FROM ops.processed_partitions WHERE pipeline_name = $1 ORDER BY 3, 4`),
        await rows(`SELECT ctid, xmin, * FROM ops.dead_letters WHERE pipeline_name = $1 ORDER BY id`),
        await rows(
          `SELECT stage, checkpoint_key, status FROM ops.pipeline_checkpoint WHERE pipeline_name = $1 ORDER BY 1, 2`,
        ),
      ]
      const untouched = await state()
      child.signal("SIGCONT")
      const { report: late } = await child.ended()
      expect(late).toMatchObject({ status: "failed", error: { code: "LEASE_LOST" } })
      expect(late?.error?.message).toMatch(/took over/)
      expect(late?.error?.hint).toContain("spillway status")
      expect(await state()).toEqual(untouched)
      await expectLoaded(database.url, name, mode, orders)
      const fresh = Object.keys(orders).filter((key) => !(key in earlier))
      expect(publishedTimes([...child.events, ...events])).toEqual(Object.fromEntries(fresh.map((key) => [key, 1])))
    },
  )
})

describe("heartbeat", () => {
  test.each<FailpointName>(["batch.staged", "publish.begun", "publish.rows-written"])(
    "a run that stays at %s for four lease times keeps its leases",
    async (failpoint) => {
      const orders = ordersOf(7, 2, 50)
      await give(orders)
      const leaseMs = 600
      const gate = barrier()
      const running = inProcess(declared({ leaseMs }), { [failpoint]: onThe(1, gate.wait) })
      await gate.reached
      const age = async (): Promise<number> =>
        Number(
          (
            await rows<{ ms: string }>(
              `SELECT max(extract(epoch FROM clock_timestamp() - acquired_at) * 1000) AS ms FROM ops.leases WHERE pipeline_name = $1 AND holder IS NOT NULL`,
            )
          )[0]?.ms,
        )
      let tries = 0
      while ((await age()) < 4 * leaseMs) {
        await expect(inProcess(declared({ leaseMs }))).rejects.toMatchObject({ code: "LEASE_HELD" })
        tries++
      }
      expect(tries).toBeGreaterThan(4)
      gate.open()
      expect(await running).toMatchObject({ status: "completed", attempt: 1 })
      await expectLoaded(database.url, name, "append", orders)
    },
  )

  test("a run that has given back its leases and lingers is not told that they are lost", async () => {
    const orders = ordersOf(8, 2, 30)
    await give(orders)
    const gate = barrier()
    const running = inProcess(declared({ leaseMs: 150 }), { "publish.committed": onThe(2, gate.wait) })
    await gate.reached
    // The heartbeat goes by now, and whatever else is on the run's connections is cut: what follows has to try again.
    const [before] = await rows<{ now: Date }>(`SELECT clock_timestamp() AS now WHERE $1::text IS NOT NULL`)
    await until("heartbeats have gone by", async () => {
      const [now] = await rows<{ later: boolean }>(
        `SELECT clock_timestamp() > '${before?.now.toISOString()}'::timestamptz + interval '400 ms' AS later WHERE $1::text IS NOT NULL`,
      )
      return now?.later ?? false
    })
    await query(
      database.url,
      `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name LIKE 'spillway/%' AND datname = current_database()`,
    )
    gate.open()
    expect(await running).toMatchObject({ status: "completed", error: undefined })
    expect(await rows(`SELECT status FROM ops.runs WHERE pipeline_name = $1`)).toEqual([{ status: "completed" }])
    await expectLoaded(database.url, name, "append", orders)
  })
})

describe("taking over", () => {
  test("is immediate when the holder's process on this machine is dead", async () => {
    const orders = ordersOf(9, 3, 50)
    await give(orders)
    const child = new Child({
      url: database.url,
      pipeline: declared({ leaseMs: 3_600_000 }),
      at: { failpoint: "batch.staged", nth: 4, then: "wait" },
    })
    await child.reached()
    await child.killed()
    await connectionsGone()
    const events: RunEvent[] = []
    const report = await inProcess(declared(), {}, { on: (event) => events.push(event) })
    expect(report).toMatchObject({ status: "completed", attempt: 2 })
    expect(publishedTimes([...child.events, ...events])).toEqual(onceEach(orders))
    await expectLoaded(database.url, name, "append", orders)
  })

  test("waits for the end of the lease when the holder is out of touch and on another machine", async () => {
    const orders = ordersOf(10, 2, 50)
    await give(orders)
    const child = new Child({
      url: database.url,
      pipeline: declared({ leaseMs: 3_600_000 }),
      at: { failpoint: "batch.staged", nth: 2, then: "wait" },
    })
    await child.reached()
    await child.killed()
    await connectionsGone()
    await rows(`UPDATE ops.leases SET host = 'elsewhere.example' WHERE pipeline_name = $1`)
    const waits: number[] = []
    const clock = {
      ...systemPorts.clock,
      // The lease runs out while the taker waits for the second time.
      sleep: async (ms: number, signal?: AbortSignal): Promise<void> => {
        waits.push(ms)
        expect(await rows(`SELECT FROM ops.runs WHERE pipeline_name = $1 AND attempt > 1`)).toEqual([])
        if (waits.length === 2)
          await rows(`UPDATE ops.leases SET expires_at = clock_timestamp() WHERE pipeline_name = $1`)
        await systemPorts.clock.sleep(Math.min(ms, 20), signal)
      },
    }
    const report = await inProcess(declared(), {}, { ports: { ...systemPorts, clock } })
    expect(report).toMatchObject({ status: "completed", attempt: 2 })
    expect(waits.slice(0, 2)).toEqual([1_000, 1_000])
    await expectLoaded(database.url, name, "append", orders)
  })

  test("does not happen while the holder is connected and in time, wherever it is", async () => {
    const orders = ordersOf(11, 2, 50)
    await give(orders)
    const child = new Child({
      url: database.url,
      pipeline: declared(),
      at: { failpoint: "batch.staged", nth: 2, then: "stop" },
    })
    await child.stopped()
    await rows(`UPDATE ops.leases SET host = 'elsewhere.example' WHERE pipeline_name = $1`)
    await expect(inProcess(declared())).rejects.toMatchObject({
      code: "LEASE_HELD",
      message: expect.stringContaining("on elsewhere.example") as string,
    })
    child.signal("SIGCONT")
    expect((await child.ended()).report?.status).toBe("completed")
    await expectLoaded(database.url, name, "append", orders)
  })

  /** The server notices a killed client by its closed socket, a moment later. */
  const connectionsGone = (): Promise<void> =>
    until("the holder's connections are gone", async () => {
      const found = await rows(
        `SELECT FROM pg_stat_activity WHERE application_name IN (SELECT 'spillway/' || holder FROM ops.leases WHERE pipeline_name = $1)`,
      )
      return found.length === 0
    })
})
