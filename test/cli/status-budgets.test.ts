import { afterEach, beforeEach, expect, it } from "vitest"
import { z } from "zod"
import { pipeline, table } from "../../src/index.ts"
import { pageNumber, rest } from "../../src/sources/index.ts"
import { testBed, type Bed } from "../engine/bed.ts"
import { endServers } from "../resilience/servers.ts"
import { sendJson, testApi, type TestApi } from "../sources/rest-api.ts"
import { envelope, projectFolder, spillwayHere, type Answer } from "./command-line.ts"

let bed: Bed
let api: TestApi
/** Requests that fail before one succeeds. */
let failures = 0

beforeEach(async () => {
  bed = await testBed()
  api = await testApi((_request, response) => {
    if (failures-- > 0) response.writeHead(503).end()
    else sendJson(response, { items: [{ id: 1 }], more: false })
  })
})
afterEach(async () => {
  await endServers()
  await bed.end()
})

/** A source of its own each time, as in another process. */
const things = () =>
  pipeline({
    name: "things",
    source: rest({
      url: `${api.origin}/things`,
      paginate: pageNumber({ more: "more" }),
      http: { retry: { attempts: 8, baseDelay: 1, maxDelay: 2 }, breaker: false, budget: { reserve: 3, ratio: 0 } },
    }),
    schema: z.object({ id: z.int() }),
    sink: table("shop.things", { key: ["id"] }),
  })

async function status(...flags: string[]): Promise<Answer> {
  const folder = await projectFolder({ ".spillway/keep": "" })
  try {
    return await spillwayHere(["status", ...flags, "--project", folder.directory], { DATABASE_URL: bed.url })
  } finally {
    await folder.remove()
  }
}

const budgets = async (): Promise<unknown> => (envelope(await status("--json")).data as { budgets: unknown }).budgets

it("status shows the budget that a run drew on, and no longer when it is full again", async () => {
  const host = new URL(api.origin).host
  failures = 2
  expect((await bed.run(things())).status).toBe("completed")
  expect(await budgets()).toEqual([
    { name: host, available: 1, reserve: 3, capacity: 100, updatedAt: expect.any(String) as unknown },
  ])
  expect((await status()).stdout).toMatch(
    new RegExp(
      `circuit breakers and retry budgets\n  \\S+ retries  ${host}  as of just now  1 left, 3 at the start, 100 at most`,
    ),
  )

  failures = 100
  expect(await bed.run(things())).toMatchObject({ status: "failed", error: { code: "RETRY_BUDGET" } })
  expect(await budgets()).toMatchObject([{ name: host, available: 0 }])
  expect((await status()).stdout).toMatch(new RegExp(`no retries  ${host}  as of just now  0 left`))

  failures = 0
  expect((await bed.run(things())).status).toBe("completed")
  expect(await budgets()).toMatchObject([{ name: host, available: 3 }])
  expect((await status()).stdout).not.toContain("retries")
})
