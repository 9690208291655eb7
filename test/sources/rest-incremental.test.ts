import fc from "fast-check"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { Position } from "../../src/core/records.ts"
import { type Source } from "../../src/index.ts"
import { bodyCursor, offsetLimit, pageNumber, rest, type IncrementalOptions } from "../../src/sources/index.ts"
import { Cursors } from "../../src/sources/rest/cursor.ts"
import { endServers } from "../resilience/servers.ts"
import { contextOf, knownAfter, readAll, readOne, sendJson, testApi, type Reading, type TestApi } from "./rest-api.ts"

interface Event {
  readonly id: number
  readonly at: string | number | null
}

let api: TestApi
let list: readonly Event[] = []
let pageSize = 3
let descending = false

/** When an event happened, as the server understands it; undefined for what it does not. */
function timeOf({ at }: Event): number | undefined {
  if (typeof at === "number") return at
  const time = at === null ? NaN : Date.parse(at)
  return Number.isNaN(time) ? undefined : time
}

beforeAll(async () => {
  api = await testApi((_request, response, url) => {
    const bound = (name: string): number | undefined => {
      const text = url.searchParams.get(name)
      return text === null ? undefined : /^\d+$/.test(text) ? Number(text) : Date.parse(text)
    }
    const [since = -Infinity, until = Infinity] = [bound("since"), bound("until")]
    const wanted = list.filter((event) => {
      const time = timeOf(event)
      return time === undefined || (time >= since && time < until)
    })
    const from = Number(url.searchParams.get("offset") ?? url.searchParams.get("cursor") ?? 0)
    const page = Number(url.searchParams.get("page") ?? 1) - 1
    const start = Math.max(from, page * pageSize)
    const ordered = descending ? wanted.toSorted((a, b) => (timeOf(b) ?? 0) - (timeOf(a) ?? 0)) : wanted
    const end = start + pageSize
    const next = end < ordered.length ? end : null
    sendJson(response, { items: ordered.slice(start, end), more: next !== null, next, total: ordered.length })
  })
})
afterAll(endServers)

const BASE = Date.UTC(2026, 0, 1)
const isoAt = (minute: number): string => new Date(BASE + minute * 60_000).toISOString()

const sourceOf = (incremental: Partial<IncrementalOptions>, paginate = pageNumber({ more: "more" })): Source =>
  rest({
    url: `${api.origin}/events`,
    name: "events",
    paginate,
    incremental: { cursor: "at", param: "since", ...incremental },
  })

/** Ids as they were handed on, over several readings. */
const idsOf = (readings: readonly Reading[]): number[] =>
  readings.flatMap(({ records }) => (records as Event[]).map(({ id }) => id))

const sorted = (ids: readonly number[]): number[] => [...ids].sort((a, b) => a - b)

/** What the API gets between two runs: events with minutes relative to the newest so far, at most the lag back. */
const additions = (lag: number) =>
  fc.array(
    fc.array(
      fc.record({
        ahead: fc.integer({ min: -lag, max: 20 }),
        strange: fc.constantFrom("", "", "", "", "null", "text"),
      }),
      { maxLength: 9 },
    ),
    {
      minLength: 2,
      maxLength: 5,
    },
  )

describe("reading on from a cursor", () => {
  it("hands every record on exactly once, in any order, with ties, late ones and ones without a time, also when it is interrupted", async () => {
    const cases = fc.record({
      lag: fc.constantFrom(0, 5, 30),
      kind: fc.constantFrom<"timestamp" | "unix-ms" | "offset">("timestamp", "unix-ms", "offset"),
      paginate: fc.constantFrom(
        pageNumber({ more: "more" }),
        pageNumber({ total: "total" }),
        offsetLimit({ limit: 4, total: "total" }),
        bodyCursor({ from: "next" }),
      ),
      size: fc.integer({ min: 1, max: 5 }),
      shuffled: fc.boolean(),
      cut: fc.integer({ min: 0, max: 6 }),
      seed: fc.integer({ min: 1, max: 1_000 }),
    })
    await fc.assert(
      fc.asyncProperty(
        cases.chain((given) => fc.tuple(fc.constant(given), additions(given.lag))),
        async ([{ lag, kind, paginate, size, shuffled, cut, seed }, rounds]) => {
          pageSize = size
          descending = false
          list = []
          let newest = 100
          let id = 0
          const incremental: Partial<IncrementalOptions> =
            kind === "unix-ms" ? { type: "unix-ms", lag: lag * 60_000 } : { type: "timestamp", lag: `${lag} minutes` }
          const source = sourceOf(incremental, paginate)
          const { context } = contextOf({ keyed: false })
          let known = new Map<string, { version: string; state: unknown }>()
          const given: number[] = []
          for (const round of rounds) {
            let reached = newest
            const added = round.map(({ ahead, strange }): Event => {
              const minute = Math.max(0, newest + ahead)
              if (strange === "") reached = Math.max(reached, minute)
              const time =
                kind === "unix-ms"
                  ? BASE + minute * 60_000
                  : kind === "offset"
                    ? isoAt(minute + 120).replace("Z", "+02:00")
                    : isoAt(minute)
              return { id: id++, at: strange === "null" ? null : strange === "text" ? "soon" : time }
            })
            newest = reached
            list = shuffled
              ? [...list, ...added].toSorted((a, b) => ((a.id * seed) % 97) - ((b.id * seed) % 97))
              : [...list, ...added]
            const [partition] = await source.list(
              context,
              new Map([...known].map(([key, one]) => [key, { key, ...one, stamp: null } as never])),
            )
            if (partition === undefined) throw new Error("no partition")
            let reading = await readOne(source, partition, context)
            const stop = reading.batches[cut]
            if (stop !== undefined) {
              const before = reading.records.slice(
                0,
                reading.batches.slice(0, cut + 1).reduce((sum, batch) => sum + batch.length, 0),
              )
              const rest = await readOne(
                source,
                partition,
                context,
                JSON.parse(JSON.stringify(stop.position)) as Position,
              )
              reading = { ...rest, records: [...before, ...rest.records] }
            }
            given.push(...idsOf([reading]))
            known = knownAfter([reading])
          }
          expect(sorted(given)).toEqual(list.map((event) => event.id).sort((a, b) => a - b))
        },
      ),
      { numRuns: 120 },
    )
  })

  it("takes a record that is there twice for two, also where the reading is interrupted between them", async () => {
    pageSize = 1
    list = [{ id: 1, at: isoAt(1) }]
    const source = sourceOf({})
    const { context } = contextOf({ keyed: false })
    const known = knownAfter(await readAll(source, context))
    list = [
      { id: 1, at: isoAt(1) },
      { id: 2, at: isoAt(1) },
      { id: 1, at: isoAt(1) },
    ]
    const whole = (await readAll(source, context, known))[0]
    expect(idsOf(whole === undefined ? [] : [whole])).toEqual([2, 1])
    const resumed = await readOne(source, whole?.partition as never, context, whole?.batches[0]?.position)
    expect(idsOf([resumed])).toEqual([1])
  })

  it("ends where the last run's records begin, when the newest come first", async () => {
    descending = true
    pageSize = 5
    list = Array.from({ length: 40 }, (_, i) => ({ id: i, at: isoAt(i) }))
    const source = sourceOf({ order: "descending", lag: "2 minutes" }, pageNumber({ more: "more" }))
    const plain = rest({
      url: `${api.origin}/events`,
      name: "events",
      paginate: pageNumber({ more: "more" }),
      incremental: { cursor: "at", order: "descending", lag: "2 minutes" },
    })
    const { context } = contextOf()
    const first = await readAll(plain, context)
    expect(idsOf(first)).toHaveLength(40)
    list = [...list, ...Array.from({ length: 7 }, (_, i) => ({ id: 100 + i, at: isoAt(40 + i) }))]
    api.asked.length = 0
    expect(sorted(idsOf(await readAll(plain, context, knownAfter(first))))).toEqual([100, 101, 102, 103, 104, 105, 106])
    // Two pages with something new, one that is old in full, and those under way by then.
    expect(api.asked.length).toBeLessThanOrEqual(6)
    expect(source.incremental).toBe(true)
    descending = false
  })

  it("leaves out what lies outside of the window, and says so when the parameter is not heeded", async () => {
    const deaf = await testApi((_request, response) =>
      sendJson(response, { items: Array.from({ length: 10 }, (_, i) => ({ id: i, at: isoAt(i) })) }),
    )
    const source = rest({
      url: deaf.origin,
      incremental: { cursor: "at", param: "from", start: isoAt(7), end: isoAt(9) },
    })
    const { context, told } = contextOf()
    expect(idsOf(await readAll(source, context))).toEqual([7, 8])
    expect(told).toMatchObject([
      {
        type: "warning",
        code: "CONFIG",
        message: expect.stringContaining("7 records that are older than what was asked for") as string,
      },
    ])
  })

  it("passes on what has a time from before there was anything to ask for, once", async () => {
    pageSize = 10
    list = [
      { id: 1, at: "1970-01-01T00:00:00Z" },
      { id: 2, at: isoAt(1) },
    ]
    // The server lists it by another time than the one it carries.
    const served = await testApi((_request, response) => sendJson(response, { items: list }))
    const source = rest({ url: served.origin, incremental: { cursor: "at", param: "since", start: isoAt(0) } })
    const { context, told } = contextOf()
    const first = await readAll(source, context)
    expect(idsOf(first)).toEqual([1, 2])
    expect(idsOf(await readAll(source, context, knownAfter(first)))).toEqual([])
    expect(told).toEqual([])
  })

  it("tells records apart by what is named, where they carry what changes with each request", async () => {
    let request = 0
    const served = await testApi((_request, response) => {
      request++
      sendJson(response, {
        items: [
          { id: 1, at: isoAt(1), fetched: request },
          { id: 2, at: isoAt(1), fetched: request },
        ],
      })
    })
    const of = (more: object) => rest({ url: served.origin, incremental: { cursor: "at", param: "since", ...more } })
    const { context } = contextOf()
    for (const [more, again] of [
      [{}, 2],
      [{ identity: ["id"] }, 0],
    ] as const) {
      const first = await readAll(of(more), context)
      expect(idsOf(await readAll(of(more), context, knownAfter(first)))).toHaveLength(again)
    }
  })

  it("forgets the oldest of too many at the boundary where rows have keys, and stops where they have none", async () => {
    list = Array.from({ length: 6_000 }, (_, i) => ({ id: i, at: isoAt(1) }))
    pageSize = 2_000
    const source = sourceOf({})
    const keyed = contextOf({ keyed: true })
    expect(idsOf(await readAll(source, keyed.context))).toHaveLength(6_000)
    expect(keyed.told).toMatchObject([{ type: "warning", code: "RESOURCE" }])
    await expect(readAll(source, contextOf({ keyed: false }).context)).rejects.toMatchObject({ code: "RESOURCE" })
  })

  it("starts over when the cursor is another one", async () => {
    list = [{ id: 1, at: isoAt(1) }]
    const { context } = contextOf()
    const known = knownAfter(await readAll(sourceOf({}), context))
    const other = rest({
      url: `${api.origin}/events`,
      name: "events",
      paginate: pageNumber({ more: "more" }),
      incremental: { cursor: "id", param: "after", type: "number" },
    })
    const [partition] = await other.list(
      context,
      new Map([...known].map(([key, one]) => [key, { key, ...one, stamp: null } as never])),
    )
    expect(partition).toMatchObject({ keepsRows: true })
    expect(partition?.after).toBeUndefined()
  })

  it("is refused when it makes no sense", () => {
    const wrong: Partial<IncrementalOptions>[] = [
      { param: undefined as never },
      { cursor: "" },
      { start: isoAt(2), end: isoAt(1) },
      { start: "2026-13-01", type: "timestamp" },
      { lag: "soon" },
      { lag: -1 },
      { type: "number", lag: "1 minute" },
      { type: "text", lag: 1 },
      { by: "day", start: isoAt(1) },
      { by: "day", endParam: "until" },
      { by: "day", start: 5, endParam: "until" },
    ]
    for (const options of wrong) expect(() => sourceOf(options)).toThrow(expect.objectContaining({ code: "CONFIG" }))
  })
})

describe("cursor values", () => {
  it("of times are compared as instants, to the microsecond", () => {
    const times = new Cursors("timestamp")
    const key = (text: string): number => Number(times.key(text))
    expect(key("2026-01-01T02:00:00+02:00")).toBe(BASE)
    expect(key("2026-01-01 00:00:00")).toBe(BASE)
    expect(key("2026-01-01")).toBe(BASE)
    expect(key("2026-01-01T00:00:00.5Z")).toBe(BASE + 500)
    expect(key("2026-01-01T00:00:00.000002Z")).toBeGreaterThan(key("2026-01-01T00:00:00.000001Z"))
    expect(key("2026-01-01T00:00:00Z")).toBeLessThan(key("2026-01-01T00:00:00.000001Z"))
    for (const none of [
      "yesterday",
      "2026-02-30",
      "2026-01-01T25:00:00Z",
      "",
      5,
      null,
      undefined,
      {},
      "x".repeat(1_000),
    ])
      expect(times.key(none)).toBeUndefined()
  })

  it("are written as the API writes them", () => {
    const write = (type: ConstructorParameters<typeof Cursors>[0], key: number, like?: string) =>
      new Cursors(type).text(key, like)
    expect(write("timestamp", BASE + 1_500)).toBe("2026-01-01T00:00:01Z")
    expect(write("timestamp", BASE + 1_500, "2025-05-05T05:05:05.123456+01:00")).toBe("2026-01-01T00:00:01.500000Z")
    expect(write("timestamp", BASE, "2025-05-05T05:05:05.1Z")).toBe("2026-01-01T00:00:00.0Z")
    expect(write("date", BASE + 5)).toBe("2026-01-01")
    expect(write("unix", BASE + 1_999)).toBe(String(BASE / 1_000 + 1))
    expect(write("unix-ms", BASE)).toBe(String(BASE))
  })

  it("written and read again are the same time", () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date("1990-01-01"), max: new Date("2090-01-01"), noInvalidDate: true }),
        fc.integer({ min: 3, max: 9 }),
        (date, digits) => {
          const times = new Cursors("timestamp")
          const like = `2026-01-01T00:00:00.${"1".repeat(digits)}Z`
          expect(times.key(times.text(date.getTime(), like))).toBe(date.getTime())
        },
      ),
    )
  })
})
