import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { SpillwayError } from "../../src/core/errors.ts"
import { systemClock } from "../../src/core/clock.ts"
import { migrations } from "../../src/ledger/migrations/index.ts"
import { readLogs } from "../../src/ledger/logs.ts"
import { recordRun } from "../../src/observability/recorder.ts"
import { migrate } from "../../src/postgres/migrate.ts"
import { database, type Database, type Session } from "../../src/postgres/session.ts"
import { manualClock } from "../../src/testing/clock.ts"
import { freshDatabase, type FreshDatabase } from "../postgres/server.ts"
import { event, finished, held, partitionStarted, planned, published, staged, START, started } from "./events.ts"

let fresh: FreshDatabase
let session: Session
let target: Database

beforeAll(async () => {
  fresh = await freshDatabase()
  target = database(fresh.url)
  session = await target.connect()
  await migrate(session, migrations)
})

afterAll(async () => {
  await session.end()
  await fresh.drop()
})

beforeEach(() =>
  session.query("TRUNCATE ops.pipeline_logs, ops.pipeline_checkpoint, ops.metrics, ops.runs, ops.processed_partitions"),
)

const wholeRun = [
  started(),
  planned(2),
  partitionStarted("a", 10),
  staged("a", 3, 20),
  event({ type: "partition.staged", partition: "a", read: 3, durationMs: 40 }, 45),
  published("a", { read: 3, inserted: 3 }, 50),
  partitionStarted("b", 60),
  held("b", "bad\0bytes", 70),
  finished("partial", { read: 3, inserted: 3 }, { held: 1, durationMs: 100, nulls: { x: 1 } }),
]

const checkpoints = async (): Promise<unknown[]> =>
  (
    await session.query(
      "SELECT stage, checkpoint_key, status, duration_ms FROM ops.pipeline_checkpoint ORDER BY stage, checkpoint_key",
    )
  ).rows

describe("recordRun", () => {
  it("has every row in the database when the run has ended", async () => {
    const recorder = recordRun(target, { clock: systemClock }, { correlationId: "c1", table: "t.orders" })
    for (const one of wholeRun) recorder.on(one)
    expect(await recorder.flush()).toBe(0)
    expect(await checkpoints()).toEqual([
      { stage: "partition", checkpoint_key: "a", status: "completed", duration_ms: 40 },
      { stage: "partition", checkpoint_key: "b", status: "failed", duration_ms: 10 },
      { stage: "run", checkpoint_key: "", status: "completed", duration_ms: 100 },
      { stage: "stage", checkpoint_key: "", status: "completed", duration_ms: 40 },
    ])
    const lines = await readLogs(session, { limit: 100 })
    expect(lines.map(({ level, time, runId, correlationId }) => [level, time - START, runId, correlationId])).toEqual([
      ["INFO", 0, "run_1", "c1"],
      ["INFO", 0, "run_1", "c1"],
      ["ERROR", 70, "run_1", "c1"],
      ["WARNING", 100, "run_1", "c1"],
    ])
    expect(lines[2]?.message).toContain("bad␀bytes")
    const { rows } = await session.query(
      "SELECT metric_value, dims FROM ops.metrics WHERE metric_name = 'dq.t.orders.null_ratio'",
    )
    expect(rows).toEqual([{ metric_value: 1 / 3, dims: { table: "t.orders", column: "x" } }])
  })

  it("writes in the background while the run goes on", async () => {
    const clock = manualClock(START)
    const written = Promise.withResolvers<void>()
    const watched: Database = {
      url: target.url,
      connect: async (options) => {
        const real = await target.connect(options)
        const transaction = real.transaction.bind(real)
        real.transaction = async (body) => {
          const result = await transaction(body)
          written.resolve()
          return result
        }
        return real
      },
    }
    const recorder = recordRun(watched, { clock })
    recorder.on(started())
    clock.advance(250)
    await written.promise
    expect(await checkpoints()).toEqual([
      { stage: "run", checkpoint_key: "", status: "in_progress", duration_ms: null },
    ])
    await recorder.flush()
  })

  it("replaces the rows of an attempt that another one continues, its metrics too", async () => {
    const first = recordRun(target, { clock: systemClock })
    for (const one of [started(), partitionStarted("a"), finished("cancelled", {}, { durationMs: 20 })]) first.on(one)
    await first.flush()
    expect((await checkpoints()).map((row) => (row as { status: string }).status)).toEqual([
      "pending",
      "pending",
      "pending",
    ])
    const second = recordRun(target, { clock: systemClock })
    const end = { ...finished("completed", { read: 1, inserted: 1 }, { durationMs: 40 }), attempt: 2 }
    for (const one of [started(30, 2), partitionStarted("a", 30), published("a", { read: 1, inserted: 1 }, 40), end])
      second.on(one)
    await second.flush()
    expect((await checkpoints()).map((row) => (row as { status: string }).status)).toEqual([
      "completed",
      "completed",
      "completed",
    ])
    const { rows } = await session.query(
      "SELECT metric_value FROM ops.metrics WHERE metric_name = 'pipeline.extract.rows_read'",
    )
    expect(rows).toEqual([{ metric_value: 1 }])
  })

  it("closes what a killed attempt left open, as the ledger says", async () => {
    await session.query(
      "INSERT INTO ops.runs (run_id, pipeline_name, status, definition_version) VALUES ('run_0', 'orders', 'cancelled', 'v'), ('run_1', 'orders', 'running', 'v')",
    )
    await session.query(
      `INSERT INTO ops.processed_partitions (pipeline_name, partition_key, status, definition_version, run_id, processed_at)
       VALUES ('orders', 'done', 'completed', 'v', 'run_0', to_timestamp($1 / 1000.0))`,
      [START + 5_000],
    )
    const killed = recordRun(target, { clock: systemClock })
    for (const one of [started(), partitionStarted("done"), partitionStarted("open")])
      killed.on({ ...one, runId: "run_0" })
    await killed.flush()
    const next = recordRun(target, { clock: systemClock })
    for (const one of [started(), finished("completed", {})]) next.on(one)
    await next.flush()
    const { rows } = await session.query(
      "SELECT checkpoint_key, status, duration_ms FROM ops.pipeline_checkpoint WHERE run_id = 'run_0' AND stage = 'partition' ORDER BY 1",
    )
    expect(rows).toEqual([
      { checkpoint_key: "done", status: "completed", duration_ms: 5_000 },
      { checkpoint_key: "open", status: "pending", duration_ms: null },
    ])
    const { rows: left } = await session.query("SELECT 1 FROM ops.pipeline_checkpoint WHERE status = 'in_progress'")
    expect(left).toEqual([])
  })

  it("neither fails the run nor waits for ever when the database is away, and says what was lost", async () => {
    const clock = manualClock(START)
    let attempts = 0
    const away: Database = {
      url: "",
      connect: () => {
        attempts++
        return Promise.reject(new SpillwayError("DB_UNAVAILABLE", "away"))
      },
    }
    const recorder = recordRun(away, { clock })
    for (const one of wholeRun) recorder.on(one)
    let lost: number | undefined
    const flushed = recorder.flush().then((n) => (lost = n))
    for (let i = 0; i < 40 && lost === undefined; i++) {
      await new Promise((resolve) => setImmediate(resolve))
      clock.advance(500)
    }
    await flushed
    expect(lost).toBeGreaterThan(0)
    expect(attempts).toBeGreaterThan(3)
  })

  it("leaves no connection behind that comes after the end", async () => {
    const clock = manualClock(START)
    const late = Promise.withResolvers<void>()
    let destroyed = false
    const slow: Database = {
      url: target.url,
      connect: async (options) => {
        await late.promise
        const real = await target.connect(options)
        const destroy = real.destroy.bind(real)
        real.destroy = () => {
          destroyed = true
          destroy()
        }
        return real
      },
    }
    const recorder = recordRun(slow, { clock })
    recorder.on(started())
    const flushed = recorder.flush()
    clock.advance(10_000)
    expect(await flushed).toBe(2)
    late.resolve()
    await expect.poll(() => destroyed).toBe(true)
  })

  it("keeps what it could not write until the database is back", async () => {
    let away = true
    const flaky: Database = {
      url: target.url,
      connect: (options) =>
        away ? Promise.reject(new SpillwayError("DB_UNAVAILABLE", "away")) : target.connect(options),
    }
    const clock = manualClock(START)
    const recorder = recordRun(flaky, { clock })
    recorder.on(started())
    clock.advance(250)
    await new Promise((resolve) => setImmediate(resolve))
    away = false
    for (const one of wholeRun.slice(1)) recorder.on(one)
    expect(await recorder.flush()).toBe(0)
    expect((await readLogs(session, { limit: 10 })).map((line) => line.level)).toEqual([
      "INFO",
      "INFO",
      "ERROR",
      "WARNING",
    ])
  })

  it("drops what the database does not take in time, counts it, and says so in the log", async () => {
    let release: (() => void) | undefined
    const slow: Database = {
      url: target.url,
      connect: async (options) => {
        await new Promise<void>((resolve) => (release = resolve))
        return target.connect(options)
      },
    }
    const recorder = recordRun(slow, { clock: systemClock })
    recorder.on(started())
    const warning = event({ type: "warning", code: "NETWORK", partition: undefined, message: "again", hint: undefined })
    for (let i = 0; i < 12_000; i++) recorder.on(warning)
    release?.()
    const lost = await recorder.flush()
    const { rows } = await session.query<{ n: number }>(
      "SELECT count(*)::int AS n FROM ops.pipeline_logs WHERE message LIKE 'NETWORK%'",
    )
    expect(lost).toBeGreaterThan(0)
    expect((rows[0]?.n ?? 0) + lost).toBe(12_000)
    const last = (await readLogs(session, { limit: 1 }))[0]
    expect(last).toMatchObject({ level: "WARNING", metadata: { dropped: lost } })
  })
})

describe("readLogs", () => {
  it("filters by run, level and time, and gives the newest, oldest first", async () => {
    const recorder = recordRun(target, { clock: systemClock }, { correlationId: "c1" })
    for (const one of wholeRun) recorder.on(one)
    await recorder.flush()
    const times = async (filter: Partial<Parameters<typeof readLogs>[1]>): Promise<number[]> =>
      (await readLogs(session, { limit: 100, ...filter })).map((line) => line.time - START)
    expect(await times({ runId: "another" })).toEqual([])
    expect(await times({ correlationId: "c1", pipeline: "orders" })).toHaveLength(4)
    expect(await times({ level: "ERROR" })).toEqual([70])
    expect(await times({ since: new Date(START + 70) })).toEqual([70, 100])
    expect(await times({ limit: 2 })).toEqual([70, 100])
    const first = (await readLogs(session, { limit: 100 }))[0]
    expect(await times({ afterId: first?.id })).toEqual([0, 70, 100])
  })
})
