// node test/faults/kill-api.ts [N] [--seed S] [--only K] [--events 100000]
//
// Runs the example `analytics-api` over that many events, against a server where one request in ten fails, and looks whether
// every valid one is in the table once and every bad one is a dead letter, by the server's own list, and how often it was asked.
// Then, N times (default 20), a run over 2,000 events is killed at a random moment and an ordinary run follows: the same.
import "../examples/from-source.ts"
import { fileURLToPath } from "node:url"
import { startServer, type AnalyticsServer, type RequestCounts } from "../../examples/analytics-api/api-server.ts"
import { systemPorts } from "../../src/core/ports.ts"
import { seededRandom } from "../../src/core/random.ts"
import { run, type Project, type RunReport } from "../../src/index.ts"
import { differencesFrom } from "../examples/analytics-state.ts"
import type { ApiOrders } from "./kill-api-child.ts"
import { killsOf, PHASES, phaseAfter, placeOf, type NamedKill, type Phase } from "./kill-moments.ts"
import type { KillServer } from "./kill-server.ts"
import { SteppingProcess, type Strike } from "./stepping-process.ts"
import type { SteppingOrders } from "./stepping.ts"
import { killTest, trialArguments, wholeNumber, type Outcome, type Trial } from "./trials.ts"
import { pass } from "./waiting.ts"

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
type Scenario = "first run" | "second run"

const EMPTY = "api_empty"
const LOADED = "api_loaded"
/** The database a scenario starts from. */
const startOf = (scenario: Scenario): string => (scenario === "first run" ? EMPTY : LOADED)

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
    await this.#server.create(EMPTY)
    await this.#server.query(`CREATE DATABASE ${LOADED} TEMPLATE ${EMPTY}`)
    const one = small("first run")
    const faults = await this.#withApi(one, async (api) => {
      const report = await this.#run(LOADED, one)
      return [...statusFaults(report), ...(await differencesFrom(api.truth(), this.#server.urlOf(LOADED)))]
    })
    if (faults.length > 0) throw new Error(`the undisturbed run is wrong:\n  ${faults.join("\n  ")}`)
  }

  /** One run that nothing disturbs; what is wrong, and a line about it. */
  whole(events: number): Promise<{ faults: string[]; line: string }> {
    const one: Case = { events, more: 0, interval: SPAN / events, retryAfter: 1 }
    return this.#withCopy(one, EMPTY, async (api, name) => {
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
      const line = `${events} events: ${report.counts.inserted} rows, ${report.counts.deadLettered} dead letters, ${counts.requests} requests (${failuresOf(counts)} failed) for ${fewestPages(one)} pages, ${seconds.toFixed(1)} s`
      return { faults, line }
    })
  }

  /** What a run does that nothing disturbs, and the pages it is given. */
  undisturbed(scenario: Scenario): Promise<{ trail: readonly string[]; pages: number }> {
    const one = small(scenario)
    return this.#withCopy(one, startOf(scenario), async (api, name) => {
      const trail = await this.#child(name, one, { killAt: undefined })
      if (trail.at(-1) !== "END completed") throw new Error(`the undisturbed ${scenario} ended so: ${trail.at(-1)}`)
      return { trail: trail.slice(0, -1), pages: api.counts().pages }
    })
  }

  /** A kill, the ordinary run after it, and what is wrong then. */
  kill({ run: scenario, killAt, standStill, delay }: ApiKill, pages: number): Promise<ApiOutcome> {
    const one = small(scenario)
    return this.#withCopy(one, startOf(scenario), async (api, name) => {
      const url = this.#server.urlOf(name)
      const trail = await this.#child(name, one, { killAt, standStill }, async (kill) => {
        await pass(delay)
        kill()
      })
      const report = await this.#run(name, one)
      const faults = [...statusFaults(report), ...(await differencesFrom(api.truth(), url))]
      const counts = api.counts()
      const more = counts.pages - pages
      if (more > PAGES_AGAIN) faults.push(`${counts.pages} pages were given, ${more} more than undisturbed`)
      const again = await this.#run(name, one)
      faults.push(...statusFaults(again))
      if (again.counts.inserted + again.counts.updated + again.counts.deadLettered > 0)
        faults.push(`the run after that wrote: ${JSON.stringify(again.counts)}`)
      return { last: trail.at(-1) ?? "", phase: phaseAfter(trail), resumed: report.attempt > 1, more, faults }
    })
  }

  /** An API, and a copy of that database, for as long as `body` lasts. */
  #withCopy<T>(one: Case, template: string, body: (api: AnalyticsServer, name: string) => Promise<T>): Promise<T> {
    return this.#withApi(one, (api) => this.#server.withCopy(template, (name) => body(api, name)))
  }

  async #withApi<T>(one: Case, body: (api: AnalyticsServer) => Promise<T>): Promise<T> {
    const { events, interval, retryAfter } = one
    const options = { token: TOKEN, seed: this.#seed, start: START, failureRate: FAILURE_RATE }
    const api = await startServer({ ...options, port: this.#port, events, interval, retryAfter })
    this.#port = Number(new URL(api.url).port)
    process.env["ANALYTICS_URL"] = api.url
    process.env["ANALYTICS_SINCE"] = new Date(START).toISOString()
    process.env["ANALYTICS_TOKEN"] = TOKEN
    if (one.more > 0) api.add(one.more)
    try {
      return await body(api)
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

  /** A run in a process of its own; what it did. */
  #child(name: string, one: Case, orders: SteppingOrders, strike?: Strike): Promise<string[]> {
    const { directory, cache } = this.#server
    const place = { database: this.#server.urlOf(name), directory, now: nowOf(one) }
    return new SteppingProcess<ApiOrders>(CHILD, { cache, imports: [HOOKS] }).follow({ ...place, ...orders }, strike)
  }
}

interface ApiKill extends NamedKill<Scenario>, Trial {
  readonly standStill: boolean
  readonly delay: number
}

interface ApiOutcome extends Outcome {
  readonly phase: Phase
  readonly resumed: boolean
  /** Pages given in both runs beyond those of an undisturbed one. */
  readonly more: number
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

function apiKills(trails: Readonly<Record<Scenario, readonly string[]>>, count: number, seed: number): ApiKill[] {
  const random = seededRandom(seed)
  return killsOf(trails, [], { count, random }).map((kill) => {
    const standStill = random.next() < 0.5
    const delay = standStill ? 0 : random.next() * LATEST_KILL
    const how = standStill ? "standing still" : `${delay.toFixed(1)} ms later`
    return { ...kill, standStill, delay, about: `${kill.run}, ${placeOf(kill.killAt)}, ${how}` }
  })
}

const args = trialArguments(20, { events: "100000" })
const events = wholeNumber("--events", args.further.events)
await killTest(args, async (server, trials) => {
  const { seed, count, only } = args
  const bench = new Bench(server, seed)
  await bench.prepare()
  if (events > 0 && only === undefined) {
    const { faults, line } = await bench.whole(events)
    console.log(`seed ${seed}: ${line}`)
    trials.judge({ kind: "undisturbed", about: "all events" }, `0 --seed ${seed} --events ${events}`, { faults })
  }
  const first = await bench.undisturbed("first run")
  const second = await bench.undisturbed("second run")
  const pages = { "first run": first.pages, "second run": second.pages }
  const kills = apiKills({ "first run": first.trail, "second run": second.trail }, count, seed)
  const done = await trials.play(kills, (kill) => bench.kill(kill, pages[kill.run]))
  const outcomes = done.map(({ outcome }) => outcome)
  for (const phase of PHASES)
    console.log(`killed in ${phase.padEnd(12)} ${outcomes.filter((one) => one.phase === phase).length}`)
  const resumed = outcomes.filter((one) => one.resumed).length
  const most = Math.max(0, ...outcomes.map(({ more }) => more))
  console.log(`${resumed} runs were resumed; at most ${most} pages were given again`)
})
