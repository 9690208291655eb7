import { afterEach, beforeEach, expect, it } from "vitest"
import { z } from "zod"
import { pipeline, table } from "../../src/index.ts"
import { pageNumber, rest } from "../../src/sources/index.ts"
import { envelope, projectFolder, spillway, SPILLWAY, ZOD } from "../cli/command-line.ts"
import { until } from "../faults/waiting.ts"
import { endServers } from "../resilience/servers.ts"
import { sendJson, testApi, type TestApi } from "../sources/rest-api.ts"
import { testBed, type Bed } from "./bed.ts"

const SOURCES = new URL("../../src/sources/index.ts", import.meta.url).href

let bed: Bed
let api: TestApi
let isDown = true

beforeEach(async () => {
  bed = await testBed()
  isDown = true
  api = await testApi((_request, response) => {
    if (isDown) response.writeHead(500).end()
    else sendJson(response, { items: [{ id: 1 }, { id: 2 }], more: false })
  })
})
afterEach(async () => {
  await endServers()
  await bed.end()
})

/** A source of its own each time, as in another process. */
const things = (openFor: string) =>
  pipeline({
    name: "things",
    source: rest({
      url: `${api.origin}/things`,
      paginate: pageNumber({ more: "more" }),
      http: { retry: { attempts: 8, baseDelay: 1, maxDelay: 2 }, breaker: { minimumCalls: 4, openFor } },
    }),
    schema: z.object({ id: z.int() }),
    sink: table("shop.things", { key: ["id"] }),
  })

it("a breaker that one run opened stops the next one, and another process, before they ask", async () => {
  const first = await bed.run(things("1 hour"))
  expect(first.status).toBe("failed")
  expect(api.asked).toHaveLength(4)

  const second = await bed.run(things("1 hour"))
  expect(second).toMatchObject({
    status: "failed",
    error: { message: expect.stringMatching(/are paused until/) as unknown },
  })
  expect(api.asked).toHaveLength(4)

  const config = `
    import { pipeline, project, table } from "${SPILLWAY}"
    import { rest } from "${SOURCES}"
    import { z } from "${ZOD}"
    export default project({ pipelines: [pipeline({
      name: "others",
      source: rest({ url: "${api.origin}/others", items: "items" }),
      schema: z.object({ id: z.int() }),
      sink: table("shop.others", { key: ["id"] }),
    })] })`
  const folder = await projectFolder({ "spillway.config.ts": config })
  const env = { DATABASE_URL: bed.url }
  const run = await spillway(["run", "--project", folder.directory], env)
  const status = await spillway(["status", "--json", "--project", folder.directory], env)
  await folder.remove()
  expect(run.code).not.toBe(0)
  expect(run.stderr).toContain("are paused until")
  expect(api.asked).toHaveLength(4)
  const { breakers } = envelope(status).data as { breakers: { name: string; state: string; nextTryAt: string }[] }
  expect(breakers).toMatchObject([{ name: new URL(api.origin).host, state: "open" }])
  expect(Date.parse(breakers[0]?.nextTryAt ?? "")).toBeGreaterThan(Date.now())
})

it("a run after the pause tries again, and what works closes the breaker for all", async () => {
  await bed.run(things("1ms"))
  isDown = false
  expect(await bed.run(things("1ms"))).toMatchObject({ status: "completed", counts: { inserted: 2 } })
  expect(await bed.value("SELECT state FROM ops.breakers")).toBe("half_open")
  await bed.run(things("1ms"))
  await bed.run(things("1ms"))
  expect(await bed.value("SELECT state FROM ops.breakers")).toBe("closed")
})

it("the connection for breakers ends with the run", async () => {
  isDown = false
  await bed.run(things("1 hour"))
  const connections = "SELECT count(*)::int FROM pg_stat_activity WHERE application_name = 'spillway/breakers'"
  await until(
    "it is gone",
    async () => (await bed.value<number>(`${connections} AND datname = current_database()`)) === 0,
  )
})
