// node test/faults/kill-api.ts [N] [--seed S] [--only K] [--events 100000]
//
// Runs the example `analytics-api` over that many events, against a server where one request in ten fails, and looks whether
// every valid one is in the table once and every bad one is a dead letter, by the server's own list, and how often it was asked.
// Then, N times (default 20), a run over 2,000 events is killed at a random moment and an ordinary run follows: the same.
import "../examples/from-source.ts"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { createInterface } from "node:readline"
import type { Readable } from "node:stream"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { startServer, type AnalyticsServer, type RequestCounts } from "../../examples/analytics-api/api-server.ts"
import { systemPorts } from "../../src/core/ports.ts"
import { seededRandom } from "../../src/core/random.ts"
import { run, type Project, type RunReport } from "../../src/index.ts"
import { migrations } from "../../src/ledger/migrations/index.ts"
import { migrate } from "../../src/postgres/migrate.ts"
import { database } from "../../src/postgres/session.ts"
import { differencesFrom } from "../examples/analytics-state.ts"
import type { ApiOrders } from "./kill-api-child.ts"
import { PHASES, phaseAfter, type Phase } from "./kill-moments.ts"
import { KillServer } from "./kill-server.ts"

const CHILD = fileURLToPath(new URL("kill-api-child.ts", import.meta.url))
const HOOKS = new URL("../examples/from-source.ts", import.meta.url).href
const TOKEN = "token-of-the-kill-test"
const START = Date.UTC(2026, 0, 1)
const MINUTE = 60_000
const DAY = 24 * 60 * MINUTE
const PER_PAGE = 100
const FAILURE_RATE = 0.1
/** What the example reads once more. */
const LAG = 10 * MINUTE
/** Requests for one that is needed. */
const MOST_REQUESTS = 1.15
/** All data sets are so long. */
const SPAN = 2.4 * DAY
const SMALL = 2_000
const MORE = 500
/**
 * Pages that may be asked for once more after a kill: one whose batch was not committed, one that was copied meanwhile, two that were ready, one
 * under way; and one of the day that is not over, which a run that finds it published reads on.
 */
const PAGES_AGAIN = 6
/** Milliseconds between the call for the kill and the kill, where the run goes on. */
const LATEST_KILL = 40

/** Empty tables; or those of an earlier run, with events that came since. */
const SCENARIOS = ["first run", "second run"] as const
type Scenario = (typeof SCENARIOS)[number]

const EMPTY = "api_empty"
const LOADED = "api_loaded"

interface Case {
  readonly events: number
  readonly more: number
  readonly interval: number
  readonly retryAfter: number
}

const small = (scenario: Scenario): Case => ({
  events: SMALL,
  more: scenario === "first run" ? 0 : MORE,
  interval: SPAN / SMALL,
  retryAfter: 0,
})

/** A minute after the newest event. */
const nowOf = ({ events, more, interval }: Case): number => START + (events + more) * interval + MINUTE

class Bench {
  readonly #server: KillServer
  readonly #seed: number
  /** The address is part of what the ledger knows: all servers have the same one, after another. */
  #port = 0
  #project: Project | undefined

  constructor(server: KillServer, seed: number) {
    this.#server = server
    this.#seed = seed
  }

  async prepare(): Promise<void> {
    await this.#server.query(`CREATE DATABASE ${EMPTY} TEMPLATE template0`)
    const session = await database(this.#server.urlOf(EMPTY)).connect()
    await migrate(session, migrations)
    await session.end()
    await this.#server.query(`CREATE DATABASE ${LOADED} TEMPLATE ${EMPTY}`)
    const faults = await this.#withApi(small("first run"), async (api, one) => {
      const report = await this.#run(LOADED, one)
      return [...statusFaults(report), ...(await differencesFrom(api.truth(), this.#server.urlOf(LOADED)))]
    })
    if (faults.length > 0) throw new Error(`the undisturbed run is wrong:\n  ${faults.join("\n  ")}`)
  }

  /** One run that nothing disturbs; what is wrong, and a line about it. */
  async whole(events: number): Promise<{ faults: string[]; line: string }> {
    const one: Case = { events, more: 0, interval: SPAN / events, retryAfter: 1 }
    const name = await this.#server.copy(EMPTY, false)
    return this.#withApi(one, async (api) => {
      const started = performance.now()
      const report = await this.#run(name, one)
      const seconds = (performance.now() - started) / 1000
      const counts = api.counts()
      const faults = [
        ...statusFaults(report),
        ...(await differencesFrom(api.truth(), this.#server.urlOf(name))),
        ...requestFaults(counts, one),
      ]
      const again = await this.#run(name, one)
      const asked = api.counts().pages - counts.pages
      faults.push(...statusFaults(again))
      if (again.counts.inserted + again.counts.updated > 0) faults.push("the second run wrote rows")
      const most = 1 + Math.ceil(LAG / one.interval / PER_PAGE)
      if (asked > most) faults.push(`the second run was given ${asked} pages, for at most ${most}`)
      await this.#server.drop(name)
      const line = `${events} events: ${report.counts.inserted} rows, ${report.counts.deadLettered} dead letters, ${counts.requests} requests (${failuresOf(counts)} failed) for ${fewestPages(one)} pages, ${seconds.toFixed(1)} s`
      return { faults, line }
    })
  }

  /** What a run does that nothing disturbs, and the pages it is given. */
  undisturbed(scenario: Scenario): Promise<{ trail: readonly string[]; pages: number }> {
    return this.#withApi(small(scenario), async (api, one) => {
      const name = await this.#copy(scenario)
      const trail = await this.#child(name, one, undefined, false, 0)
      await this.#server.drop(name)
      if (trail.at(-1) !== "END completed") throw new Error(`the undisturbed ${scenario} ended so: ${trail.at(-1)}`)
      return { trail: trail.slice(0, -1), pages: api.counts().pages }
    })
  }

  /** A kill, the ordinary run after it, and what is wrong then. */
  kill({ scenario, killAt, standStill, delay }: Moment, pages: number): Promise<Outcome> {
    return this.#withApi(small(scenario), async (api, one) => {
      const name = await this.#copy(scenario)
      const url = this.#server.urlOf(name)
      const trail = await this.#child(name, one, killAt, standStill, delay)
      const faults: string[] = []
      const report = await this.#run(name, one).catch(
        (error: unknown) => void faults.push(`the next run threw ${String(error)}`),
      )
      faults.push(...(report === undefined ? [] : statusFaults(report)), ...(await differencesFrom(api.truth(), url)))
      const counts = api.counts()
      const more = counts.pages - pages
      if (more > PAGES_AGAIN) faults.push(`${counts.pages} pages were given, ${more} more than undisturbed`)
      const again = await this.#run(name, one)
      faults.push(...statusFaults(again))
      if (again.counts.inserted + again.counts.updated + again.counts.deadLettered > 0)
        faults.push(`the run after that wrote: ${JSON.stringify(again.counts)}`)
      await this.#server.drop(name)
      return { last: trail.at(-1) ?? "", phase: phaseAfter(trail), resumed: (report?.attempt ?? 1) > 1, more, faults }
    })
  }

  async #copy(scenario: Scenario): Promise<string> {
    return this.#server.copy(scenario === "first run" ? EMPTY : LOADED, false)
  }

  /** The API is there as long as `body` lasts. */
  async #withApi<T>(one: Case, body: (api: AnalyticsServer, one: Case) => Promise<T>): Promise<T> {
    const { events, interval, retryAfter } = one
    const options = { token: TOKEN, seed: this.#seed, start: START, failureRate: FAILURE_RATE }
    const api = await startServer({ ...options, port: this.#port, events, interval, retryAfter })
    this.#port = Number(new URL(api.url).port)
    process.env["ANALYTICS_URL"] = api.url
    process.env["ANALYTICS_SINCE"] = new Date(START).toISOString()
    process.env["ANALYTICS_TOKEN"] = TOKEN
    if (one.more > 0) api.add(one.more)
    try {
      return await body(api, one)
    } finally {
      await api.close()
    }
  }

  /** An ordinary run in this process. */
  async #run(name: string, one: Case): Promise<RunReport> {
    this.#project ??= (await import("../../examples/analytics-api/spillway.config.ts")).default
    const [runnable] = this.#project.pipelines
    if (runnable === undefined) throw new Error("the example has no pipeline")
    return run(runnable, {
      database: this.#server.urlOf(name),
      directory: this.#server.directory,
      ports: { ...systemPorts, clock: { ...systemPorts.clock, now: () => nowOf(one) } },
    })
  }

  /** A run in a process of its own, killed where it calls for it; what it did. */
  async #child(
    name: string,
    one: Case,
    killAt: number | undefined,
    standStill: boolean,
    delay: number,
  ): Promise<string[]> {
    const child = spawn(process.execPath, ["--import", HOOKS, CHILD], {
      env: { ...process.env, NODE_COMPILE_CACHE: join(this.#server.directory, "compiled") },
      stdio: ["pipe", "ignore", "inherit", "pipe"],
    })
    const exited = once(child, "exit")
    const orders: ApiOrders = {
      database: this.#server.urlOf(name),
      directory: this.#server.directory,
      now: nowOf(one),
      killAt,
      standStill,
    }
    child.stdin?.end(`${JSON.stringify(orders)}\n`)
    const trail: string[] = []
    for await (const line of createInterface(child.stdio[3] as Readable)) {
      if (line === "KILL") setTimeout(() => child.kill("SIGKILL"), standStill ? 0 : delay)
      else trail.push(line)
    }
    await exited
    return trail
  }
}

interface Moment {
  readonly number: number
  readonly scenario: Scenario
  readonly killAt: number
  readonly standStill: boolean
  readonly delay: number
}

interface Outcome {
  readonly last: string
  readonly phase: Phase
  readonly resumed: boolean
  /** Pages given in both runs beyond those of an undisturbed one. */
  readonly more: number
  readonly faults: readonly string[]
}

const statusFaults = ({ status, error, held }: RunReport): string[] =>
  status === "completed" ? [] : [`a run ended ${status}: ${error?.message ?? held[0]?.message}`]

const failuresOf = ({ failed }: RequestCounts): number => Object.values(failed).reduce((sum, count) => sum + count, 0)

/** Pages that hold the events of each day, when none is asked for twice and none in vain. */
function fewestPages({ events, interval }: Case): number {
  const days = Array.from({ length: Math.ceil((events * interval) / DAY) }, (_, day) =>
    Math.min(DAY, events * interval - day * DAY),
  )
  return days.reduce((sum, ofTheDay) => sum + Math.ceil(ofTheDay / interval / PER_PAGE), 0)
}

function requestFaults(counts: RequestCounts, one: Case): string[] {
  const fewest = fewestPages(one)
  const most = (MOST_REQUESTS * fewest) / (1 - FAILURE_RATE)
  return [
    ...(counts.requests > most ? [`${counts.requests} requests, for at most ${most.toFixed(0)}`] : []),
    ...(counts.pages > MOST_REQUESTS * fewest ? [`${counts.pages} pages were given, for ${fewest}`] : []),
    ...(counts.tooSoon > 0 ? [`${counts.tooSoon} requests came before the time that a 429 named`] : []),
    ...(counts.refused > 0 ? [`${counts.refused} requests were refused`] : []),
  ]
}

async function main(): Promise<boolean> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { seed: { type: "string" }, only: { type: "string" }, events: { type: "string", default: "100000" } },
  })
  const [kills, events] = [Number(positionals[0] ?? "20"), Number(values.events)]
  if (!Number.isInteger(kills) || kills < 0) throw new Error(`N is not a whole number: ${positionals[0]}`)
  const seed = values.seed === undefined ? Math.floor(Math.random() * 1e6) : Number(values.seed)
  const server = await KillServer.start()
  const outcomes: Outcome[] = []
  let failed = 0
  try {
    const bench = new Bench(server, seed)
    await bench.prepare()
    if (events > 0 && values.only === undefined) {
      const { faults, line } = await bench.whole(events)
      console.log(`seed ${seed}: ${line}`)
      if (faults.length > 0) console.log(`FAILED  0 --seed ${seed} --events ${events}\n  ${faults.join("\n  ")}`)
      failed += faults.length > 0 ? 1 : 0
    }
    const undisturbed = {
      "first run": await bench.undisturbed("first run"),
      "second run": await bench.undisturbed("second run"),
    }
    const { next } = seededRandom(seed)
    const moments: Moment[] = Array.from({ length: kills }, (_, n) => {
      const scenario = SCENARIOS[n % SCENARIOS.length] as Scenario
      const killAt = 1 + Math.floor(next() * undisturbed[scenario].trail.length)
      return { number: n + 1, scenario, killAt, standStill: next() < 0.5, delay: next() * LATEST_KILL }
    })
    for (const moment of moments) {
      const { number, scenario, killAt } = moment
      if (values.only !== undefined && Number(values.only) !== number) continue
      const outcome = await bench.kill(moment, undisturbed[scenario].pages)
      outcomes.push(outcome)
      if (outcome.faults.length === 0) continue
      failed++
      console.log(
        `FAILED  ${kills} --seed ${seed} --only ${number}: ${scenario}, step ${killAt}, after "${outcome.last}"\n  ${outcome.faults.join("\n  ")}`,
      )
    }
  } finally {
    await server.remove()
  }
  for (const phase of PHASES)
    console.log(`killed in ${phase.padEnd(12)} ${outcomes.filter((one) => one.phase === phase).length}`)
  console.log(
    `${outcomes.filter(({ resumed }) => resumed).length} runs were resumed; at most ${Math.max(0, ...outcomes.map(({ more }) => more))} pages were given again`,
  )
  console.log(`${outcomes.filter(({ faults }) => faults.length === 0).length} passed, ${failed} failed`)
  return failed === 0
}

process.exitCode = (await main()) ? 0 : 1
