import { afterAll, beforeAll, describe, expect, test, vi } from "vitest"
import {
  startServer,
  type AnalyticsServer,
  type RequestCounts,
  type ServerOptions,
} from "../../examples/analytics-api/api-server.ts"
import { systemPorts, type Ports } from "../../src/core/ports.ts"
import type { RunOptions } from "../../src/engine/run.ts"
import type { Pipeline, RunReport } from "../../src/index.ts"
import { digest, testBed, unbalanced, type Bed } from "../engine/bed.ts"
import { differencesFrom } from "./analytics-state.ts"

// The example imports the package by its name, which would be what was last built.
vi.mock("spillway", () => import("../../src/index.ts"))
vi.mock("spillway/sources", () => import("../../src/sources/index.ts"))
vi.mock("spillway/schema", () => import("../../src/schema/index.ts"))

const TOKEN = "token-of-the-tests"
const START = Date.UTC(2026, 0, 1)
const SECOND = 1_000
const MINUTE = 60 * SECOND
const DAY = 24 * 60 * MINUTE
/** 6,000 events: two whole days and the greater part of a third. */
const INTERVAL = 40 * SECOND
const EVENTS = 6_000
const FAILURE_RATE = 0.1
const PER_PAGE = 100
const EVENTS_TABLE = "analytics.events"

/** The example takes the address when it is loaded: a second server has the same one. */
let port = 0

/** With it, the first events that come later are minutes older than the newest before. */
const SEED = 67

const settings = (): ServerOptions => ({
  port,
  token: TOKEN,
  seed: SEED,
  start: START,
  interval: INTERVAL,
  events: EVENTS,
  failureRate: FAILURE_RATE,
  retryAfter: 0,
})

/** The example with a server and a database of its own. */
class Example {
  readonly #bed: Bed
  #server: AnalyticsServer
  readonly #pipeline: Pipeline
  #made = EVENTS

  private constructor(bed: Bed, server: AnalyticsServer, pipeline: Pipeline) {
    this.#bed = bed
    this.#server = server
    this.#pipeline = pipeline
  }

  static async begin(options: { malformedRate?: number } = {}): Promise<Example> {
    const server = await startServer({ ...settings(), ...options })
    port = Number(new URL(server.url).port)
    vi.stubEnv("ANALYTICS_URL", server.url)
    vi.stubEnv("ANALYTICS_SINCE", new Date(START).toISOString())
    vi.stubEnv("ANALYTICS_TOKEN", TOKEN)
    const project = (await import("../../examples/analytics-api/spillway.config.ts")).default
    return new Example(await testBed(), server, project.pipelines[0] as Pipeline)
  }

  get bed(): Bed {
    return this.#bed
  }

  get server(): AnalyticsServer {
    return this.#server
  }

  get pipeline(): Pipeline {
    return this.#pipeline
  }

  /** The same events, of which no more are malformed than usual. */
  async mend(): Promise<void> {
    await this.#server.close()
    this.#server = await startServer(settings())
  }

  /** More events, which takes its time. */
  add(count: number): void {
    this.#made += count
    this.#server.add(count)
  }

  /** A run a minute after the newest event, and the requests it made. */
  async run(options: Partial<RunOptions> = {}): Promise<{ report: RunReport; requests: RequestCounts }> {
    const before = this.#server.counts()
    const now = START + this.#made * INTERVAL + MINUTE
    const ports: Ports = { ...systemPorts, clock: { ...systemPorts.clock, now: () => now } }
    const report = await this.#bed.run(this.#pipeline, { ports, ...options })
    return { report, requests: difference(this.#server.counts(), before) }
  }

  differences(isMended = false): Promise<string[]> {
    return differencesFrom(this.#server.truth(), this.#bed.url, isMended)
  }

  async end(): Promise<void> {
    vi.unstubAllEnvs()
    await this.#server.close()
    await this.#bed.end()
  }
}

const difference = (now: RequestCounts, before: RequestCounts): RequestCounts => ({
  requests: now.requests - before.requests,
  pages: now.pages - before.pages,
  differentPages: now.differentPages - before.differentPages,
  failed: Object.fromEntries(
    Object.entries(now.failed).map(([fault, count]) => [
      fault,
      count - before.failed[fault as keyof typeof now.failed],
    ]),
  ) as RequestCounts["failed"],
  refused: now.refused - before.refused,
  tooSoon: now.tooSoon - before.tooSoon,
})

const failures = ({ failed }: RequestCounts): number => Object.values(failed).reduce((sum, count) => sum + count, 0)

/** Pages that hold the events of each day, when no page is asked for twice and none in vain. */
function fewestPages(events: number): number {
  let pages = 0
  for (let day = 0; day * DAY < events * INTERVAL; day++) {
    const ofTheDay = Math.min(DAY, events * INTERVAL - day * DAY) / INTERVAL
    pages += Math.ceil(ofTheDay / PER_PAGE)
  }
  return pages
}

describe("an API that fails one time in ten", () => {
  let example: Example
  beforeAll(async () => {
    example = await Example.begin()
  })
  afterAll(() => example.end())

  test("gives each valid event once and each bad one as a dead letter, and is asked little more than it must be", async () => {
    const { report, requests } = await example.run()
    expect(report).toMatchObject({ status: "completed", partitions: { total: 3, published: 3, held: 0 } })
    expect(await example.differences()).toEqual([])
    expect(await unbalanced(example.bed, "analytics_events")).toEqual([])
    const { valid, bad } = example.server.truth()
    expect(report.counts).toMatchObject({ read: EVENTS, inserted: valid.length, deadLettered: bad.length })
    expect(failures(requests)).toBeGreaterThan(3)
    expect(requests.refused).toBe(0)
    expect(requests.requests).toBeLessThanOrEqual((1.15 * fewestPages(EVENTS)) / (1 - FAILURE_RATE))
    expect(requests.pages).toBeLessThanOrEqual(1.15 * fewestPages(EVENTS))
  })

  test("every dead letter says what is wrong, and where it stood", async () => {
    const { bad } = example.server.truth()
    const letters = await example.bed.rows<{ why: string; source: { page?: string }; raw: string }>(
      `SELECT concat_ws(' ', error_code, path, rule) AS why, source, convert_from(raw, 'UTF8') AS raw FROM ops.dead_letters`,
    )
    const found = new Map(letters.map(({ why, raw }) => [JSON.stringify(JSON.parse(raw)), why]))
    const reasons = new Map<string, Set<string>>()
    for (const { sent, why } of bad)
      reasons.set(why, (reasons.get(why) ?? new Set()).add(found.get(JSON.stringify(sent)) ?? "none"))
    expect(Object.fromEntries([...reasons].map(([why, said]) => [why, [...said].join()]))).toEqual({
      "the user is missing": "VALIDATION user_id invalid_type",
      "the user is null": "VALIDATION user_id invalid_type",
      "the user is blank": "VALIDATION user_id too_small",
      "the type is unknown": "VALIDATION event_type invalid_value",
      "the type is missing": "VALIDATION event_type invalid_value",
      "before 2020": "QUALITY_GATE timestamp range(timestamp)",
      "the time is missing": "VALIDATION timestamp invalid_type",
      "the time is no time": "VALIDATION timestamp timestamp",
      "not an object": "DECODE not_object",
    })
    expect(letters.filter(({ source }) => !/^\d+$/.test(source.page ?? ""))).toEqual([])
  })

  test("with nothing new is asked once for the day that is not over", async () => {
    const before = await digest(example.bed, EVENTS_TABLE)
    const { report, requests } = await example.run()
    expect(report.status).toBe("completed")
    expect(report.counts).toMatchObject({ inserted: 0, updated: 0, deadLettered: 0 })
    expect(requests.pages).toBe(1)
    expect(requests.requests).toBe(1 + failures(requests))
    expect(await digest(example.bed, EVENTS_TABLE)).toBe(before)
    expect(await example.differences()).toEqual([])
  })

  test("with more events is asked for those only, late ones included, on into the next day", async () => {
    const before = new Set(example.server.truth().valid.map(({ timestamp }) => timestamp))
    const newest = [...before].sort().at(-1) as string
    example.add(1_000)
    const fresh = example.server.truth().valid.filter(({ timestamp }) => !before.has(timestamp))
    expect(fresh.filter(({ timestamp }) => timestamp < newest)).not.toEqual([])
    const { report, requests } = await example.run()
    expect(report.status).toBe("completed")
    expect(report.counts.inserted).toBeGreaterThanOrEqual(fresh.length)
    expect(await example.differences()).toEqual([])
    // Ten pages, one more because of the two days, one because of what is read once more for the late ones.
    expect(requests.pages).toBeLessThanOrEqual(12)
  })

  test("is read from the beginning with --full, and no row is written", async () => {
    const before = await digest(example.bed, EVENTS_TABLE)
    const { report, requests } = await example.run({ full: true })
    expect(report.status).toBe("completed")
    expect(report.counts).toMatchObject({ read: EVENTS + 1_000, inserted: 0, updated: 0, deleted: 0 })
    expect(requests.pages).toBeGreaterThanOrEqual(fewestPages(EVENTS + 1_000))
    expect(await digest(example.bed, EVENTS_TABLE)).toBe(before)
    expect(await example.differences()).toEqual([])
  })

  test("never sees its token in the ledger", async () => {
    const tables = await example.bed.rows<{ name: string }>(
      `SELECT format('%I.%I', table_schema, table_name) AS name FROM information_schema.tables
       WHERE table_schema IN ('ops', 'analytics') AND table_type = 'BASE TABLE'`,
    )
    expect(tables.length).toBeGreaterThan(10)
    for (const { name } of tables)
      expect(await example.bed.value(`SELECT count(*)::int FROM ${name} t WHERE t::text LIKE '%${TOKEN}%'`)).toBe(0)
  })

  test("is read every hour", () => {
    expect(example.pipeline.schedule).toMatchObject({ cron: "5 * * * *" })
  })
})

describe("an API with more bad items than one in twenty", () => {
  let example: Example
  beforeAll(async () => {
    example = await Example.begin({ malformedRate: 0.12 })
  })
  afterAll(() => example.end())

  test("publishes nothing, keeps the dead letters, and stays where it was", async () => {
    const { report } = await example.run()
    expect(report).toMatchObject({ partitions: { total: 3, published: 0, held: 3 } })
    expect(report.held[0]).toMatchObject({ code: "QUALITY_GATE" })
    expect(report.held[0]?.message).toMatch(/passRate: expected at least 95 ?% good records, found 8\d/)
    expect(await example.bed.value(`SELECT count(*)::int FROM ${EVENTS_TABLE}`)).toBe(0)
    const { bad } = example.server.truth()
    const letters = await example.bed.rows<{ raw: string }>(
      `SELECT convert_from(raw, 'UTF8') AS raw FROM ops.dead_letters WHERE status = 'pending'`,
    )
    expect(letters.map(({ raw }) => JSON.stringify(JSON.parse(raw))).sort()).toEqual(
      bad.map(({ sent }) => JSON.stringify(sent)).sort(),
    )
    expect(await example.bed.rows(`SELECT position FROM ops.source_positions WHERE position <> 'null'`)).toEqual([])
  })

  test("is read again by every run, and loaded when it is mended", async () => {
    const again = await example.run()
    expect(again.report).toMatchObject({ partitions: { published: 0, held: 3 } })
    expect(again.report.held.reduce((sum, { read }) => sum + (read ?? 0), 0)).toBe(EVENTS)
    expect(again.requests.pages).toBeGreaterThanOrEqual(fewestPages(EVENTS))
    await example.mend()
    const { report } = await example.run()
    expect(report).toMatchObject({ status: "completed", counts: { read: EVENTS } })
    expect(await example.differences(true)).toEqual([])
  })
})
