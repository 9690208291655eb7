import { afterAll, afterEach, beforeAll, expect, test } from "vitest"
import type { RunEvent } from "../../src/core/events.ts"
import { seededRandom, type Random } from "../../src/core/random.ts"
import type { TableMode } from "../../src/engine/definition.ts"
import { Connection } from "../../src/engine/connection.ts"
import { runPipeline } from "../../src/engine/run.ts"
import type { ConnectOptions } from "../../src/postgres/session.ts"
import { systemPorts, throwAwayDatabase, type ThrowAwayDatabase } from "../../src/testing/index.ts"
import { testDatabaseUrl } from "../postgres/server.ts"
import { impatientPorts } from "./impatient.ts"
import { expectLoaded, onceEach, publishedTimes } from "./loaded.ts"
import { ordersOf, ordersPipeline, type Orders } from "./orders.ts"
import { startProxy, type Cut, type Proxy, type ProxyOptions } from "./proxy.ts"

let database: ThrowAwayDatabase
let proxy: Proxy | undefined

beforeAll(async () => {
  database = await throwAwayDatabase({ url: await testDatabaseUrl() })
})
afterEach(async () => {
  await proxy?.close()
  proxy = undefined
})
afterAll(() => database.drop())

interface Trial {
  readonly name: string
  readonly mode: TableMode
  readonly orders: Orders
  readonly seed: number
}

test("a server that never answers COMMIT is given up after 30 s", async () => {
  const sleeps: number[] = []
  const clock = {
    ...systemPorts.clock,
    sleep: (ms: number, signal?: AbortSignal) => {
      sleeps.push(ms)
      return systemPorts.clock.sleep(ms >= 30_000 ? 200 : ms, signal)
    },
  }
  let commits = 0
  proxy = await startProxy(database.url, {
    onCommit: ({ publishing }) => (publishing && ++commits === 2 ? "swallow" : undefined),
  })
  const orders = ordersOf(70, 3, 30)
  const events: RunEvent[] = []
  const report = await runPipeline(ordersPipeline({ name: "swallow", mode: "upsert", orders: () => orders }), {
    database: proxy.url,
    ports: { ...systemPorts, clock },
    on: (event) => events.push(event),
  })
  expect(report.status).toBe("completed")
  expect(events.filter(({ type }) => type === "commit.resolved")).toMatchObject([{ outcome: "aborted" }])
  expect(sleeps).toContain(30_000)
  expect(events).toContainEqual(
    expect.objectContaining({
      type: "retry",
      code: "DB_UNAVAILABLE",
      message: "no answer to COMMIT within 30 s: the connection is given up",
    }),
  )
  await expectLoaded(database.url, "swallow", "upsert", orders)
  expect(publishedTimes(events)).toEqual(onceEach(orders))
})

const LOADS = 8

/** Runs again, as people do, until it ends well. */
async function runToTheEnd(trial: Trial, url: string, events: RunEvent[]): Promise<number> {
  const pipeline = ordersPipeline({ ...trial, orders: () => trial.orders, leaseMs: 500 })
  for (let times = 1; ; times++) {
    if (times > 50) throw new Error("it never ends")
    // Of a command that ended before it had a run, the server may not know yet that it is gone: that is waited for.
    const options = {
      database: url,
      wait: true,
      ports: impatientPorts(trial.seed * 100 + times),
      on: (event: RunEvent) => events.push(event),
    }
    const report = await runPipeline(pipeline, options).catch((error: unknown) => {
      // Before there is a run, a lost connection ends the command.
      expect(error).toMatchObject({ code: "DB_UNAVAILABLE" })
      return undefined
    })
    if (report?.status === "completed") return times
  }
}

test.each<{ what: string; plant: (chance: Random) => ProxyOptions }>([
  {
    what: "any commit of any connection",
    plant: (chance) => {
      const kinds: Cut[] = ["drop-ack", "drop-commit", "half-open"]
      return {
        onCommit: () => (chance.next() < 0.2 ? kinds[Math.floor(chance.next() * kinds.length)] : undefined),
      }
    },
  },
  {
    what: "any message of any connection",
    plant: (chance) => ({ onMessage: () => chance.next() < 0.015 }),
  },
])("cut at $what: nothing lost, nothing doubled", async ({ what, plant }) => {
  let [cuts, runs] = [0, 0]
  for (let seed = 1; seed <= LOADS; seed++) {
    const chance = seededRandom(seed)
    const mode = seed % 2 === 0 ? "append" : "upsert"
    const trial = { name: `${what.split(" ")[1]}_${seed}`, mode, orders: ordersOf(seed, 4, 50), seed } as const
    const planted = plant(chance)
    proxy = await startProxy(database.url, {
      ...planted,
      onMessage: (type) => {
        const cut = planted.onMessage?.(type) ?? false
        if (cut) cuts++
        return cut
      },
    })
    const events: RunEvent[] = []
    runs += await runToTheEnd(trial, proxy.url, events)
    cuts += proxy.cuts.length
    await expectLoaded(database.url, trial.name, mode, trial.orders)
    expect(publishedTimes(events)).toEqual(onceEach(trial.orders))
    await proxy.close()
  }
  console.log(`${what}: ${cuts} cuts, ${runs} runs for ${LOADS} loads; 0 lost, 0 doubled`)
  expect(cuts).toBeGreaterThan(20)
})

test("two parts of a run that find their connection lost at the same moment share the new one", async () => {
  let connects = 0
  const counting = {
    ...database,
    connect: (options?: ConnectOptions) => {
      connects++
      return database.connect(options)
    },
  }
  const signal = new AbortController().signal
  const connection = new Connection(counting, "holder", systemPorts, signal, () => undefined)
  const [first, same] = await Promise.all([connection.session(), connection.session()])
  expect(same).toBe(first)
  first.destroy()
  const [second, again] = await Promise.all([connection.session(), connection.session()])
  expect(again).toBe(second)
  expect(second).not.toBe(first)
  expect(connects).toBe(2)
  await connection.end()
})
