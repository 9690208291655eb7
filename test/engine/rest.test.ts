import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { z } from "zod"
import { passRate, pipeline, table, type PipelineOptions } from "../../src/index.ts"
import { bearer, pageNumber, rest, type RestOptions } from "../../src/sources/index.ts"
import { failpoints, onThe, systemPorts } from "../../src/testing/index.ts"
import { endServers } from "../resilience/servers.ts"
import { sendJson, testApi, type TestApi } from "../sources/rest-api.ts"
import { digest, testBed, unbalanced, type Bed } from "./bed.ts"

interface Item {
  id: number | string
  at: string | null
  value?: number
}

let bed: Bed
let api: TestApi
/** What the API has; `since` is inclusive, in the order of the list. */
let items: Item[] = []
/** Answers a request in place of the list where it says so. */
let instead: (page: number, response: Parameters<Parameters<typeof testApi>[0]>[1], url: URL) => boolean = () => false

beforeEach(async () => {
  bed = await testBed()
  instead = () => false
  api = await testApi((_request, response, url) => {
    const page = Number(url.searchParams.get("page"))
    if (instead(page, response, url)) return
    const [since, until] = [url.searchParams.get("since"), url.searchParams.get("until")]
    const wanted = items.filter(
      ({ at }) => at === null || ((since === null || at >= since) && (until === null || at < until)),
    )
    sendJson(response, { items: wanted.slice((page - 1) * 10, page * 10), more: page * 10 < wanted.length })
  })
})
afterEach(async () => {
  await endServers()
  await bed.end()
})

const at = (minute: number): string => new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString()
const item = (id: number, minute = id): Item => ({ id, at: at(minute), value: id * 10 })
const many = (from: number, to: number): Item[] => Array.from({ length: to - from }, (_, i) => item(from + i))
const bad = (minute: number): Item => ({ id: "bad", at: at(minute) })

const quick = { retry: { attempts: 3, baseDelay: 1, maxDelay: 5 } } as const
const since = { cursor: "at", param: "since", start: at(0) } as const

function things(source: Partial<RestOptions> = {}, extra: Partial<PipelineOptions> = {}) {
  return pipeline({
    name: "things",
    source: rest({ url: `${api.origin}/things`, paginate: pageNumber({ more: "more" }), http: quick, ...source }),
    schema: z.object({ id: z.int(), at: z.string(), value: z.int().optional() }),
    sink: table("shop.things", { key: ["id"] }),
    ...extra,
  })
}

const ids = async (): Promise<unknown[]> =>
  (await bed.rows<{ id: number }>(`SELECT id::int FROM shop.things ORDER BY id, _seq`)).map(({ id }) => id)
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i)
const letters = () =>
  bed.rows(
    `SELECT status, ordinal::int, source->>'page' AS page, (source->>'item')::int AS item FROM ops.dead_letters ORDER BY ordinal`,
  )
const cursor = () => bed.value(`SELECT position->'state'->'boundary'->>'cursor' FROM ops.source_positions`)

describe("a source with a cursor", () => {
  it("reads on from where the last run ended; what was there stays, rows and letters", async () => {
    items = [...many(0, 25), bad(25)]
    const first = await bed.run(things({ incremental: since }))
    expect(first).toMatchObject({ status: "completed", counts: { read: 26, inserted: 25, deadLettered: 1 } })
    expect(await cursor()).toBe(at(25))
    const letterBefore = await letters()
    expect(letterBefore).toEqual([{ status: "pending", ordinal: 26, page: "3", item: 6 }])

    items.push(...many(26, 29), bad(29))
    api.asked.length = 0
    const second = await bed.run(things({ incremental: since }))
    expect(second).toMatchObject({ status: "completed", counts: { read: 4, inserted: 3, deadLettered: 1 } })
    expect(api.asked).toEqual([`/things?since=${encodeURIComponent(at(25))}&page=1`])
    expect(await ids()).toEqual([...range(0, 25), ...range(26, 29)])
    expect(await letters()).toEqual([...letterBefore, { status: "pending", ordinal: 30, page: "1", item: 5 }])

    const before = await digest(bed, "shop.things")
    const third = await bed.run(things({ incremental: since }))
    expect(third).toMatchObject({ status: "completed", counts: { read: 0 }, warnings: [] })
    expect(await digest(bed, "shop.things")).toBe(before)
    expect(await letters()).toHaveLength(2)
    expect(await unbalanced(bed, "things")).toEqual([])
  })

  it("reads everything again with --full and writes nothing where nothing changed", async () => {
    items = many(0, 35)
    await bed.run(things({ incremental: since }))
    items.push(...many(35, 40))
    await bed.run(things({ incremental: since }))
    const before = await digest(bed, "shop.things")
    const full = await bed.run(things({ incremental: since }), { full: true })
    expect(full.counts).toMatchObject({ read: 40, unchanged: 40, updated: 0, deleted: 0 })
    expect(await digest(bed, "shop.things")).toBe(before)
    items.splice(0, 3)
    items[0] = { ...(items[0] as Item), value: -1 }
    expect((await bed.run(things({ incremental: since }), { full: true })).counts).toMatchObject({
      read: 37,
      updated: 1,
      deleted: 0,
    })
    expect(await ids()).toHaveLength(40)
  })

  it("loads late and changed records within the lag once", async () => {
    const incremental = { ...since, lag: "10 minutes" }
    items = many(0, 30)
    await bed.run(things({ incremental }))
    items = [...items.slice(0, 22), { ...item(22), value: 7 }, ...items.slice(23), { id: 99, at: at(20) }]
    const second = await bed.run(things({ incremental }))
    expect(second.counts).toMatchObject({ read: 2, inserted: 1, updated: 1 })
    expect((await bed.run(things({ incremental }))).counts.read).toBe(0)
  })

  it("does not move past a partition that is held, and meets its letters again", async () => {
    const held = things({ incremental: since }, { checks: [passRate(0.9)] })
    items = many(0, 12)
    await bed.run(held)
    items.push(bad(12), bad(13), item(14))
    expect(await bed.run(held)).toMatchObject({ status: "partial", held: [{ code: "QUALITY_GATE" }] })
    expect(await cursor()).toBe(at(11))
    expect(await ids()).toEqual(range(0, 12))
    expect((await letters()).map(({ status }) => status)).toEqual(["pending", "pending"])
    items.splice(12, 2, item(12), item(13))
    expect(await bed.run(held)).toMatchObject({ status: "completed", counts: { read: 3, inserted: 3 } })
    expect((await letters()).map(({ status }) => status)).toEqual(["superseded", "superseded"])
    expect(await cursor()).toBe(at(14))
  })

  it("is not moved by values that are no time or lie in the future", async () => {
    items = [
      item(0),
      item(1),
      { id: 2, at: null },
      { id: 3, at: "yesterday" },
      { id: 4, at: "2999-01-01T00:00:00Z" },
      { id: 5, at: "2026-02-31T00:00:00Z" },
    ]
    const run = await bed.run(things({ incremental: since }))
    expect(run.counts).toMatchObject({ read: 6, inserted: 5, deadLettered: 1 })
    expect(await cursor()).toBe(at(1))
    items.push(item(6, 2))
    expect((await bed.run(things({ incremental: since }))).counts).toMatchObject({ read: 1, inserted: 1 })
  })

  it("appends each record once, also those that share the newest value", async () => {
    const appended = () => things({ incremental: since }, { sink: table("shop.things", { mode: "append" }) })
    items = [...many(0, 12), item(12, 11), item(13, 11)]
    await bed.run(appended())
    items.push(item(14, 11), item(13, 11), item(15))
    expect((await bed.run(appended())).counts).toMatchObject({ read: 3, inserted: 3 })
    expect(await ids()).toEqual([...range(0, 14), 13, 14, 15].sort((a, b) => a - b))
    expect((await bed.run(appended())).counts.read).toBe(0)
    const full = await bed.run(appended(), { full: true })
    expect(full.counts).toMatchObject({ read: 17, inserted: 0, deleted: 0 })
    expect(await ids()).toHaveLength(17)
  })
})

describe("a source without a cursor", () => {
  it("reads all in each run; rows that are not listed any more stay, unless the listing is complete", async () => {
    items = many(0, 15)
    await bed.run(things())
    items = [item(99), ...many(2, 15)]
    const second = await bed.run(things())
    expect(second.counts).toMatchObject({ read: 14, inserted: 1, updated: 0, unchanged: 13, deleted: 0 })
    expect(await ids()).toEqual([...range(0, 15), 99])
    const third = await bed.run(things({ missing: "delete" }))
    expect(third.counts).toMatchObject({ read: 14, deleted: 2 })
    expect(await ids()).toEqual([...range(2, 15), 99])
  })

  it("takes letters back whose records are no longer bad", async () => {
    items = [item(0), bad(1)]
    await bed.run(things())
    items = [item(0), item(1)]
    await bed.run(things())
    expect((await letters()).map(({ status }) => status)).toEqual(["superseded"])
  })

  it("replaces what a table without a key has of it", async () => {
    const replaced = () => things({}, { sink: table("shop.things", { mode: "replace" }) })
    items = many(0, 12)
    await bed.run(replaced())
    items = many(5, 20)
    await bed.run(replaced())
    expect(await ids()).toEqual(range(5, 20))
  })

  it("cannot be appended from, and one with a cursor cannot replace", () => {
    expect(() => things({}, { sink: table("shop.things", { mode: "append" }) })).toThrow(
      /key: \["id"\].*cursor.*replace/s,
    )
    expect(() => things({ incremental: since }, { sink: table("shop.things", { mode: "replace" }) })).toThrow(
      /only what is new/,
    )
  })
})

describe("a run that the API stops", () => {
  it("ends with the code and the time to come back, and the next one asks for the rest only", async () => {
    items = many(0, 60)
    instead = (page, response) => {
      if (page < 4) return false
      response.writeHead(429, { "retry-after": "3600" }).end()
      return true
    }
    const stopped = await bed.run(things())
    expect(stopped).toMatchObject({
      status: "failed",
      error: { code: "HTTP_429", hint: expect.stringMatching(/call again after \d{4}-\d\d-\d\dT/) as string },
    })
    instead = () => false
    api.asked.length = 0
    const second = await bed.run(things())
    expect(second).toMatchObject({
      status: "completed",
      runId: stopped.runId,
      attempt: 2,
      counts: { read: 60, inserted: 60, duplicate: 0 },
    })
    expect(api.asked.map((path) => path.replace(/.*page=/, ""))).toEqual(["4", "5", "6"])
    expect(await ids()).toEqual(range(0, 60))
  })

  it("tells each retry, and goes on where the trouble passes", async () => {
    items = many(0, 30)
    let failures = 2
    instead = (page, response) => {
      if (page !== 2 || failures-- <= 0) return false
      response.writeHead(503).end("away")
      return true
    }
    expect(await bed.run(things())).toMatchObject({ status: "completed", counts: { inserted: 30 } })
    expect(bed.eventsOf("retry")).toMatchObject([
      { what: expect.stringContaining("GET http") as string, tries: 1, code: "HTTP_5XX" },
      { tries: 2 },
    ])
  })

  it("is held, not resumed, when the pages go in a circle", async () => {
    items = many(0, 30)
    instead = (_page, response) => {
      sendJson(response, { items: items.slice(0, 10), more: true })
      return true
    }
    expect(await bed.run(things())).toMatchObject({ status: "partial", held: [{ code: "DATA_LOSS" }] })
    instead = () => false
    expect(await bed.run(things())).toMatchObject({ status: "completed", counts: { read: 30, inserted: 30 } })
  })

  it("shows no secret in events, letters and the ledger", async () => {
    items = [item(0), bad(1)]
    instead = (_page, response) => {
      response.writeHead(401).end("the token t0p-secret-token is wrong")
      return true
    }
    const source = { auth: bearer("t0p-secret-token"), query: { api_key: "s3cret-key" } }
    const refused = await bed.run(things(source))
    expect(refused).toMatchObject({ status: "failed", error: { code: "AUTH" } })
    const events = JSON.stringify([refused, bed.events])
    instead = () => false
    await bed.run(things(source))
    const rows = await Promise.all(
      ["runs", "dead_letters", "pipeline_logs", "processed_partitions", "source_positions", "pipeline_checkpoint"].map(
        (name) => bed.rows(`SELECT to_jsonb(t)::text AS row FROM ops.${name} t`),
      ),
    )
    const shown = events + JSON.stringify([bed.events, rows, await bed.rows(`SELECT * FROM shop.things`)])
    expect(api.asked.at(-1)).toContain("s3cret-key")
    expect(shown).not.toContain("s3cret-key")
    expect(shown).not.toContain("t0p-secret-token")
  })
})

describe("a run that is killed when all is staged", () => {
  it("publishes it with its cursor, and asks for nothing again", async () => {
    items = many(0, 25)
    const killed = (): never => {
      throw new Error("killed")
    }
    const ports = { ...systemPorts, failpoints: failpoints({ "gate.judged": killed }) }
    expect(await bed.run(things({ incremental: since }), { ports })).toMatchObject({ status: "failed" })
    api.asked.length = 0
    expect(await bed.run(things({ incremental: since }))).toMatchObject({
      status: "completed",
      counts: { inserted: 25 },
    })
    expect(api.asked).toEqual([])
    expect(await cursor()).toBe(at(24))
    items.push(item(25))
    expect((await bed.run(things({ incremental: since }))).counts).toMatchObject({ read: 1, inserted: 1 })
  })
})

describe("a source that is divided by days", () => {
  const HOUR = 60
  const source = (more: object = {}) =>
    ({
      name: "things",
      incremental: { ...since, endParam: "until", by: "day", end: "2026-01-05T00:00:00.000Z", ...more },
    }) satisfies Partial<RestOptions>
  const byDay = (more: object = {}) => things(source(more))

  it("reads each day that is over once, and days that are asked for alone", async () => {
    items = Array.from({ length: 96 }, (_, i) => item(i, i * HOUR))
    const some = await bed.run(byDay(), { partitions: ["things 2026-01-02", "things 2026-01-03"] })
    expect(some).toMatchObject({ status: "completed", counts: { inserted: 48 } })
    const all = await bed.run(byDay())
    expect(all).toMatchObject({
      status: "completed",
      counts: { inserted: 48 },
      partitions: { unchanged: 2, published: 2 },
    })
    api.asked.length = 0
    expect(await bed.run(byDay())).toMatchObject({
      status: "completed",
      counts: { read: 0 },
      partitions: { unchanged: 4 },
    })
    expect(api.asked).toEqual([])
    expect(await ids()).toEqual(range(0, 96))
    const before = await digest(bed, "shop.things")
    expect((await bed.run(byDay(), { full: true })).counts).toMatchObject({ read: 96, unchanged: 96 })
    expect(await digest(bed, "shop.things")).toBe(before)
  })

  it("reads on in the day that is not over", async () => {
    const noon = Date.UTC(2026, 0, 2, 12)
    const ports = { ...systemPorts, clock: { ...systemPorts.clock, now: () => noon } }
    items = Array.from({ length: 36 }, (_, i) => item(i, i * HOUR))
    expect((await bed.run(byDay({ end: undefined }), { ports })).counts.inserted).toBe(36)
    items.push(item(36, 35 * HOUR + 30))
    api.asked.length = 0
    expect((await bed.run(byDay({ end: undefined }), { ports })).counts).toMatchObject({ read: 1, inserted: 1 })
    expect(api.asked).toHaveLength(1)
    const later = { ...systemPorts, clock: { ...systemPorts.clock, now: () => noon + 86_400_000 } }
    items.push(...Array.from({ length: 10 }, (_, i) => item(40 + i, (40 + i) * HOUR)))
    expect((await bed.run(byDay({ end: undefined }), { ports: later })).counts).toMatchObject({
      read: 10,
      inserted: 10,
    })
    expect((await bed.run(byDay({ end: undefined }), { ports: later })).partitions).toMatchObject({ unchanged: 2 })
  })

  it("goes on where a full reading was interrupted, without reading its days again", async () => {
    items = Array.from({ length: 96 }, (_, i) => item(i, i * HOUR))
    await bed.run(byDay())
    const stop = new AbortController()
    const ports = { ...systemPorts, failpoints: failpoints({ "publish.committed": onThe(2, () => stop.abort()) }) }
    expect(await bed.run(byDay(), { full: true, ports, signal: stop.signal })).toMatchObject({ status: "cancelled" })
    api.asked.length = 0
    const second = await bed.run(byDay(), { full: true })
    expect(second).toMatchObject({ status: "completed", attempt: 2 })
    expect(api.asked.length).toBeLessThanOrEqual(6)
    expect(second.counts.read).toBe(96)
  })

  /** Answers for one day in another way, whatever page is asked for. */
  const spoil = (day: string, answer: (response: Parameters<typeof sendJson>[0]) => void): void => {
    instead = (_page, response, url) => {
      if (!url.searchParams.get("since")?.startsWith(day)) return false
      answer(response)
      return true
    }
  }

  it.each([
    ["is not there", "HTTP_4XX", (response) => void response.writeHead(404).end("no such day")],
    ["is no JSON, however often it is asked for", "DECODE", (response) => void response.end('{"items": [{"id": 1')],
    [
      "makes the server fail every time",
      "HTTP_5XX",
      (response) => void response.writeHead(500).end("division by zero"),
    ],
  ] satisfies [string, string, Parameters<typeof spoil>[1]][])(
    "holds a day that %s, and loads the others",
    async (_what, code, answer) => {
      items = Array.from({ length: 96 }, (_, i) => item(i, i * HOUR))
      spoil("2026-01-02", answer)
      const first = await bed.run(byDay())
      expect(first).toMatchObject({
        status: "partial",
        counts: { inserted: 72 },
        held: [{ partition: "things 2026-01-02", code }],
      })
      expect(await ids()).toEqual([...range(0, 24), ...range(48, 96)])

      instead = () => false
      api.asked.length = 0
      expect(await bed.run(byDay())).toMatchObject({ status: "completed", counts: { inserted: 24 } })
      // Three pages of the day that was held, and nothing else.
      expect(api.asked).toHaveLength(3)
      expect(await ids()).toEqual(range(0, 96))
      expect(await unbalanced(bed, "things")).toEqual([])
    },
  )

  it("stops at once where the server is away for all days, or refuses the credentials", async () => {
    items = Array.from({ length: 96 }, (_, i) => item(i, i * HOUR))
    spoil("2026-01-02", (response) => response.destroy())
    expect(await bed.run(byDay())).toMatchObject({ status: "failed", error: { code: "RETRY_EXHAUSTED" } })
    spoil("2026-01-02", (response) => response.writeHead(403).end())
    expect(await bed.run(byDay())).toMatchObject({ status: "failed", error: { code: "AUTH" } })
  })

  it("stops at the breaker where every day fails", async () => {
    items = Array.from({ length: 96 }, (_, i) => item(i, i * HOUR))
    spoil("2026-01", (response) => response.writeHead(500).end())
    const http = { ...quick, breaker: { minimumCalls: 5 } }
    const report = await bed.run(things({ ...source(), http }))
    expect(report).toMatchObject({
      status: "failed",
      error: { message: expect.stringMatching(/are paused until/) as unknown },
    })
    expect(api.asked).toHaveLength(5)
  })
})
