import { hostname } from "node:os"
import { describe, expect, test } from "vitest"
import { SpillwayError } from "../../src/core/errors.ts"
import type { RunEvent } from "../../src/core/events.ts"
import type { FailpointName } from "../../src/core/ports.ts"
import type { TableMode } from "../../src/engine/definition.ts"
import type { Database } from "../../src/postgres/session.ts"
import { failpoints, onThe, systemPorts } from "../../src/testing/index.ts"
import { Child } from "./child.ts"
import { expectLoaded, onceEach, publishedTimes, query, recordsEach, stagedRecords } from "./loaded.ts"
import { ordersCase } from "./orders-case.ts"
import { ordersOf } from "./orders.ts"
import { barrier, until } from "./waiting.ts"

const on = ordersCase()

describe("two runs of one pipeline at once", () => {
  test("in two processes: the second says who holds what since when, and does nothing", async () => {
    const orders = ordersOf(1, 3, 50)
    await on.give(orders)
    const child = new Child({
      url: on.url,
      pipeline: on.declared(),
      at: { failpoint: "batch.staged", nth: 2, then: "stop" },
    })
    await child.stopped()
    const [lease] = await on.rows<{ run_id: string; acquired_at: Date }>(
      `SELECT run_id, acquired_at FROM ops.leases WHERE pipeline_name = $1 ORDER BY partition_key LIMIT 1`,
    )
    const events: RunEvent[] = []
    await expect(on.run(on.declared(), {}, { on: (event) => events.push(event) })).rejects.toMatchObject({
      code: "LEASE_HELD",
      class: "terminal",
      message: `nothing left to do: run ${lease?.run_id} (process ${child.pid} on ${hostname()}) since ${lease?.acquired_at.toISOString()} holds 3 partitions (p01 …) of pipeline "${on.name}"`,
      hint: expect.stringContaining("--wait") as string,
    })
    expect(events).toEqual([])
    child.signal("SIGCONT")
    expect((await child.ended()).report).toMatchObject({ status: "completed", attempt: 1 })
    await expectLoaded(on.url, on.name, "append", orders)
    expect(publishedTimes(child.events)).toEqual(onceEach(orders))
    expect(stagedRecords(child.events)).toEqual(recordsEach(orders))
    expect(await on.rows(`SELECT status FROM ops.runs WHERE pipeline_name = $1`)).toEqual([{ status: "completed" }])
  })

  test("in two processes, with wait: the second begins when the first has ended, and finds nothing left", async () => {
    const orders = ordersOf(2, 3, 50)
    await on.give(orders)
    const first = new Child({
      url: on.url,
      pipeline: on.declared({ mode: "upsert" }),
      at: { failpoint: "publish.rows-written", nth: 1, then: "stop" },
    })
    await first.stopped()
    const second = new Child({ url: on.url, pipeline: on.declared({ mode: "upsert" }), wait: true })
    // It has looked: its connection is there, and idle after a statement that found the leases taken.
    await until("the second waits", async () => {
      const found = await query(
        on.url,
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'spillway/%' AND state = 'idle'
           AND application_name NOT IN (SELECT 'spillway/' || holder FROM ops.leases WHERE holder IS NOT NULL)`,
      )
      return found.length === 1
    })
    first.signal("SIGCONT")
    const [one, two] = [await first.ended(), await second.ended()]
    expect(one.report?.status).toBe("completed")
    expect(two.report?.status).toBe("completed")
    await expectLoaded(on.url, on.name, "upsert", orders)
    expect(publishedTimes([...first.events, ...second.events])).toEqual(onceEach(orders))
    expect(stagedRecords([...first.events, ...second.events])).toEqual(recordsEach(orders))
  })

  test.each<TableMode>(["append", "upsert"])("the second takes what came after the first's plan (%s)", async (mode) => {
    const early = ordersOf(3, 3, 50)
    const late = ordersOf(3, 2, 50, 4)
    await on.give(early)
    const first = new Child({
      url: on.url,
      pipeline: on.declared({ mode }),
      at: { failpoint: "publish.begun", nth: 1, then: "stop" },
    })
    await first.stopped()
    await on.give({ ...early, ...late })
    const events: RunEvent[] = []
    const report = await on.run(on.declared({ mode }), {}, { on: (event) => events.push(event) })
    expect(report).toMatchObject({ status: "completed", partitions: { total: 5, chosen: 2, published: 2, held: 0 } })
    expect(report.warnings).toMatchObject([{ code: "LEASE_HELD" }])
    expect(publishedTimes(events)).toEqual(onceEach(late))
    first.signal("SIGCONT")
    expect((await first.ended()).report).toMatchObject({ status: "completed", partitions: { published: 3 } })
    const both = [...first.events, ...events]
    expect(publishedTimes(both)).toEqual(onceEach({ ...early, ...late }))
    expect(stagedRecords(both)).toEqual(recordsEach({ ...early, ...late }))
    await expectLoaded(on.url, on.name, mode, { ...early, ...late })
    const runs = await on.rows<{ status: string; published: number }>(
      `SELECT status, published FROM ops.runs WHERE pipeline_name = $1 ORDER BY published`,
    )
    expect(runs).toEqual([
      { status: "completed", published: 2 },
      { status: "completed", published: 3 },
    ])
  })

  test("many in one process, started at the same moment", async () => {
    const orders = ordersOf(4, 6, 40)
    await on.give(orders)
    const events: RunEvent[] = []
    const outcomes = await Promise.allSettled(
      Array.from({ length: 5 }, () => on.run(on.declared(), {}, { on: (event) => events.push(event) })),
    )
    expect(publishedTimes(events)).toEqual(onceEach(orders))
    expect(stagedRecords(events)).toEqual(recordsEach(orders))
    await expectLoaded(on.url, on.name, "append", orders)
    for (const outcome of outcomes)
      if (outcome.status === "rejected") expect(outcome.reason).toMatchObject({ code: "LEASE_HELD" })
    expect(outcomes.some(({ status }) => status === "fulfilled")).toBe(true)
  })

  test("many in one process with wait: all end well, each partition is done once", async () => {
    const orders = ordersOf(5, 6, 40)
    await on.give(orders)
    const events: RunEvent[] = []
    const listen = (event: RunEvent): number => events.push(event)
    const reports = await Promise.all(
      Array.from({ length: 4 }, () => on.run(on.declared(), {}, { wait: true, on: listen })),
    )
    expect(reports.map(({ status }) => status)).toEqual(Array.from({ length: 4 }, () => "completed"))
    expect(publishedTimes(events)).toEqual(onceEach(orders))
    expect(stagedRecords(events)).toEqual(recordsEach(orders))
    await expectLoaded(on.url, on.name, "append", orders)
  })

  test("one that looks while the leases are free, and finds them taken when it reaches for them, says so", async () => {
    const orders = ordersOf(12, 3, 40)
    await on.give(orders)
    const gate = barrier()
    const looked = barrier()
    const second = on.run(on.declared(), {}, { database: pausingAfter(/FROM ops\.leases l\b/, looked.wait) })
    second.catch(() => undefined)
    await looked.reached
    const first = on.run(on.declared(), { "leases.taken": onThe(1, gate.wait) })
    await gate.reached
    looked.open()
    await expect(second).rejects.toMatchObject({
      code: "LEASE_HELD",
      message: expect.stringContaining("3 partitions") as string,
    })
    gate.open()
    expect(await first).toMatchObject({ status: "completed", partitions: { published: 3 } })
    await expectLoaded(on.url, on.name, "append", orders)
  })

  test("one that begins while another has only to say goodbye is a run of its own", async () => {
    const early = ordersOf(13, 2, 40)
    const late = ordersOf(13, 2, 40, 3)
    await on.give(early)
    const gate = barrier()
    const first = on.run(on.declared(), { "run.before-finish": onThe(1, gate.wait) })
    await gate.reached
    await on.give({ ...early, ...late })
    const second = await on.run(on.declared())
    expect(second).toMatchObject({
      status: "completed",
      attempt: 1,
      counts: { read: 80 },
      partitions: { published: 2 },
    })
    gate.open()
    const report = await first
    expect(report).toMatchObject({
      status: "completed",
      attempt: 1,
      counts: { read: 80 },
      partitions: { published: 2 },
    })
    expect(second.runId).not.toBe(report.runId)
    const runs = await on.rows(`SELECT status, published, attempt FROM ops.runs WHERE pipeline_name = $1`)
    const completed = { status: "completed", published: 2, attempt: 1 }
    expect(runs).toEqual([completed, completed])
    await expectLoaded(on.url, on.name, "append", { ...early, ...late })
  })

  test("a run that was killed beside another one does not stay running", async () => {
    const early = ordersOf(15, 2, 40)
    const late = ordersOf(15, 2, 40, 3)
    await on.give(early)
    const child = new Child({
      url: on.url,
      pipeline: on.declared({ leaseMs: 3_600_000 }),
      at: { failpoint: "batch.staged", nth: 2, then: "wait" },
    })
    await child.reached()
    await on.give({ ...early, ...late })
    expect(await on.run(on.declared())).toMatchObject({ status: "completed", partitions: { published: 2 } })
    await child.killed()
    await connectionsGone()
    expect(await on.run(on.declared())).toMatchObject({ status: "completed", partitions: { published: 2 } })
    const runs = await on.rows(`SELECT status FROM ops.runs WHERE pipeline_name = $1 ORDER BY run_no`)
    expect(runs).toEqual([{ status: "cancelled" }, { status: "completed" }, { status: "completed" }])
    await expectLoaded(on.url, on.name, "append", { ...early, ...late })
  })
})

/** The server notices a killed client by its closed socket, a moment later. */
const connectionsGone = (): Promise<void> =>
  until("the holder's connections are gone", async () => {
    const found = await on.rows(
      `SELECT FROM pg_stat_activity WHERE application_name IN (SELECT 'spillway/' || holder FROM ops.leases WHERE pipeline_name = $1)`,
    )
    return found.length === 0
  })

/** The test's database, which pauses once, after the first statement that matches. */
function pausingAfter(statement: RegExp, pause: () => Promise<void>): Database {
  let paused = false
  return {
    url: on.url,
    connect: async (options) => {
      const session = await on.database.connect(options)
      const ask = session.query.bind(session)
      session.query = async <Row>(text: string, values?: readonly unknown[]) => {
        const result = await ask<Row>(text, values)
        if (!paused && statement.test(text)) {
          paused = true
          await pause()
        }
        return result
      }
      return session
    },
  }
}

describe("heartbeat", () => {
  test.each<FailpointName>(["batch.staged", "publish.begun", "publish.rows-written"])(
    "a run that stays at %s for four lease times keeps its leases",
    async (failpoint) => {
      const orders = ordersOf(7, 2, 50)
      await on.give(orders)
      const leaseMs = 600
      const gate = barrier()
      const running = on.run(on.declared({ leaseMs }), { [failpoint]: onThe(1, gate.wait) })
      await gate.reached
      const age = async (): Promise<number> =>
        Number(
          (
            await on.rows<{ ms: string }>(
              `SELECT max(extract(epoch FROM clock_timestamp() - acquired_at) * 1000) AS ms FROM ops.leases WHERE pipeline_name = $1 AND holder IS NOT NULL`,
            )
          )[0]?.ms,
        )
      let tries = 0
      while ((await age()) < 4 * leaseMs) {
        await expect(on.run(on.declared({ leaseMs }))).rejects.toMatchObject({ code: "LEASE_HELD" })
        tries++
      }
      expect(tries).toBeGreaterThan(4)
      gate.open()
      expect(await running).toMatchObject({ status: "completed", attempt: 1 })
      await expectLoaded(on.url, on.name, "append", orders)
    },
  )

  test("a run that has given back its leases and lingers is not told that they are lost", async () => {
    const orders = ordersOf(8, 2, 30)
    await on.give(orders)
    const gate = barrier()
    let heartbeats = 0
    let retries = 0
    // No connection is made until the run has waited to try again, which it does only while it is not stopped.
    const database: Database = {
      url: on.url,
      connect: (options) =>
        heartbeats >= 4 && retries === 0
          ? Promise.reject(new SpillwayError("DB_UNAVAILABLE", "refused, for this test"))
          : on.database.connect(options),
    }
    const clock = {
      ...systemPorts.clock,
      every: (ms: number, task: () => void) =>
        systemPorts.clock.every(ms, () => {
          if (ms === 50) heartbeats++
          task()
        }),
    }
    const running = on.run(
      on.declared({ leaseMs: 150 }),
      {},
      {
        database,
        on: (event) => {
          if (event.type === "retry") retries++
        },
        ports: {
          ...systemPorts,
          clock,
          failpoints: failpoints({
            "publish.committed": onThe(2, async () => {
              heartbeats = 0
              await gate.wait()
            }),
          }),
        },
      },
    )
    await gate.reached
    await until("heartbeats have gone by", () => heartbeats >= 4)
    await query(
      on.url,
      `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name LIKE 'spillway/%' AND datname = current_database()`,
    )
    gate.open()
    expect(await running).toMatchObject({ status: "completed", error: undefined })
    expect(retries).toBeGreaterThan(0)
    expect(await on.rows(`SELECT status FROM ops.runs WHERE pipeline_name = $1`)).toEqual([{ status: "completed" }])
    await expectLoaded(on.url, on.name, "append", orders)
  })
})

describe("taking over", () => {
  test("is immediate when the holder's process on this machine is dead", async () => {
    const orders = ordersOf(9, 3, 50)
    await on.give(orders)
    const child = new Child({
      url: on.url,
      pipeline: on.declared({ leaseMs: 3_600_000 }),
      at: { failpoint: "batch.staged", nth: 4, then: "wait" },
    })
    await child.reached()
    await child.killed()
    await connectionsGone()
    const events: RunEvent[] = []
    const report = await on.run(on.declared(), {}, { on: (event) => events.push(event) })
    expect(report).toMatchObject({ status: "completed", attempt: 2 })
    expect(publishedTimes([...child.events, ...events])).toEqual(onceEach(orders))
    await expectLoaded(on.url, on.name, "append", orders)
  })

  test("waits for the end of the lease when the holder is out of touch and on another machine", async () => {
    const orders = ordersOf(10, 2, 50)
    await on.give(orders)
    const child = new Child({
      url: on.url,
      pipeline: on.declared({ leaseMs: 3_600_000 }),
      at: { failpoint: "batch.staged", nth: 2, then: "wait" },
    })
    await child.reached()
    await child.killed()
    await connectionsGone()
    await on.rows(`UPDATE ops.leases SET host = 'elsewhere.example' WHERE pipeline_name = $1`)
    let waits = 0
    const clock = {
      ...systemPorts.clock,
      sleep: async (ms: number, signal?: AbortSignal): Promise<void> => {
        if (ms !== 1_000) return systemPorts.clock.sleep(ms, signal)
        expect(await on.rows(`SELECT FROM ops.runs WHERE pipeline_name = $1 AND attempt > 1`)).toEqual([])
        // The lease runs out while the taker waits for the second time.
        if (++waits === 2)
          await on.rows(`UPDATE ops.leases SET expires_at = clock_timestamp() WHERE pipeline_name = $1`)
      },
    }
    const report = await on.run(on.declared(), {}, { ports: { ...systemPorts, clock } })
    expect(report).toMatchObject({ status: "completed", attempt: 2 })
    expect(waits).toBe(2)
    await expectLoaded(on.url, on.name, "append", orders)
  })

  test("does not happen while the holder is connected and in time, wherever it is", async () => {
    const orders = ordersOf(11, 2, 50)
    await on.give(orders)
    const child = new Child({
      url: on.url,
      pipeline: on.declared(),
      at: { failpoint: "batch.staged", nth: 2, then: "stop" },
    })
    await child.stopped()
    await on.rows(`UPDATE ops.leases SET host = 'elsewhere.example' WHERE pipeline_name = $1`)
    await expect(on.run(on.declared())).rejects.toMatchObject({
      code: "LEASE_HELD",
      message: expect.stringContaining("on elsewhere.example") as string,
    })
    child.signal("SIGCONT")
    expect((await child.ended()).report?.status).toBe("completed")
    await expectLoaded(on.url, on.name, "append", orders)
  })
})
