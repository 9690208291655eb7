import pg from "pg"
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest"
import { freshDatabase, type FreshDatabase } from "../postgres/server.ts"
import { endServers } from "../resilience/servers.ts"
import { sendJson, testApi, type TestApi } from "../sources/rest-api.ts"
import { envelope, projectFolder, spillway, SPILLWAY, ZOD, type Answer, type TestProject } from "./command-line.ts"

const SOURCES = new URL("../../src/sources/index.ts", import.meta.url).href
const DAY = 86_400_000
const START = Date.UTC(2026, 0, 1)

let fresh: FreshDatabase
let folder: TestProject
let client: pg.Client
let api: TestApi

beforeAll(async () => {
  fresh = await freshDatabase()
  // Two records a day, for six days.
  const items = Array.from({ length: 12 }, (_, id) => ({ id, at: new Date(START + (id * DAY) / 2).toISOString() }))
  api = await testApi((_request, response, url) => {
    const [since = "", until = ""] = [url.searchParams.get("since") ?? "", url.searchParams.get("until") ?? ""]
    sendJson(response, { items: items.filter(({ at }) => at >= since && at < until) })
  })
  folder = await projectFolder({
    "spillway.config.ts": `
      import { pipeline, project, table } from "${SPILLWAY}"
      import { rest } from "${SOURCES}"
      import { z } from "${ZOD}"
      export default project({ pipelines: [pipeline({
        name: "visits",
        source: rest({
          url: "${api.origin}/visits",
          name: "site visits",
          items: "items",
          incremental: { cursor: "at", param: "since", endParam: "until", by: "day", start: "2026-01-01T00:00:00.000Z", end: "2026-01-07T00:00:00.000Z" },
        }),
        schema: z.object({ id: z.int(), at: z.string() }),
        sink: table("web.visits", { key: ["id"] }),
      })] })`,
  })
  client = new pg.Client({ connectionString: fresh.url })
  await client.connect()
})
afterAll(async () => {
  await client.end()
  await fresh.drop()
  await folder.remove()
  await endServers()
})
beforeEach(() => (api.asked.length = 0))

const run = (...args: string[]): Promise<Answer> =>
  spillway(["run", "visits", ...args, "--project", folder.directory], { DATABASE_URL: fresh.url })

const askedDays = (): (string | undefined)[] =>
  api.asked.map((path) => new URL(path, api.origin).searchParams.get("since")?.slice(0, 10))

const ids = async (): Promise<number[]> =>
  (await client.query<{ id: number }>("SELECT id::int FROM web.visits ORDER BY id")).rows.map(({ id }) => id)

it("reads only the days that are asked for, by range, by date and by name", async () => {
  expect(await run("--from", "2026-01-03", "--to", "2026-01-04")).toMatchObject({ code: 0 })
  expect(askedDays()).toEqual(["2026-01-03", "2026-01-04"])
  expect(await ids()).toEqual([4, 5, 6, 7])

  expect(await run("--partition", "2026-01-01", "--partition", "site visits 2026-01-05")).toMatchObject({ code: 0 })
  expect(askedDays().slice(2)).toEqual(["2026-01-01", "2026-01-05"])
  expect(await ids()).toEqual([0, 1, 4, 5, 6, 7, 8, 9])

  const plan = await run("--year", "2026", "--month", "1", "--from", "2026-01-02", "--dry-run", "--json")
  const [first] = envelope(plan).data as { total: number; todo: { key: string }[] }[]
  expect(first).toMatchObject({
    total: 5,
    todo: [{ key: "site visits 2026-01-02" }, { key: "site visits 2026-01-06" }],
  })

  expect(await run()).toMatchObject({ code: 0 })
  expect(askedDays().slice(4)).toEqual(["2026-01-02", "2026-01-06"])
  expect(await ids()).toHaveLength(12)
})

it.each([
  [4, "no partition of from 2027-01-01", ["--from", "2027-01-01"]],
  [4, 'no partition "2026-01-07"', ["--partition", "2026-01-02", "--partition", "2026-01-07"]],
  [4, 'no partition "2026-01-07"', ["--partition", "2026-01-07", "--dry-run"]],
  [2, '"2026-02-30" is not a day', ["--partition", "2026-02-30"]],
])("exit %i: %s", async (code, says, args) => {
  const answer = await run(...args)
  expect(answer).toMatchObject({ code, stdout: "" })
  expect(answer.stderr).toContain(says)
  expect(api.asked).toEqual([])
})
