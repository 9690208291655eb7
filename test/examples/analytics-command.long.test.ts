import { cp, mkdtemp, rm } from "node:fs/promises"
import { createServer, type AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { execFile } from "node:child_process"
import pg from "pg"
import { afterEach, beforeEach, expect, test } from "vitest"
import { startServer } from "../../examples/analytics-api/api-server.ts"
import { freshDatabase, type FreshDatabase } from "../postgres/server.ts"

const EXAMPLE = fileURLToPath(new URL("../../examples/analytics-api", import.meta.url))
const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url))
const HOOKS = new URL("from-source.ts", import.meta.url).href
const TOKEN = "token-of-the-tests"
const INTERVAL = 60_000
const DAY = 24 * 60 * 60_000

let database: FreshDatabase
let folder: string

beforeEach(async () => {
  database = await freshDatabase()
  folder = await mkdtemp(join(tmpdir(), "spillway-analytics-"))
  await cp(EXAMPLE, folder, { recursive: true, filter: (path) => !path.includes(".spillway") })
})
afterEach(async () => {
  await database.drop()
  await rm(folder, { recursive: true, force: true })
})

interface Answer {
  readonly code: number
  readonly data: unknown
  readonly stderr: string
}

/** `spillway … --project FOLDER --json`, from source. */
function spillway(args: readonly string[], env: Record<string, string>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const all = ["--import", HOOKS, MAIN, ...args, "--project", folder, "--json"]
    execFile(
      process.execPath,
      all,
      { env: { ...process.env, DATABASE_URL: database.url, ...env }, maxBuffer: 1e8 },
      (error, stdout, stderr) => {
        if (stdout === "") reject(new Error(`nothing on stdout; stderr: ${stderr}`, { cause: error }))
        else resolve({ code: Number(error?.code ?? 0), data: JSON.parse(stdout), stderr })
      },
    )
  })
}

async function value(sql: string): Promise<unknown> {
  const client = new pg.Client({ connectionString: database.url })
  await client.connect()
  try {
    return Object.values((await client.query<Record<string, unknown>>(sql)).rows[0] ?? {})[0]
  } finally {
    await client.end()
  }
}

function freePort(): Promise<string> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(String(port)))
    })
  })
}

/** Of `run`: what was read, inserted and set aside. */
const countsOf = ({ data }: Answer): unknown => (data as { data: { runs: { counts: unknown }[] } }).data.runs[0]?.counts

test("one command runs the example, with a server of its own; again, it reads on", async () => {
  const env = { ANALYTICS_PORT: await freePort() }
  const first = await spillway(["run"], env)
  expect(first.stderr).not.toMatch(/error\[/)
  expect(first.code).toBe(0)
  expect(await value("SELECT count(*) > 19000 FROM analytics.events")).toBe(true)
  expect(await value("SELECT count(*) BETWEEN 300 AND 500 FROM ops.dead_letters")).toBe(true)
  const second = await spillway(["run"], env)
  expect(second.code).toBe(0)
  expect((countsOf(second) as { read: number }).read).toBeLessThan(200)
})

const dayText = (time: number): string => new Date(time).toISOString().slice(0, 10)

/** An API with events of the last three days. */
async function withApi(
  options: { malformedRate?: number },
  body: (env: Record<string, string>, start: number) => Promise<void>,
): Promise<void> {
  const start = Math.floor(Date.now() / DAY) * DAY - 3 * DAY
  const settings = { token: TOKEN, seed: 5, start, interval: INTERVAL, retryAfter: 0 }
  const server = await startServer({ ...settings, events: (3 * DAY) / INTERVAL, ...options })
  try {
    const since = new Date(start).toISOString()
    await body({ ANALYTICS_URL: server.url, ANALYTICS_TOKEN: TOKEN, ANALYTICS_SINCE: since }, start)
  } finally {
    await server.close()
  }
}

test("a backfill reads the days that it names", () =>
  withApi({}, async (env, start) => {
    const day = dayText(start + DAY)
    const { code, stderr } = await spillway(["backfill", "analytics_events", "--start", day, "--end", day], env)
    expect(stderr).not.toMatch(/error\[/)
    expect(code).toBe(0)
    expect(
      await value("SELECT string_agg(DISTINCT (timestamp AT TIME ZONE 'UTC')::date::text, ' ') FROM analytics.events"),
    ).toBe(day)
    expect(await value("SELECT count(*) > 1300 FROM analytics.events")).toBe(true)
  }))

test("too many bad items: nothing is published, exit 1 and the reason", () =>
  withApi({ malformedRate: 0.12 }, async (env, start) => {
    const days = [start, start + DAY, start + 2 * DAY].map((day) => `analytics ${dayText(day)}`)
    const answer = await spillway(["run", "analytics_events", "--partition", ...days], env)
    expect(answer.code).toBe(1)
    expect(JSON.stringify(answer.data)).toContain("passRate: expected at least 95")
    expect(JSON.stringify(answer)).not.toContain(TOKEN)
    expect(await value("SELECT count(*)::int FROM analytics.events")).toBe(0)
    expect(await value("SELECT count(*) > 400 FROM ops.dead_letters WHERE status = 'pending'")).toBe(true)
  }))

test("without the token the run ends with what to do", () =>
  withApi({}, async ({ ANALYTICS_TOKEN: _, ...env }) => {
    const answer = await spillway(["run"], env)
    expect(answer.code).toBe(2)
    expect(JSON.stringify(answer.data)).toContain("ANALYTICS_TOKEN")
  }))

test("a wrong token is said, and not repeated", () =>
  withApi({}, async (env) => {
    const answer = await spillway(["run"], { ...env, ANALYTICS_TOKEN: "another-token-than-that" })
    expect(answer.code).toBe(2)
    expect(answer.data).toMatchObject({ ok: false, error: { code: "AUTH" } })
    expect(JSON.stringify(answer)).not.toContain("another-token-than-that")
  }))
