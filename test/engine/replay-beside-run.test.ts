// A replay of letters, and a run that publishes the partition they belong to, at the same time.
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { z } from "zod"
import { systemPorts, type FailpointName, type Ports } from "../../src/core/ports.ts"
import { mergePatch } from "../../src/dead-letters/patch.ts"
import { replayLetters, type ReplayReport } from "../../src/engine/replay/replay.ts"
import { csv, files, pipeline, table, type Pipeline } from "../../src/index.ts"
import { decimal } from "../../src/schema/index.ts"
import { failpoints } from "../../src/testing/index.ts"
import { testBed, unbalanced, type Bed } from "./bed.ts"

let bed: Bed
beforeEach(async () => {
  bed = await testBed()
})
afterEach(() => bed.end())

const orders = (mode: "upsert" | "append"): Pipeline =>
  pipeline({
    name: "orders",
    source: files("in/*.csv", { format: csv() }),
    schema: z.object({ id: z.int(), price: decimal({ min: 0 }) }),
    sink: mode === "append" ? table("shop.orders", { mode }) : table("shop.orders", { key: ["id"] }),
  })

const replay = (one: Pipeline, ports: Ports = systemPorts): Promise<ReplayReport> =>
  replayLetters(one, {
    database: bed.url,
    directory: bed.directory,
    requestedBy: "a test",
    patch: mergePatch({ price: "9" }),
    ports,
  })

/** Ports with a gate at a failpoint: `reached` is there when the first comes to it, who waits until `open` is called. */
function gateAt(name: FailpointName): { ports: Ports; reached: Promise<void>; open: () => void } {
  const reached = Promise.withResolvers<void>()
  const opened = Promise.withResolvers<void>()
  const stop = (): Promise<void> => {
    reached.resolve()
    return opened.promise
  }
  return {
    ports: { ...systemPorts, failpoints: failpoints({ [name]: stop }) },
    reached: reached.promise,
    open: () => opened.resolve(),
  }
}

/** Until some session of this database waits for a lock. */
async function someoneWaits(): Promise<void> {
  for (;;) {
    const waiting = await bed.value<number>(
      `SELECT count(*)::int FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
    )
    if (waiting > 0) return
    await systemPorts.clock.turn()
  }
}

const state = async (): Promise<unknown> => ({
  rows: await bed.rows(`SELECT id::int, price::text FROM shop.orders ORDER BY 1, 2`),
  letters: await bed.rows(`SELECT (source->>'line')::int AS line, status FROM ops.dead_letters ORDER BY 1`),
})

const BEFORE = "id,price\n1,1\n2,-2\n3,-3\n"
const ROWS = [
  { id: 1, price: "1.5" },
  { id: 2, price: "2" },
  { id: 3, price: "9" },
]
/** One other record has changed, and one that was set aside is corrected. */
const AFTER = "id,price\n1,1.5\n2,2\n3,-3\n"

describe.each(["upsert", "append"] as const)("into a table of mode %s", (mode) => {
  const one = orders(mode)
  beforeEach(async () => {
    await bed.write("in/a.csv", BEFORE)
    expect(await bed.run(one)).toMatchObject({ counts: { inserted: 1, deadLettered: 2 } })
    await bed.write("in/a.csv", AFTER)
  })

  it("the replay first: its rows stay where their record is as it was, and go where the file has a corrected one", async () => {
    const gate = gateAt("replay.before-commit")
    const replaying = replay(one, gate.ports)
    await gate.reached
    const running = bed.run(one)
    await someoneWaits()
    gate.open()
    expect(await replaying).toMatchObject({ status: "completed", outcomes: { loaded: 2 } })
    expect(await running).toMatchObject({ status: "completed" })
    expect(await state()).toEqual({
      rows: ROWS,
      letters: [
        { line: 3, status: "superseded" },
        { line: 4, status: "replayed" },
      ],
    })
    expect(await unbalanced(bed, one.name)).toEqual([])
  })

  it("the run first: the letter of the corrected record is not replayed any more", async () => {
    const gate = gateAt("publish.before-commit")
    const running = bed.run(one, { ports: gate.ports })
    await gate.reached
    const replaying = replay(one)
    await someoneWaits()
    gate.open()
    expect(await running).toMatchObject({ status: "completed" })
    expect(await replaying).toMatchObject({ status: "completed", outcomes: { loaded: 1 } })
    expect(await state()).toEqual({
      rows: ROWS,
      letters: [
        { line: 3, status: "superseded" },
        { line: 4, status: "replayed" },
      ],
    })
    expect(await unbalanced(bed, one.name)).toEqual([])
  })
})
