import { execFile } from "node:child_process"
import { cp, mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import pg from "pg"
import { afterAll, beforeAll, expect, test } from "vitest"
import { startServer, type AnalyticsServer } from "../../examples/analytics-api/api-server.ts"
import { freshDatabase, type FreshDatabase } from "../postgres/server.ts"

const EXAMPLE = fileURLToPath(new URL("../../examples/analytics-api", import.meta.url))
const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url))
const HOOKS = new URL("from-source.ts", import.meta.url).href
const TOKEN = "token-of-the-tests"
const DAY = 24 * 60 * 60_000
const INTERVAL = 30_000
/** As many as the example has when it begins. */
const EVENTS = 20_000

let database: FreshDatabase
let folder: string
let server: AnalyticsServer
let env: Record<string, string>
let client: pg.Client

beforeAll(async () => {
  database = await freshDatabase()
  client = new pg.Client({ connectionString: database.url })
  await client.connect()
  folder = await mkdtemp(join(tmpdir(), "spillway-analytics-"))
  await cp(EXAMPLE, folder, { recursive: true, filter: (path) => !path.includes(".spillway") })
  const start = Math.floor(Date.now() / DAY) * DAY - 7 * DAY
  server = await startServer({ token: TOKEN, seed: 2, start, interval: INTERVAL, retryAfter: 0, events: EVENTS })
  env = { ANALYTICS_URL: server.url, ANALYTICS_TOKEN: TOKEN, ANALYTICS_SINCE: new Date(start).toISOString() }
})
afterAll(async () => {
  await server.close()
  await client.end()
  await database.drop()
  await rm(folder, { recursive: true, force: true })
})

interface Answer {
  readonly code: number
  readonly data: Record<string, unknown>
}

const spillway = (...args: string[]): Promise<Answer> =>
  new Promise((resolve, reject) => {
    const all = ["--import", HOOKS, MAIN, ...args, "--project", folder, "--json"]
    const options = { env: { ...process.env, DATABASE_URL: database.url, ...env }, cwd: folder, maxBuffer: 1e8 }
    execFile(process.execPath, all, options, (error, stdout, stderr) => {
      if (stdout === "") return reject(new Error(`nothing on stdout; stderr: ${stderr}`, { cause: error }))
      const { data } = JSON.parse(stdout) as { data: Record<string, unknown> }
      return resolve({ code: Number(error?.code ?? 0), data })
    })
  })

async function lines(sql: string): Promise<string[]> {
  return (await client.query<{ line: string }>(sql)).rows.map(({ line }) => line)
}

const states = (): Promise<string[]> =>
  lines("SELECT status || ' ' || count(*) AS line FROM ops.dead_letters GROUP BY status ORDER BY status")
const rows = (): Promise<string[]> =>
  lines(
    `SELECT concat_ws(' ', user_id, to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), event_type) AS line
     FROM analytics.events ORDER BY 1`,
  )
const written = (): Promise<string[]> =>
  lines("SELECT md5(string_agg(ctid::text || xmin::text, ',' ORDER BY ctid)) AS line FROM analytics.events")

interface Sent {
  readonly user_id: string
  readonly session_id: string | null
  readonly event: string
  readonly timestamp: string
  readonly properties: Record<string, unknown>
}

/** By why the server spoilt an item: the row that is in it all the same; undefined where nothing tells it. */
const mendable: Record<string, (sent: Sent) => string | undefined> = {
  "the user is missing": ({ session_id, timestamp, event }) => row(session_id, timestamp, event),
  "the user is null": ({ session_id, timestamp, event }) => row(session_id, timestamp, event),
  "the user is blank": ({ session_id, timestamp, event }) => row(session_id, timestamp, event),
  "the type is unknown": ({ user_id, timestamp, properties }) => row(user_id, timestamp, typeOf(properties)),
  "the type is missing": ({ user_id, timestamp, properties }) => row(user_id, timestamp, typeOf(properties)),
}
const typeOf = (properties: Record<string, unknown>): string =>
  "currency" in properties ? "purchase" : "path" in properties ? "page_view" : "click"
const plain = (type: string): string =>
  ["page_view", "click", "sign_up", "purchase", "logout"].find(
    (known) => known.replace("_", "") === type.toLowerCase().replaceAll(/[^a-z]/g, ""),
  ) ?? type
const row = (user: string | null, timestamp: string, type: string): string | undefined =>
  user === null ? undefined : `${user} ${new Date(timestamp).toISOString()} ${plain(type)}`

test("the letters of the example are mended and loaded once, the others given up; the second time nothing changes", async () => {
  expect((await spillway("run")).code).toBe(0)
  const { valid, bad } = server.truth()
  const before = await rows()
  expect(before).toHaveLength(valid.length)
  expect(await states()).toEqual([`pending ${bad.length}`])
  expect(bad.length).toBeGreaterThan(350)
  const mended = bad.flatMap(({ sent, why }) => mendable[why]?.(sent as Sent) ?? [])
  expect(mended.length).toBeGreaterThan(150)

  const plan = await spillway("replay-dlq", "--patch", "fix.ts#fix", "--dry-run")
  expect(plan.code).toBe(0)
  expect(await states()).toEqual([`pending ${bad.length}`])

  const replayed = await spillway("replay-dlq", "--patch", "fix.ts#fix", "--yes")
  expect(replayed.data).toMatchObject({ replays: [{ status: "completed" }] })
  expect(replayed.code).toBe(0)
  expect(await states()).toEqual([`discarded ${bad.length - mended.length}`, `replayed ${mended.length}`])
  const after = [...new Set([...before, ...mended])].sort()
  expect((await rows()).sort()).toEqual(after)

  const ctids = await written()
  const again = await spillway("replay-dlq", "--patch", "fix.ts#fix", "--yes")
  expect(again.code).toBe(0)
  expect((await spillway("run")).code).toBe(0)
  expect((await spillway("run", "--full")).code).toBe(0)
  expect(await written()).toEqual(ctids)
  expect(await states()).toEqual([`discarded ${bad.length - mended.length}`, `replayed ${mended.length}`])
})
