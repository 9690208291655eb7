import { describe, expect, test } from "vitest"
import type { RunEvent } from "../../src/core/events.ts"
import type { FailpointName } from "../../src/core/ports.ts"
import type { TableMode } from "../../src/engine/definition.ts"
import { onThe } from "../../src/testing/index.ts"
import { Child } from "./child.ts"
import { expectLoaded, onceEach, publishedTimes, tupleDigest } from "./loaded.ts"
import { ordersCase } from "./orders-case.ts"
import { ordersOf } from "./orders.ts"
import { barrier, until } from "./waiting.ts"

const on = ordersCase()

/** The leases that somebody holds have run out, by the database's clock. */
const leasesRunOut = (): Promise<void> =>
  until("the leases have run out", async () => {
    const [found] = await on.rows<{ out: boolean }>(
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
      await on.give(earlier)
      if (before) await on.run(on.declared({ mode }))
      await on.give(orders)
      const declaration = on.declared({ mode, leaseMs: 700 })
      const child = new Child({ url: on.url, pipeline: declaration, at: { failpoint, nth, then: "stop" } })
      await child.stopped()
      await leasesRunOut()
      const events: RunEvent[] = []
      const report = await on.run(on.declared({ mode }), {}, { on: (event) => events.push(event) })
      expect(report).toMatchObject({ status: "completed", attempt: 2 })
      await expectLoaded(on.url, on.name, mode, orders)
      const state = async (): Promise<unknown> => [
        await tupleDigest(on.url, on.name),
        await on.rows(`SELECT ctid, xmin, r.* FROM ops.runs r WHERE pipeline_name = $1 ORDER BY run_no`),
        await on.rows(`SELECT ctid, xmin, * FROM ops.source_positions WHERE pipeline_name = $1 ORDER BY 3, 4`),
        await on.rows(`SELECT ctid, xmin, * FROM ops.processed_partitions WHERE pipeline_name = $1 ORDER BY 3, 4`),
        await on.rows(`SELECT ctid, xmin, * FROM ops.dead_letters WHERE pipeline_name = $1 ORDER BY id`),
        await on.rows(
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
      await expectLoaded(on.url, on.name, mode, orders)
      const fresh = Object.keys(orders).filter((key) => !(key in earlier))
      expect(publishedTimes([...child.events, ...events])).toEqual(Object.fromEntries(fresh.map((key) => [key, 1])))
    },
  )
})

describe("a run that is continued while the one that took over is at work", () => {
  test.each<FailpointName>(["leases.taken", "staging.created", "batch.staged", "publish.rows-written"])(
    "stopped at %s: the other one is not disturbed",
    async (failpoint) => {
      const orders = ordersOf(14, 3, 50)
      await on.give(orders)
      const child = new Child({
        url: on.url,
        pipeline: on.declared({ leaseMs: 700 }),
        at: { failpoint, nth: 1, then: "stop" },
      })
      await child.stopped()
      await leasesRunOut()
      const gate = barrier()
      const events: RunEvent[] = []
      const running = on.run(
        on.declared(),
        { "batch.staged": onThe(2, gate.wait) },
        { on: (event) => events.push(event) },
      )
      await gate.reached
      child.signal("SIGCONT")
      expect((await child.ended()).report).toMatchObject({ status: "failed", error: { code: "LEASE_LOST" } })
      gate.open()
      expect(await running).toMatchObject({ status: "completed", attempt: 2 })
      expect(events.filter(({ type }) => type === "partition.restarted")).toEqual([])
      expect(publishedTimes([...child.events, ...events])).toEqual(onceEach(orders))
      await expectLoaded(on.url, on.name, "append", orders)
    },
  )
})

describe("a run that another one took a single partition from", () => {
  test.each<FailpointName>(["gate.judged", "publish.begun", "publish.before-commit"])(
    "stopped at %s: leaves that partition alone, and the next run does the rest",
    async (failpoint) => {
      const orders = ordersOf(15, 3, 50)
      await on.give(orders)
      const child = new Child({
        url: on.url,
        pipeline: on.declared({ leaseMs: 700 }),
        at: { failpoint, nth: 1, then: "stop" },
      })
      await child.stopped()
      await leasesRunOut()
      expect(await on.run(on.declared(), {}, { partitions: ["p01"] })).toMatchObject({
        status: "completed",
        attempt: 1,
        partitions: { published: 1 },
      })
      const state = async (): Promise<unknown> => [
        await tupleDigest(on.url, on.name),
        await on.rows(`SELECT ctid, xmin, * FROM ops.source_positions WHERE pipeline_name = $1 ORDER BY 3, 4`),
        await on.rows(`SELECT ctid, xmin, * FROM ops.processed_partitions WHERE pipeline_name = $1 ORDER BY 3, 4`),
        await on.rows(`SELECT ctid, xmin, * FROM ops.dead_letters WHERE pipeline_name = $1 ORDER BY id`),
      ]
      const untouched = await state()
      child.signal("SIGCONT")
      expect((await child.ended()).report).toMatchObject({ status: "failed", error: { code: "LEASE_LOST" } })
      expect(await state()).toEqual(untouched)
      expect(await on.run(on.declared())).toMatchObject({ status: "completed", partitions: { unchanged: 1 } })
      await expectLoaded(on.url, on.name, "append", orders)
    },
  )
})
