import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import type { ServerResponse } from "node:http"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { afterEach, describe, expect, it } from "vitest"
import { systemClock } from "../../src/core/clock.ts"
import { listBreakers, sharedBreakers } from "../../src/ledger/breakers.ts"
import { migrations } from "../../src/ledger/migrations/index.ts"
import { migrate } from "../../src/postgres/migrate.ts"
import { database, type Session } from "../../src/postgres/session.ts"
import { circuitBreaker, memoryBreakerStore, type BreakerStore } from "../../src/resilience/index.ts"
import { until } from "../faults/waiting.ts"
import { freshDatabase } from "../postgres/server.ts"
import type { ChildOptions } from "./breaker-child.ts"
import { endServers, httpServer } from "./servers.ts"

const CHILD = fileURLToPath(new URL("breaker-child.ts", import.meta.url))
const children: ChildProcess[] = []
const cleanups: (() => Promise<void>)[] = []

afterEach(async () => {
  for (const child of children.splice(0)) {
    if (child.exitCode === null && child.kill("SIGKILL")) await once(child, "close")
  }
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  await endServers()
})

async function opsDatabase(): Promise<{ url: string; session: Session }> {
  const fresh = await freshDatabase()
  cleanups.push(() => fresh.drop())
  const session = await database(fresh.url).connect()
  cleanups.push(() => session.end())
  await migrate(session, migrations)
  return { url: fresh.url, session }
}

/** What a process said, line by line: `ok`, or the code of the failure. */
function startChild(options: ChildOptions): { process: ChildProcess; said: string[] } {
  const child = spawn(process.execPath, [CHILD, JSON.stringify(options)], { stdio: ["ignore", "pipe", "inherit"] })
  children.push(child)
  const said: string[] = []
  createInterface(child.stdout).on("line", (line) => said.push(line))
  return { process: child, said }
}

/** A service whose answers the test decides on. */
async function service(): Promise<{
  url: string
  calls: { pid: number }[]
  inFlight: () => number
  mode: { value: "fail" | "hold" | "ok" }
  held: ServerResponse[]
}> {
  const calls: { pid: number }[] = []
  const held: ServerResponse[] = []
  const mode: { value: "fail" | "hold" | "ok" } = { value: "fail" }
  let inFlight = 0
  const { origin } = await httpServer((request, response) => {
    calls.push({ pid: Number(request.headers["x-process"]) })
    inFlight += 1
    response.on("close", () => (inFlight -= 1))
    if (mode.value === "fail") response.writeHead(500).end()
    if (mode.value === "ok") response.end("ok")
    if (mode.value === "hold") held.push(response)
  })
  return { url: origin, calls, inFlight: () => inFlight, mode, held }
}

describe("a breaker that three processes share", () => {
  it("opens once for all, lets one probe through at a time, survives the prober's death, and closes for all", async () => {
    const { url: databaseUrl, session } = await opsDatabase()
    const api = await service()
    const breaker = { minimumCalls: 10, openFor: 700, probes: 2, probeTimeout: 4_000, window: "1 minute" }
    const all = [0, 1, 2].map(() => startChild({ databaseUrl, url: api.url, breaker }))

    await until("all processes are refused", () => all.every(({ said }) => said.includes("CIRCUIT_OPEN")))
    // Ten failures between them open it; what was on its way then, one call for each other process, still arrives.
    const beforeOpen = api.calls.length
    expect(beforeOpen).toBeGreaterThanOrEqual(10)

    api.mode.value = "hold"
    const first = api.calls.length
    await until("a probe arrives", () => api.held.length === 1)
    const refusalsThen = all.map(({ said }) => said.length)
    await until(
      "all others go on being refused",
      () => all.filter(({ said }, i) => said.length > (refusalsThen[i] ?? 0) + 3).length >= 2,
    )
    expect(api.held).toHaveLength(1)
    expect(api.inFlight()).toBe(1)
    expect(await listBreakers(session)).toMatchObject([{ name: new URL(api.url).host, state: "half_open" }])

    const prober = all.find(({ process: child }) => child.pid === api.calls.at(-1)?.pid)
    prober?.process.kill("SIGKILL")
    await until("another process probes", () => api.held.length === 2)
    expect(api.calls.slice(first).map(({ pid }) => pid)).toHaveLength(2)
    expect(api.calls.at(-1)?.pid).not.toBe(prober?.process.pid)

    api.mode.value = "ok"
    const survivors = all.filter((one) => one !== prober)
    api.held.at(-1)?.end("ok")
    await until("both survivors get answers", () =>
      survivors.every(({ said }) => said.slice(-5).every((s) => s === "ok")),
    )
    await until("it is closed", async () => (await listBreakers(session))[0]?.state === "closed")
  })

  it("does not hammer three times: the calls until it opens are counted together", async () => {
    const { url: databaseUrl } = await opsDatabase()
    const api = await service()
    const breaker = { minimumCalls: 30, openFor: "1 hour", window: "1 minute" }
    const all = [0, 1, 2].map(() => startChild({ databaseUrl, url: api.url, breaker }))
    await until("all processes are refused", () => all.every(({ said }) => said.includes("CIRCUIT_OPEN")))
    expect(api.calls.length).toBeGreaterThanOrEqual(30)
    expect(api.calls.length).toBeLessThanOrEqual(32)
    expect(all.flatMap(({ said }) => said).filter((code) => code === "HTTP_5XX")).toHaveLength(api.calls.length)
  })
})

describe("the store of breakers", () => {
  const breakerOf = {
    state: "open" as const,
    openedAt: Date.UTC(2026, 0, 1),
    retryAt: Date.UTC(2026, 0, 2),
    stats: { a: [1] },
  }

  it("keeps what it is given, in memory and in the database alike, and lets only one writer win", async () => {
    const { url } = await opsDatabase()
    const shared = sharedBreakers(database(url))
    cleanups.push(() => shared.end())
    // The store in the database fits the port without knowing of it.
    const stores: BreakerStore[] = [memoryBreakerStore(systemClock), shared]
    for (const store of stores) {
      const empty = await store.read("api")
      expect(empty).toMatchObject({ version: 0, stored: undefined })
      expect(Math.abs(empty.now - Date.now())).toBeLessThan(60_000)
      const first = await Promise.all([1, 2, 3, 4].map(() => store.write("api", 0, breakerOf)))
      expect(first.filter(Boolean)).toHaveLength(1)
      const { version, stored } = await store.read("api")
      expect(stored).toEqual(breakerOf)
      const closed = { state: "closed" as const, openedAt: undefined, retryAt: undefined, stats: {} }
      const second = await Promise.all([1, 2, 3, 4].map(() => store.write("api", version, closed)))
      expect(second.filter(Boolean)).toHaveLength(1)
      expect((await store.read("api")).stored).toEqual(closed)
      expect((await store.read("other")).stored).toBeUndefined()
    }
  })

  it("connects again after its connection was cut", async () => {
    const { url, session } = await opsDatabase()
    const shared = sharedBreakers(database(url))
    cleanups.push(() => shared.end())
    await shared.write("api", 0, breakerOf)
    const { rows } = await session.query<{ cut: boolean }>(
      `SELECT pg_terminate_backend(pid, 10000) AS cut FROM pg_stat_activity
       WHERE application_name = 'spillway/breakers' AND datname = current_database()`,
    )
    expect(rows).toEqual([{ cut: true }])
    await until("it is reached again", () =>
      shared.read("api").then(
        ({ stored }) => stored?.state === "open",
        () => false,
      ),
    )
  })

  it("takes a row that somebody wrote by hand, or removed, as it is", async () => {
    const { url, session } = await opsDatabase()
    const shared = sharedBreakers(database(url), { staleAfterMs: 0 })
    cleanups.push(() => shared.end())
    await session.query(
      "INSERT INTO ops.breakers (name, state, retry_at) VALUES ('api', 'open', now() + interval '1 hour')",
    )
    const breaker = circuitBreaker({ name: "api", store: shared })
    await expect(breaker.execute(() => 1)).rejects.toMatchObject({ code: "CIRCUIT_OPEN" })
    await session.query('UPDATE ops.breakers SET state = \'half_open\', stats = \'{"probe": 7, "passed": "x"}\'')
    expect(await breaker.execute(() => 1)).toBe(1)
    await session.query("DELETE FROM ops.breakers")
    expect(await breaker.execute(() => 2)).toBe(2)
    expect(breaker.state).toBe("closed")
  })
})
