import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { z } from "zod"
import { colorsFor } from "../../src/cli/colors.ts"
import { summary } from "../../src/cli/summary.ts"
import { pipeline, table } from "../../src/index.ts"
import { pageNumber, rest } from "../../src/sources/index.ts"
import { testBed, type Bed } from "../engine/bed.ts"
import { endServers } from "../resilience/servers.ts"
import { sendJson, testApi, type TestApi } from "../sources/rest-api.ts"
import { envelope, projectFolder, spillway, SPILLWAY, ZOD, type Answer } from "./command-line.ts"

const SOURCES = new URL("../../src/sources/index.ts", import.meta.url).href

let bed: Bed
let api: TestApi
/** What the second page is answered with. */
let answer: { status: number; body: unknown }

beforeEach(async () => {
  bed = await testBed()
  api = await testApi((_request, response, url) => {
    if (url.searchParams.get("page") === "1") sendJson(response, { items: [{ id: 1 }], more: true })
    else response.writeHead(answer.status, { "content-type": "application/json" }).end(JSON.stringify(answer.body))
  })
})
afterEach(async () => {
  await endServers()
  await bed.end()
})

/** The address with a user, a password and a key in it. */
const addressWithSecrets = (): string => api.origin.replace("//", "//ann:pa55-word@") + "/things?api_key=k3y-of-ann"

const secondPage = (): string => `GET ${api.origin}/things?api_key=***&page=2`

const things = () =>
  pipeline({
    name: "things",
    source: rest({ url: addressWithSecrets(), paginate: pageNumber({ more: "more" }), items: "items" }),
    schema: z.object({ id: z.int() }),
    sink: table("shop.things", { key: ["id"] }),
  })

async function runByCommand(...flags: string[]): Promise<Answer> {
  const folder = await projectFolder({
    "spillway.config.ts": `
      import { pipeline, project, table } from "${SPILLWAY}"
      import { pageNumber, rest } from "${SOURCES}"
      import { z } from "${ZOD}"
      export default project({ pipelines: [pipeline({
        name: "things",
        source: rest({ url: "${addressWithSecrets()}", paginate: pageNumber({ more: "more" }), items: "items" }),
        schema: z.object({ id: z.int() }),
        sink: table("shop.things", { key: ["id"] }),
      })] })`,
  })
  try {
    return await spillway(["run", ...flags, "--project", folder.directory], { DATABASE_URL: bed.url })
  } finally {
    await folder.remove()
  }
}

const noSecrets = (shown: unknown): void => {
  expect(JSON.stringify(shown)).not.toMatch(/pa55|k3y-of|ann:/)
}

describe("a run that the API refuses says at which address", () => {
  beforeEach(() => {
    answer = { status: 403, body: { error: "no" } }
  })

  it("in its report, its events and its log", async () => {
    const report = await bed.run(things())
    expect(report).toMatchObject({ status: "failed", error: { code: "AUTH", where: secondPage() } })
    expect(bed.eventsOf("run.finished")).toMatchObject([{ error: { where: secondPage() } }])
    noSecrets([report, bed.events, await bed.rows("SELECT * FROM ops.pipeline_logs")])
  })

  it("in the command's text and JSON", async () => {
    const text = await runByCommand()
    expect(text.stderr).toContain(`--> ${secondPage()} (pipeline things, run run_`)
    const json = await runByCommand("--json")
    expect(envelope(json).error).toMatchObject({
      code: "AUTH",
      where: expect.stringContaining(secondPage()) as unknown,
    })
    expect(envelope(json).data).toMatchObject({ runs: [{ error: { where: secondPage() } }] })
    noSecrets([text, json])
  })
})

describe("a partition that is held says at which address", () => {
  beforeEach(() => {
    answer = { status: 200, body: { error: "no" } }
  })

  it("in the report and its event, with a hint that says what came", async () => {
    const report = await bed.run(things())
    const held = {
      code: "DECODE",
      where: secondPage(),
      hint: 'the answer is an object with the property "error"; if the list is in it, say where with items, otherwise see what the address answers',
    }
    expect(report).toMatchObject({ status: "partial", held: [held] })
    expect(bed.eventsOf("partition.held")).toMatchObject([held])
    noSecrets([report, bed.events])
  })

  it("in the command's text and JSON", async () => {
    const text = summary(await bed.run(things()), { colors: colorsFor({}, {}), width: 200, partition: "url" })
    expect(text).toContain(`\n    --> ${secondPage()}\n`)
    const json = await runByCommand("--json")
    expect(envelope(json).error).toMatchObject({ where: expect.stringContaining(secondPage()) as unknown })
    expect(envelope(json).data).toMatchObject({ runs: [{ held: [{ where: secondPage() }] }] })
    noSecrets([text, json])
  })
})

it.each([
  [{}, "the answer is an empty object;"],
  [{ a: 1, 'b"': 2 }, 'the answer is an object with the properties "a", "b\\"";'],
  ["text", "the answer is a string;"],
  [["a"], "the answer is a list;"],
])("the hint on a page without a list says what came: %j", async (body, hint) => {
  answer = { status: 200, body }
  expect((await bed.run(things())).held[0]?.hint).toContain(hint)
})
