import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest"
import type { RunEvent } from "../../src/core/events.ts"
import type { FailpointName } from "../../src/core/ports.ts"
import type { TableMode } from "../../src/engine/definition.ts"
import { runPipeline } from "../../src/engine/run.ts"
import { embeddedStatus, startEmbedded, stopEmbedded, type EmbeddedServer } from "../../src/postgres/embedded.ts"
import { failpoints, onThe, systemPorts, throwAwayDatabase, type ThrowAwayDatabase } from "../../src/testing/index.ts"
import { projectFolder, removeProjects } from "../postgres/projects.ts"
import { expectLoaded, onceEach, publishedTimes } from "./loaded.ts"
import { ordersOf, ordersPipeline } from "./orders.ts"
import { startProxy, type Cut } from "./proxy.ts"
import { until } from "./waiting.ts"

/** How long the server stays away, in milliseconds. Unset: until the run has tried three times to reach it. */
const AWAY_MS = process.env["SPILLWAY_TEST_AWAY_MS"]

let folder: string
let server: EmbeddedServer
let database: ThrowAwayDatabase
let trials = 0

beforeAll(async () => {
  folder = await projectFolder()
  server = await startEmbedded(folder)
  database = await throwAwayDatabase({ url: server.url })
})
afterEach(async () => {
  await startEmbedded(folder)
})
afterAll(removeProjects)

type Ending = "stopped" | "killed"

async function end(how: Ending): Promise<void> {
  if (how === "stopped") {
    await stopEmbedded(folder)
    return
  }
  const status = await embeddedStatus(folder)
  if (status.state !== "running") throw new Error("there is no server to kill")
  process.kill(status.pid, "SIGKILL")
  await until("the server is dead", async () => (await embeddedStatus(folder)).state === "stopped")
}

async function back(): Promise<void> {
  expect(await startEmbedded(folder)).toMatchObject({ started: true, port: server.port })
}

const isRetry = (event: RunEvent): boolean => event.type === "retry"

/** Loads a part, then all of it while the server goes away at a failpoint and comes back. */
async function loadThrough(trial: {
  name: string
  mode: TableMode
  before: boolean
  at: FailpointName
  nth: number
  how: Ending
}): Promise<RunEvent[]> {
  const { name, mode, before, at, nth, how } = trial
  const earlier = before ? ordersOf(20, 1, 30) : {}
  const orders = { ...earlier, ...ordersOf(20, 4, 50, 2) }
  let now = earlier
  const pipeline = ordersPipeline({ name, mode, orders: () => now })
  if (before) expect(await runPipeline(pipeline, { database })).toMatchObject({ status: "completed" })
  now = orders
  const events: RunEvent[] = []
  const gone = Promise.withResolvers<void>()
  const running = runPipeline(pipeline, {
    database,
    ports: {
      ...systemPorts,
      failpoints: failpoints({ [at]: onThe(nth, () => end(how).then(gone.resolve, gone.reject)) }),
    },
    on: (event) => events.push(event),
  })
  running.catch(() => undefined)
  await gone.promise
  const since = performance.now()
  await until(
    "the server was away for long enough",
    () => (AWAY_MS === undefined ? events.filter(isRetry).length >= 3 : performance.now() - since >= Number(AWAY_MS)),
    60_000,
  )
  await back()
  const report = await running
  expect(report).toMatchObject({ status: "completed", attempt: 1, error: undefined })
  await expectLoaded(database.url, name, mode, orders)
  const fresh = Object.keys(orders).filter((key) => !(key in earlier))
  expect(publishedTimes(events)).toEqual(Object.fromEntries(fresh.map((key) => [key, 1])))
  const retries = events.filter(isRetry).length
  expect(retries).toBeGreaterThanOrEqual(3)
  console.log(
    `server ${how} at ${at} (${nth}), ${mode}: away ${Math.round(performance.now() - since)} ms, ${retries} retries, ` +
      `${events.filter(({ type }) => type === "partition.restarted").length} partitions staged anew`,
  )
  return events
}

describe("a server that goes away in mid-run and comes back", () => {
  test.each<{ at: FailpointName; nth: number; how: Ending; mode: TableMode; before: boolean }>([
    { at: "batch.staged", nth: 5, how: "stopped", mode: "upsert", before: true },
    { at: "batch.staged", nth: 5, how: "killed", mode: "append", before: true },
    { at: "batch.staged", nth: 4, how: "killed", mode: "upsert", before: false },
    { at: "publish.rows-written", nth: 2, how: "stopped", mode: "append", before: false },
    { at: "publish.rows-written", nth: 2, how: "killed", mode: "upsert", before: true },
    { at: "publish.before-commit", nth: 1, how: "killed", mode: "append", before: false },
    { at: "run.before-finish", nth: 1, how: "stopped", mode: "append", before: true },
    { at: "run.before-finish", nth: 1, how: "killed", mode: "upsert", before: false },
  ])("$how at $at ($nth; $mode, table there before: $before)", async (trial) => {
    const events = await loadThrough({ ...trial, name: `away_${++trials}` })
    // Staging does not wait for the disk: a crash may take the last batches, and their partitions start over; a stop takes none.
    if (trial.how === "stopped") expect(events.some(({ type }) => type === "partition.restarted")).toBe(false)
  })
})

describe("a server that crashes at COMMIT", () => {
  test.each<{ moment: string; cut: Cut; outcome: "committed" | "aborted" }>([
    { moment: "before it has it", cut: "drop-commit", outcome: "aborted" },
    { moment: "after it has carried it out", cut: "drop-ack", outcome: "committed" },
  ])("$moment: the run finds out and goes on", async ({ cut, outcome }) => {
    const name = `crash_${outcome}`
    const orders = ordersOf(21, 4, 50)
    let commits = 0
    const crash = async (): Promise<void> => {
      await end("killed")
      void back()
    }
    const proxy = await startProxy(database.url, {
      onCommit: async ({ publishing }) => {
        if (!publishing || ++commits !== 2) return undefined
        if (cut === "drop-commit") await crash()
        return cut
      },
      onAcknowledged: crash,
    })
    try {
      const events: RunEvent[] = []
      const report = await runPipeline(ordersPipeline({ name, mode: "upsert", orders: () => orders }), {
        database: proxy.url,
        on: (event) => events.push(event),
      })
      expect(report).toMatchObject({ status: "completed", attempt: 1 })
      expect(events.filter(({ type }) => type === "commit.resolved")).toMatchObject([{ outcome }])
      expect(publishedTimes(events)).toEqual(onceEach(orders))
      await expectLoaded(database.url, name, "upsert", orders)
    } finally {
      await proxy.close()
    }
  })
})
