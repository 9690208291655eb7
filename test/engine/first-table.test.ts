import { afterEach, beforeEach, expect, test } from "vitest"
import { z } from "zod"
import { systemPorts } from "../../src/core/ports.ts"
import type { RunReport } from "../../src/engine/report.ts"
import { passRate, pipeline, table, type Pipeline } from "../../src/index.ts"
import { failpoints, recordsSource } from "../../src/testing/index.ts"
import { barrier, until } from "../faults/waiting.ts"
import { testBed, type Bed } from "./bed.ts"

let bed: Bed
beforeEach(async () => {
  bed = await testBed()
})
afterEach(() => bed.end())

const orders = (name: string, into: string): Pipeline =>
  pipeline({
    name,
    source: recordsSource(() => ({
      good: [{ id: "1" }],
      bad: [{ id: "not one" }],
    })),
    schema: z.object({ id: z.string().max(1) }),
    checks: [passRate(1)],
    sink: table(into, { key: ["id"] }),
  })

/** Has `second` run while `first` has written its rows into a table that nobody else can see yet; lets `first` go on when `second` waits for it. */
async function meeting(first: [Pipeline, string], second: [Pipeline, string]): Promise<RunReport[]> {
  const gate = barrier()
  const ports = {
    ...systemPorts,
    failpoints: failpoints({ "publish.rows-written": () => gate.wait() }),
  }
  const one = bed.run(first[0], { partitions: [first[1]], ports })
  await gate.reached
  const other = bed.run(second[0], { partitions: [second[1]] })
  try {
    await until("the second run waits for the first", async () => {
      const waiting = await bed.value<number>(
        "SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
      )
      return waiting > 0
    })
  } finally {
    gate.open()
  }
  return Promise.all([one, other])
}

test("a run that held everything leaves a table behind, also when another run creates it at that moment", async () => {
  const same = orders("orders", "shop.orders")
  const [first, second] = await meeting([same, "good"], [same, "bad"])
  expect(first).toMatchObject({ status: "completed", error: undefined })
  expect(second).toMatchObject({
    status: "partial",
    error: undefined,
    held: [{ partition: "bad" }],
  })
  expect(await bed.rows("SELECT id FROM shop.orders")).toEqual([{ id: "1" }])
})

test.each([
  ["good", { status: "completed", held: [] }],
  ["bad", { status: "partial", held: [{ partition: "bad" }] }],
])("of two runs that create the first tables of a schema at the same moment none fails (%s)", async (key, end) => {
  const [first, second] = await meeting(
    [orders("orders", "shop.orders"), "good"],
    [orders("returns", "shop.returns"), key],
  )
  expect(first).toMatchObject({ status: "completed", error: undefined })
  expect(second).toMatchObject({ ...end, error: undefined })
  expect(await bed.rows("SELECT id FROM shop.returns")).toHaveLength(key === "good" ? 1 : 0)
})
