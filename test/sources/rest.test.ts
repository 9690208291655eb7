import { afterEach, describe, expect, it } from "vitest"
import { redact } from "../../src/core/secrets.ts"
import { env } from "../../src/index.ts"
import { bodyCursor, pageNumber, rest, singlePage } from "../../src/sources/index.ts"
import { endServers } from "../resilience/servers.ts"
import { sourceContract } from "./contract.ts"
import { contextOf, knownAfter, numbered, readAll, readOne, sendJson, testApi } from "./rest-api.ts"

afterEach(endServers)

const DAY = 86_400_000
const START = Date.UTC(2026, 0, 1)

const events = Array.from({ length: 60 }, (_, i) => ({ id: i, at: new Date(START + i * 3_600_000).toISOString() }))

sourceContract("rest, by day", async () => {
  const api = await testApi((_request, response, url) => {
    const [since = "", until = ""] = [url.searchParams.get("since"), url.searchParams.get("until")].map(String)
    const page = Number(url.searchParams.get("page"))
    const wanted = events.filter(({ at }) => at >= since && at < until)
    sendJson(response, { items: wanted.slice((page - 1) * 7, page * 7), more: page * 7 < wanted.length })
  })
  const source = rest({
    url: `${api.origin}/events`,
    paginate: pageNumber({ more: "more" }),
    incremental: {
      cursor: "at",
      param: "since",
      endParam: "until",
      start: "2026-01-01T00:00:00Z",
      end: "2026-01-04T00:00:00Z",
      by: "day",
    },
  })
  return { source, context: (signal) => contextOf({ signal }).context, open: api.unanswered }
})

describe("a page", () => {
  const pageOf = async (body: string | Buffer, items?: Parameters<typeof rest>[0]["items"], changes = {}) => {
    const api = await testApi((_request, response) => {
      response.setHeader("content-type", "application/json")
      response.end(body)
    })
    const source = rest({
      url: api.origin,
      paginate: singlePage(),
      ...(items === undefined ? {} : { items }),
      http: { retry: { baseDelay: 1 } },
    })
    const [reading] = await readAll(source, contextOf(changes).context)
    return reading as NonNullable<typeof reading>
  }
  const raws = (reading: Awaited<ReturnType<typeof pageOf>>): string[] =>
    reading.batches.flatMap((batch) =>
      Array.from({ length: batch.length }, (_, i) => Buffer.from(batch.raw(i)).toString()),
    )

  it("gives each item's own bytes, wherever the list is", async () => {
    const list = '[ {"a": 1.50 , "b":"\\u00e9]}"},\n {"a":"x\\"]"} ]'
    const bodies: [string, string?][] = [
      [list],
      [`{"n": 2, "items": ${list}, "other": {"items": [1]}}`],
      [`{"items": [9], "d": {"x": [1, {"items": 1}], "it\\u0065ms": [8], "items": ${list}}}`, "d.items"],
    ]
    for (const [body, path] of bodies) {
      const reading = await pageOf(body, path)
      expect(raws(reading)).toEqual(['{"a": 1.50 , "b":"\\u00e9]}"}', '{"a":"x\\"]"}'])
      expect(reading.records).toEqual([{ a: 1.5, b: "é]}" }, { a: 'x"]' }])
    }
  })

  it("says where each record stands", async () => {
    const reading = await pageOf('[{"a":1},{"a":2}]')
    expect(reading.batches[0]?.place(1)).toEqual({ page: "1", item: 2 })
    expect(reading.batches[0]?.ordinal(1)).toBe(2)
  })

  it("makes a fresh object each time, from bytes and from what a function took out", async () => {
    for (const items of [undefined, (body: unknown) => (body as { a: unknown }).a] as const) {
      const { batches } = await pageOf('{"a":[{"x":[1]}]}', items)
      const first = batches[0]?.record(0) as { x: unknown[] }
      first.x.push(2)
      delete (first as { x?: unknown }).x
      expect(batches[0]?.record(0)).toEqual({ x: [1] })
      expect(Buffer.from(batches[0]?.raw(0) ?? []).toString()).toBe('{"x":[1]}')
    }
  })

  it("sets items aside that are no objects, and keeps the others", async () => {
    const reading = await pageOf('{"items":[{"a":1},"x",null,[1],7,{"a":2}]}')
    expect(reading.records).toEqual([{ a: 1 }, "not_object", "not_object", "not_object", "not_object", { a: 2 }])
    expect(raws(reading)[1]).toBe('"x"')
  })

  it("keeps every digit of the properties that are to be exact", async () => {
    const body = '{"items":[{"n":12345678901234567890.10,"m":0.1},{"n":1.50}]}'
    const exact = new Set(["n"])
    expect((await pageOf(body, undefined, { exact })).records).toEqual([
      { n: "12345678901234567890.10", m: 0.1 },
      { n: 1.5 },
    ])
    const taken = await pageOf(body, (page: unknown) => (page as { items: unknown }).items, { exact })
    expect(taken.records[0]).toEqual({ n: "12345678901234567890.10", m: 0.1 })
  })

  it("sets a record with a NUL character, bytes that are not UTF-8, or too many bytes aside, and keeps the others", async () => {
    const nul = await pageOf('[{"a":"x\\u0000y"},{"a":"ok"}]')
    expect(nul.records).toEqual(["nul", { a: "ok" }])
    const latin = await pageOf(Buffer.from('[{"a":"\xe9"},{"a":"ok"}]', "latin1"))
    expect(latin.records).toEqual(["utf8", { a: "ok" }])
    const long = await pageOf(`[{"a":"${"x".repeat(3_000)}"},{"a":"ok"}]`, undefined, { maxRecordBytes: 1_000 })
    expect(long.records).toEqual(["too_long", { a: "ok" }])
    expect(raws(long)[0]).toHaveLength(1_000)
  })

  it("keeps a property named __proto__ as what it is", async () => {
    const reading = await pageOf('[{"__proto__":{"x":1},"a":1}]')
    expect(Object.keys(reading.records[0] as object)).toEqual(["__proto__", "a"])
  })

  it("is refused when it is not JSON, has no list, or several", async () => {
    await expect(pageOf("<html>")).rejects.toMatchObject({
      code: "RETRY_EXHAUSTED",
      message: expect.stringContaining("the page is not JSON") as string,
    })
    await expect(pageOf('{"error":"no"}')).rejects.toMatchObject({
      code: "DECODE",
      hint: expect.stringContaining("error") as string,
    })
    await expect(pageOf('{"a":[],"b":[]}')).rejects.toMatchObject({ code: "CONFIG" })
    await expect(pageOf('{"a":[]}', "b.c")).rejects.toMatchObject({ code: "DECODE" })
    expect((await pageOf('{"a":null}', "a")).records).toEqual([])
  })
})

describe("a body that is cut or garbled for a moment", () => {
  it("is asked for again", async () => {
    let tries = 0
    const api = await testApi((_request, response) => {
      tries++
      response.end(tries < 3 ? '[{"id":' : '[{"id":1}]')
    })
    const source = rest({ url: api.origin, http: { retry: { baseDelay: 1 } } })
    const { context, told } = contextOf()
    expect((await readAll(source, context))[0]?.records).toEqual([{ id: 1 }])
    expect(told.map(({ type, code }) => [type, code])).toEqual([
      ["retry", "DECODE"],
      ["retry", "DECODE"],
    ])
  })
})

describe("a source without a cursor", () => {
  const listing = async (lists: () => unknown[]) => {
    const api = await testApi((_request, response) => sendJson(response, { items: lists() }))
    return { api, make: (more = {}) => rest({ url: `${api.origin}/x?token=abc&b=2`, ...more }) }
  }

  it("reads all in each run, as a new reading of one partition that is named without secrets", async () => {
    const { api, make } = await listing(() => numbered(3))
    const source = make()
    expect(source.positions).toBe("shifting")
    const { context } = contextOf()
    const first = await readAll(source, context)
    expect(first.map(({ partition }) => partition)).toMatchObject([
      { key: `${api.origin}/x?token=***&b=2`, version: "reading 1", keepsRows: true },
    ])
    const second = await readAll(source, context, knownAfter(first))
    expect(second.map(({ partition, records }) => [partition.version, partition.after, records.length])).toEqual([
      ["reading 2", undefined, 3],
    ])
    expect(JSON.stringify(source.description)).not.toContain("abc")
  })

  it("holds when nothing comes where there was something, unless that is allowed", async () => {
    let items = numbered(3)
    const { make } = await listing(() => items)
    const { context } = contextOf()
    const known = knownAfter(await readAll(make(), context))
    items = []
    await expect(readAll(make(), context, known)).rejects.toMatchObject({ code: "DATA_LOSS" })
    expect(await readAll(make({ allowEmpty: true }), context, known)).toHaveLength(1)
  })

  it("asks for rows to be removed only when told that the listing is complete and rows have keys", async () => {
    const { make } = await listing(() => numbered(1))
    const keeps = async (source: ReturnType<typeof make>, keyed: boolean) =>
      (await source.list(contextOf({ keyed }).context, new Map()))[0]?.keepsRows
    expect(await keeps(make(), true)).toBe(true)
    expect(await keeps(make({ missing: "delete" }), true)).toBe(false)
    expect(await keeps(make(), false)).toBe(false)
  })

  it("tells when the shape of the items changes, each change once", async () => {
    let items: object[] = [{ id: 1, name: "a", note: null, gone: true }]
    const { make } = await listing(() => items)
    const first = await readAll(make(), contextOf().context)
    items = Array.from({ length: 5 }, () => ({ id: "1", name: null, note: "text", extra: [] }))
    const { context, told } = contextOf()
    const second = await readAll(make(), context, knownAfter(first))
    const messages = told.map((notice) => notice.message.replace(/^.*?: /, ""))
    expect(messages).toEqual([
      'the property "id" is now string, it was number',
      'the items have a new property "extra" (array)',
      'none of the items has the property "gone" any more',
    ])
    expect(told.every(({ code }) => code === "SCHEMA_DRIFT")).toBe(true)
    const third = contextOf()
    await readAll(make(), third.context, knownAfter(second))
    expect(third.told).toEqual([])
  })
})

describe("settings from the environment", () => {
  it("are all named when they are missing, before anything is asked", async () => {
    const source = rest({
      url: env("REST_TEST_URL"),
      query: { key: env("REST_TEST_KEY") },
      headers: { "x-team": env("REST_TEST_TEAM") },
    })
    await expect(async () => source.list(contextOf().context, new Map())).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringMatching(/REST_TEST_URL.*REST_TEST_KEY.*REST_TEST_TEAM/) as string,
    })
  })

  it("are sent, and shown nowhere", async () => {
    const api = await testApi((_request, response) => sendJson(response, { items: numbered(1), next: null }))
    process.env["REST_TEST_URL"] = `${api.origin}/list`
    process.env["REST_TEST_KEY"] = "s3cret-value"
    const source = rest({
      url: env("REST_TEST_URL"),
      query: { region: env("REST_TEST_KEY") },
      paginate: bodyCursor({ from: "next" }),
    })
    const [reading] = await readAll(source, contextOf().context)
    expect(api.asked).toEqual(["/list?region=s3cret-value"])
    expect(JSON.stringify([source.description, reading?.partition, reading?.state])).not.toContain("s3cret-value")
    expect(redact("the value is s3cret-value")).toBe("the value is ***")
  })
})

describe("a reading that was interrupted", () => {
  it("asks for no page twice", async () => {
    const api = await testApi((_request, response, url) => {
      const page = Number(url.searchParams.get("page"))
      sendJson(response, { items: numbered(10, page * 10), pages: 6 })
    })
    const source = rest({ url: api.origin, paginate: pageNumber({ pages: "pages" }) })
    const { context } = contextOf()
    const [partition] = await source.list(context, new Map())
    const whole = await readOne(source, partition as never, context)
    for (const [n, batch] of whole.batches.entries()) {
      api.asked.length = 0
      const rest = await readOne(
        source,
        partition as never,
        context,
        JSON.parse(JSON.stringify(batch.position)) as never,
      )
      expect(rest.records).toEqual(whole.records.slice((n + 1) * 10))
      expect(api.asked).toHaveLength(5 - n)
      expect(rest.state).toEqual(whole.state)
    }
  })
})

describe("windows", () => {
  const source = (more: object) =>
    rest({
      url: "http://localhost/x",
      name: "x",
      paginate: singlePage(),
      incremental: { cursor: "at", param: "since", endParam: "until", start: "2026-01-30", by: "day", ...more },
    })
  const keys = async (more: object, now: number) => {
    const { context } = contextOf({ ports: { clock: { ...contextOf().context.ports.clock, now: () => now } } })
    return (await source(more).list(context, new Map())).map(({ key }) => key)
  }

  it("are the days or months from the start to now or the end", async () => {
    expect(await keys({}, Date.UTC(2026, 1, 1, 12))).toEqual(["x 2026-01-30", "x 2026-01-31", "x 2026-02-01"])
    expect(await keys({ end: "2026-02-01" }, START + 400 * DAY)).toEqual(["x 2026-01-30", "x 2026-01-31"])
    expect(await keys({ by: "month" }, Date.UTC(2026, 2, 1))).toEqual(["x 2026-01", "x 2026-02", "x 2026-03"])
    expect(await keys({}, Date.UTC(2026, 0, 29))).toEqual([])
  })
})
