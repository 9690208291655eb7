import { afterAll, beforeAll, expect, test } from "vitest"
import type { RunEvent } from "../../src/core/events.ts"
import { seededRandom } from "../../src/core/random.ts"
import type { TableMode } from "../../src/engine/definition.ts"
import { runPipeline } from "../../src/engine/run.ts"
import { throwAwayDatabase, type ThrowAwayDatabase } from "../../src/testing/index.ts"
import { testDatabaseUrl } from "../postgres/server.ts"
import { expectLoaded, onceEach, publishedTimes, recordsEach, stagedRecords } from "./loaded.ts"
import { ordersOf, ordersPipeline, type Orders } from "./orders.ts"
import { impatientPorts } from "./impatient.ts"
import { startProxy, type Cut, type CutMade, type Proxy } from "./proxy.ts"

let database: ThrowAwayDatabase
const proxies = new Set<Proxy>()

beforeAll(async () => {
  database = await throwAwayDatabase({ url: await testDatabaseUrl() })
})
afterAll(async () => {
  for (const proxy of proxies) await proxy.close()
  await database.drop()
})

interface Trial {
  readonly name: string
  readonly mode: TableMode
  readonly orders: Orders
  readonly seed: number
}

/** Loads first a part, then all with the first partition changed, so that there is something to update and to remove. */
async function load(trial: Trial, url: string, events: RunEvent[]): Promise<void> {
  const { name, mode, orders, seed } = trial
  const [first = ""] = Object.keys(orders)
  const before = { [first]: ordersOf(seed + 500, 1, 15)["p01"] ?? [] }
  let now: Orders = before
  const pipeline = ordersPipeline({ name, mode, orders: () => now })
  const options = { database: url, ports: impatientPorts(seed), on: (event: RunEvent) => events.push(event) }
  expect(await runPipeline(pipeline, options)).toMatchObject({ status: "completed", attempt: 1 })
  now = orders
  expect(await runPipeline(pipeline, options)).toMatchObject({ status: "completed", attempt: 1 })
}

const resolutions = (events: readonly RunEvent[]): string[] =>
  events.flatMap((event) => (event.type === "commit.resolved" ? [event.outcome] : []))

const outcomes = (cuts: readonly CutMade[]): string[] =>
  cuts.filter((cut) => cut.publishing).map(({ committed }) => (committed ? "committed" : "aborted"))

const CUTS_OF_EACH_KIND = 50

test.concurrent.each<{ cut: Cut; outcome: "committed" | "aborted" | "either" }>([
  { cut: "drop-ack", outcome: "committed" },
  { cut: "drop-commit", outcome: "aborted" },
  { cut: "half-open", outcome: "aborted" },
  { cut: "late-at-reconnect", outcome: "either" },
  { cut: "late-at-question", outcome: "either" },
  { cut: "late-after-answer", outcome: "aborted" },
])(`$cut, ${CUTS_OF_EACH_KIND} times: nothing lost, nothing doubled`, async ({ cut, outcome }) => {
  const found = { committed: 0, aborted: 0 }
  let runs = 0
  for (let seed = 1; found.committed + found.aborted < CUTS_OF_EACH_KIND; seed++) {
    const chance = seededRandom(seed)
    const mode = seed % 2 === 0 ? "append" : "upsert"
    const trial = { name: `${cut.replaceAll("-", "_")}_${seed}`, mode, orders: ordersOf(seed, 10, 15), seed } as const
    const proxy = await startProxy(database.url, {
      onCommit: ({ publishing }) => (publishing && chance.next() < 0.6 ? cut : undefined),
    })
    proxies.add(proxy)
    const events: RunEvent[] = []
    await load(trial, proxy.url, events)
    runs += 2
    expect(resolutions(events)).toEqual(outcomes(proxy.cuts))
    for (const resolved of outcomes(proxy.cuts)) found[resolved as keyof typeof found]++
    await expectLoaded(database.url, trial.name, mode, trial.orders)
    expect(publishedTimes(events)).toEqual({ ...onceEach(trial.orders), p01: 2 })
    expect(stagedRecords(events)).toEqual({ ...recordsEach(trial.orders), p01: 30 })
    await proxy.close()
    proxies.delete(proxy)
  }
  console.log(
    `${cut}: ${found.committed + found.aborted} publishing commits cut in ${runs} runs, ${found.committed} were committed, ${found.aborted} rolled back; 0 lost, 0 doubled`,
  )
  if (outcome !== "either") expect(found[outcome]).toBe(found.committed + found.aborted)
})
