import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { SpillwayError } from "../../src/core/errors.ts"
import type { Schedule } from "../../src/core/schedule.ts"
import { carryOutTicks } from "../../src/scheduler/tick-job.ts"
import { decideTicks, TickWatch } from "../../src/scheduler/ticks.ts"
import { watchOverdue } from "../../src/scheduler/overdue-watch.ts"
import { expected } from "../../src/scheduler/expected.ts"
import { manualClock, type ManualClock } from "../../src/testing/clock.ts"
import { fakeWorkload, schedulerBed, type Behaviour, type RunEnd, type SchedulerBed, type TestContext } from "./bed.ts"

const HOUR = 3_600_000
const START = Date.UTC(2026, 0, 1, 0, 30)

describe("what becomes of ticks", () => {
  const now = 10_000_000
  const missed = [now - 3 * HOUR, now - 2 * HOUR, now - HOUR]
  const statuses = (...args: Parameters<typeof decideTicks>): string[] =>
    decideTicks(...args).map(({ status }) => status)

  it("is the schedule's choice when nobody was there", () => {
    expect(statuses("latest", missed, now, false)).toEqual(["skipped", "skipped", "queued"])
    expect(statuses("all", missed, now, false)).toEqual(["queued", "queued", "queued"])
    expect(statuses("none", missed, now, false)).toEqual(["skipped", "skipped", "skipped"])
  })

  it("is to be run, when it is on time", () => {
    for (const policy of ["latest", "all", "none"] as const)
      expect(statuses(policy, [now - 500], now, false)).toEqual(["queued"])
    expect(statuses("none", [...missed, now - 60_000], now, false).at(-1)).toBe("queued")
  })

  it("is to wait for the next one, while an earlier one is open", () => {
    for (const policy of ["latest", "all", "none"] as const)
      expect(statuses(policy, [now - 500], now, true)).toEqual(["coalesced"])
  })
})

describe("ticks", () => {
  let bed: SchedulerBed
  let clock: ManualClock
  const contexts: TestContext[] = []

  beforeEach(async () => {
    bed = await schedulerBed()
    clock = manualClock(START)
  })
  afterEach(async () => {
    for (const context of contexts.splice(0)) await context.end()
    await bed.end()
  })

  const hourly = (catchUp: Schedule["catchUp"], cron = "0 * * * *"): Schedule => ({ cron, timezone: "UTC", catchUp })

  async function worker(
    schedule: Schedule,
    behave: Behaviour = () => "built",
  ): Promise<TestContext & { built: string[] }> {
    const workload = fakeWorkload([{ name: "orders", schedule }], behave)
    const context = await bed.context(workload, { clock })
    contexts.push(context)
    return Object.assign(context, { built: workload.built })
  }

  const ticks = async (): Promise<string[]> => {
    const rows = await bed.rows<{ text: string }>(
      `SELECT to_char(tick AT TIME ZONE 'UTC', 'HH24:MI') || ' ' || status AS text FROM ops.schedule_ticks ORDER BY tick`,
    )
    return rows.map(({ text }) => text)
  }

  async function takeJob(context: TestContext): Promise<string> {
    const job = await context.queue.take("orders")
    return job === undefined ? "no job" : carryOutTicks(context, job)
  }

  it("before the first look are nobody's", async () => {
    const context = await worker(hourly("all"))
    await new TickWatch(context).look()
    expect(await ticks()).toEqual([])
    expect(await takeJob(context)).toBe("no job")
  })

  it("are run once, however many workers look at the same moment", async () => {
    const workers = await Promise.all([worker(hourly("latest")), worker(hourly("latest")), worker(hourly("latest"))])
    const watches = workers.map((context) => new TickWatch(context))
    for (const watch of watches) await watch.look()
    for (let hour = 1; hour <= 3; hour++) {
      clock.advance(HOUR)
      await Promise.all(watches.map((watch) => watch.look()))
      // Who found the row taken looks again.
      clock.advance(1_000)
      await Promise.all(watches.map((watch) => watch.look()))
      const ends = await Promise.all(workers.map(takeJob))
      expect(ends.sort()).toEqual(["done", "no job", "no job"])
    }
    expect(await ticks()).toEqual(["01:00 done", "02:00 done", "03:00 done"])
    expect(workers.flatMap(({ built }) => built)).toHaveLength(3)
    const decided = workers.flatMap(({ events }) => events).filter(({ type }) => type === "tick.decided")
    expect(decided).toHaveLength(3)
  })

  it.each([
    ["latest", ["01:00 skipped", "02:00 skipped", "03:00 done"]],
    ["all", ["01:00 done", "02:00 done", "03:00 done"]],
    ["none", ["01:00 skipped", "02:00 skipped", "03:00 skipped"]],
  ] as const)("missed are caught up on as %s says", async (catchUp, wanted) => {
    const before = await worker(hourly(catchUp))
    await new TickWatch(before).look()
    clock.advance(3 * HOUR)
    const after = await worker(hourly(catchUp))
    await new TickWatch(after).look()
    await takeJob(after)
    expect(await ticks()).toEqual(wanted)
    expect(after.built).toHaveLength(wanted.filter((text) => text.endsWith("done")).length)
  })

  it("during a run are coalesced into it", async () => {
    const context = await worker(hourly("all"), async (): Promise<RunEnd> => {
      clock.advance(HOUR)
      await watch.look()
      return "built"
    })
    const watch = new TickWatch(context)
    await watch.look()
    clock.advance(HOUR)
    await watch.look()
    expect(await takeJob(context)).toBe("done")
    expect(await ticks()).toEqual(["01:00 done", "02:00 coalesced"])
    expect(await takeJob(context)).toBe("no job")
    clock.advance(HOUR)
    await watch.look()
    expect(await ticks()).toEqual(["01:00 done", "02:00 coalesced", "03:00 queued"])
  })

  it("that fail say why, and the next one is run", async () => {
    const context = await worker(hourly("latest"), () => new SpillwayError("LEASE_LOST", "gone"))
    context.workload.run = () => Promise.reject(new SpillwayError("NETWORK", "the share is away"))
    const watch = new TickWatch(context)
    await watch.look()
    clock.advance(HOUR)
    await watch.look()
    await takeJob(context)
    expect(await ticks()).toEqual(["01:00 failed"])
    const [row] = await bed.rows(`SELECT error_code, error_message FROM ops.schedule_ticks`)
    expect(row).toEqual({ error_code: "NETWORK", error_message: "the share is away" })
    clock.advance(HOUR)
    await watch.look()
    expect(await ticks()).toEqual(["01:00 failed", "02:00 queued"])
  })

  it("of a schedule that is declared otherwise begin anew", async () => {
    await new TickWatch(await worker(hourly("all"))).look()
    clock.advance(3 * HOUR)
    await new TickWatch(await worker(hourly("all", "15 * * * *"))).look()
    expect(await ticks()).toEqual([])
    clock.advance(HOUR)
    await new TickWatch(await worker(hourly("all", "15 * * * *"))).look()
    expect(await ticks()).toEqual(["04:15 queued"])
  })

  it("an overdue check that fails is a warning, and the others are checked", async () => {
    const rule = expected("month + 2 days")
    const workload = fakeWorkload(
      [
        { name: "away", expected: rule },
        { name: "sales", expected: rule },
      ],
      () => "built",
    )
    workload.partitionsOf = (name) =>
      name === "away"
        ? Promise.reject(new SpillwayError("NETWORK", "the share is away"))
        : Promise.resolve([
            { key: "2025-10", reason: "missing" },
            { key: "2025-11", reason: "unchanged" },
          ])
    const context = await bed.context(workload, { clock })
    contexts.push(context)
    await watchOverdue(context)
    expect(context.events.map(({ type }) => type)).toEqual(["worker.warning", "partition.overdue"])
  })

  it("overdue partitions are told once, by one worker, and again when they are late again", async () => {
    let partitions = [{ key: "2025-12", reason: "missing" }]
    const workload = fakeWorkload(
      [{ name: "sales", expected: expected("month + 2 days") }],
      () => "built",
      () => partitions,
    )
    const pair = await Promise.all([bed.context(workload, { clock }), bed.context(workload, { clock })])
    contexts.push(...pair)
    const look = async (): Promise<string[]> => {
      await Promise.all(pair.map(watchOverdue))
      return pair
        .flatMap(({ events }) => events.splice(0))
        .map((event) => ("partition" in event ? event.partition : event.type))
    }
    expect(await look()).toEqual([])
    clock.advance(3 * 24 * HOUR)
    expect(await look()).toEqual(["2025-12"])
    expect(await look()).toEqual([])
    const [log] = await bed.rows(`SELECT level, message, pipeline_name FROM ops.pipeline_logs`)
    expect(log).toEqual({
      level: "WARNING",
      message: "2025-12: overdue since 2026-01-03T00:00:00.000Z (missing)",
      pipeline_name: "sales",
    })
    expect(await bed.rows(`SELECT metric_name, metric_value FROM ops.metrics`)).toEqual([
      { metric_name: "pipeline.schedule.partitions_overdue", metric_value: 1 },
    ])
    partitions = [{ key: "2025-12", reason: "unchanged" }]
    expect(await look()).toEqual([])
    expect(await bed.rows(`SELECT FROM ops.overdue_partitions WHERE resolved_at IS NULL`)).toEqual([])
    partitions = [{ key: "2025-12", reason: "stale" }]
    expect(await look()).toEqual(["2025-12"])
  })
})
