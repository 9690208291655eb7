import { expect, it } from "vitest"
import { RunMetrics } from "../../src/observability/metrics.ts"
import { event, finished, started } from "./events.ts"

it("sums a run up as metrics of the agreed names", () => {
  const metrics = new RunMetrics("bronze.orders")
  expect(metrics.on(started())).toEqual([])
  metrics.on(event({ type: "partition.staged", partition: "a", read: 100, durationMs: 300 }))
  metrics.on(event({ type: "partition.staged", partition: "b", read: 100, durationMs: 200 }))
  metrics.on(event({ type: "group.published", partitions: 2, rows: 196, durationMs: 250, steps: {} }))
  const found = metrics.on(
    finished(
      "completed",
      { read: 200, inserted: 196, deadLettered: 4 },
      { durationMs: 2_000, published: 2, nulls: { customerId: 50 } },
    ),
  )
  const value = (name: string): number | undefined => found.find((metric) => metric.name === name)?.value
  expect(value("pipeline.extract.rows_read")).toBe(200)
  expect(value("pipeline.publish.bronze.orders.rows_inserted")).toBe(196)
  expect(value("pipeline.dead_letters.rows")).toBe(4)
  expect(value("pipeline.stage.duration.seconds")).toBe(0.5)
  expect(value("pipeline.publish.duration.seconds")).toBe(0.25)
  expect(value("pipeline.total.duration.seconds")).toBe(2)
  expect(value("pipeline.total.rows_per_second")).toBe(100)
  expect(value("dq.bronze.orders.dead_letter_ratio")).toBe(0.02)
  const nulls = found.find((metric) => metric.name === "dq.bronze.orders.null_ratio")
  expect(nulls).toMatchObject({ value: 0.25, type: "gauge", dims: { column: "customerId", table: "bronze.orders" } })
})

it("divides nothing by zero when nothing was read", () => {
  const found = new RunMetrics("t").on(finished("completed", {}, { durationMs: 0, nulls: { a: 0 } }))
  expect(found.every((metric) => Number.isFinite(metric.value))).toBe(true)
  expect(found.some((metric) => metric.name.startsWith("dq."))).toBe(false)
})
