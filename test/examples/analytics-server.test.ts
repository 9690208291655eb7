import { request as send } from "node:http"
import { afterEach, describe, expect, test } from "vitest"
import { startServer, type AnalyticsServer, type ServerOptions } from "../../examples/analytics-api/api-server.ts"

interface Page {
  readonly items: unknown[]
  readonly has_more: boolean
}

interface Answer {
  readonly status: number
  readonly retryAfter: string | undefined
  readonly body: unknown
}

const TOKEN = "a-token-for-tests"
const START = Date.UTC(2026, 0, 1)
const MINUTE = 60_000

let server: AnalyticsServer

afterEach(() => server.close())

async function begin(options: Partial<ServerOptions> = {}): Promise<void> {
  server = await startServer({ token: TOKEN, seed: 7, start: START, interval: MINUTE, events: 2_000, ...options })
}

/** One request; rejects where there is no whole answer. */
function ask(path: string, token = TOKEN, method = "GET"): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = send(
      `${server.url}${path}`,
      { method, headers: { authorization: `Bearer ${token}` }, timeout: 100 },
      (response) => {
        let text = ""
        response.on("data", (chunk: Buffer) => (text += chunk.toString()))
        response.on("error", reject)
        response.on("end", () =>
          resolve({
            status: response.statusCode ?? 0,
            retryAfter: response.headers["retry-after"],
            body: JSON.parse(text),
          }),
        )
      },
    )
    request.on("timeout", () => request.destroy(new Error("silence")))
    request.on("error", reject)
    request.end()
  })
}

/** All items of a query, asked for again and again until each page was given. */
async function itemsOf(query = ""): Promise<unknown[]> {
  const items: unknown[] = []
  for (let page = 1; ; page++) {
    const { body } = await insist(`/analytics?page=${page}&per_page=100${query}`)
    items.push(...(body as Page).items)
    if (!(body as Page).has_more) return items
  }
}

async function insist(path: string): Promise<Answer> {
  for (;;) {
    const answer = await ask(path).catch(() => undefined)
    if (answer?.status === 200) return answer
  }
}

const TYPES: Readonly<Record<string, string>> = {
  pageview: "page_view",
  click: "click",
  signup: "sign_up",
  purchase: "purchase",
  logout: "logout",
}

/** What the rules of the example say of an item: its key, or undefined when it is bad. */
function keyOf(item: unknown): string | undefined {
  if (typeof item !== "object" || item === null) return undefined
  const { user_id: user, event, timestamp } = item as Record<string, unknown>
  if (typeof user !== "string" || user.trim() === "" || typeof event !== "string" || typeof timestamp !== "string")
    return undefined
  const type = TYPES[event.toLowerCase().replace(/[^a-z]/g, "")]
  const time = new Date(timestamp)
  if (type === undefined || Number.isNaN(time.getTime()) || time.getUTCFullYear() < 2020) return undefined
  return `${user} ${time.toISOString()} ${type}`
}

describe("the list of events", () => {
  test("is what the server says of it: each valid key once, each bad item", async () => {
    await begin({ failureRate: 0, events: 20_000 })
    const items = await itemsOf()
    const { valid, bad } = server.truth()
    expect(items).toHaveLength(20_000)
    const keys = items.map(keyOf)
    expect(new Set(keys.filter((key) => key !== undefined))).toEqual(
      new Set(valid.map((event) => `${event.user_id} ${event.timestamp} ${event.event_type}`)),
    )
    expect(new Set(valid.map((event) => JSON.stringify(event))).size).toBe(valid.length)
    expect(items.filter((_, i) => keys[i] === undefined)).toEqual(bad.map(({ sent }) => sent))
    expect(new Set(bad.map(({ sent }) => JSON.stringify(sent))).size).toBe(bad.length)
    expect(new Set(bad.map(({ why }) => why)).size).toBe(9)
    expect(bad.length / items.length).toBeGreaterThan(0.017)
    expect(bad.length / items.length).toBeLessThan(0.023)
    const again = items.length - bad.length - valid.length
    expect(again / items.length).toBeGreaterThan(0.007)
    expect(again / items.length).toBeLessThan(0.013)
  })

  test("is the same for the same seed, and another one for another", async () => {
    await begin()
    const first = server.truth()
    await server.close()
    await begin()
    expect(server.truth()).toEqual(first)
    await server.close()
    await begin({ seed: 8 })
    expect(server.truth()).not.toEqual(first)
  })

  test("is in the order of time, and since and until cut it where they say", async () => {
    await begin({ failureRate: 0, malformedRate: 0 })
    const times = (items: unknown[]): number[] =>
      items.map((item) => Date.parse((item as { timestamp: string }).timestamp))
    const all = times(await itemsOf())
    expect(all).toEqual([...all].sort((a, b) => a - b))
    const [since, until] = [all[500] as number, all[900] as number]
    const between = await itemsOf(
      `&since=${new Date(since).toISOString()}&until=${encodeURIComponent(new Date(until).toISOString())}`,
    )
    expect(times(between)).toEqual(all.filter((time) => time >= since && time < until))
    expect(await itemsOf(`&since=${new Date(START + 2_000 * MINUTE).toISOString()}`)).toEqual([])
  })

  test("grows, also with events that are older than the newest", async () => {
    await begin({ failureRate: 0, events: 1_000 })
    const before = server.truth()
    const newest = Math.max(...before.valid.map((event) => Date.parse(event.timestamp)))
    expect((await ask("/admin/add?count=1000", TOKEN, "POST")).body).toEqual({ made: 2_000 })
    const keys = new Set(before.valid.map((event) => JSON.stringify(event)))
    const fresh = server.truth().valid.filter((event) => !keys.has(JSON.stringify(event)))
    expect(fresh.length).toBeGreaterThan(900)
    const oldest = Math.min(...fresh.map((event) => Date.parse(event.timestamp)))
    expect(oldest).toBeGreaterThan(newest - 5 * MINUTE)
    await server.close()
    await begin({ failureRate: 0 })
    expect((await itemsOf()).length).toBe(2_000)
  })

  test("without a number of events there are as many as there was time for", async () => {
    await begin({ start: Date.now() - 100 * MINUTE, events: undefined, failureRate: 0 })
    expect((await itemsOf()).length).toBe(100)
  })
})

describe("requests", () => {
  test("without the token are refused, also for what the server knows", async () => {
    await begin({ failureRate: 0 })
    for (const path of ["/analytics?page=1", "/admin/truth", "/admin/counts"])
      expect((await ask(path, "another")).status).toBe(401)
    expect(server.counts()).toMatchObject({ requests: 1, refused: 1, pages: 0 })
    expect((await ask("/admin/counts")).body).toEqual(server.counts())
    expect((await ask("/analytics?page=0")).status).toBe(400)
    expect((await ask("/analytics?page=1&per_page=101")).status).toBe(400)
    expect((await ask("/analytics?page=1&since=yesterday")).status).toBe(400)
    expect((await ask("/elsewhere")).status).toBe(404)
  })

  test("fail in every way, one in ten, and each is counted", async () => {
    await begin()
    const seen: Record<string, number> = {}
    const note = (what: string): number => (seen[what] = (seen[what] ?? 0) + 1)
    for (let n = 0; n < 500; n++) {
      const path = `/analytics?page=${1 + (n % 20)}&per_page=10`
      const answer = await ask(path).catch((error: unknown) => (String(error).includes("silence") ? "silence" : "cut"))
      note(typeof answer === "string" ? answer : String(answer.status))
      if (typeof answer !== "string" && answer.status === 429) expect(answer.retryAfter).toBe("1")
    }
    const { requests, pages, differentPages, failed } = server.counts()
    expect({ requests, differentPages }).toEqual({ requests: 500, differentPages: 20 })
    const { "200": good, ...bad } = seen
    expect(failed).toEqual(bad)
    expect(pages).toBe(good)
    expect(Object.keys(bad).sort()).toEqual(["429", "500", "503", "cut", "silence"])
    expect(1 - pages / requests).toBeGreaterThan(0.06)
    expect(1 - pages / requests).toBeLessThan(0.14)
  })

  test("fail the same way whatever the order in which pages are asked for, three times in a row at most", async () => {
    const outcomes = async (pages: readonly number[]): Promise<Map<number, string>> => {
      await begin({ failureRate: 0.8 })
      const found = new Map<number, string>()
      for (const page of pages) {
        const answer = await ask(`/analytics?page=${page}&per_page=5`).catch(() => undefined)
        found.set(page, `${found.get(page) ?? ""} ${answer?.status ?? "none"}`)
      }
      await server.close()
      return found
    }
    const pages = [1, 2, 3, 4, 5, 6].flatMap((page) => [page, page, page, page, page, page])
    const inOrder = await outcomes(pages)
    const mixed = await outcomes([...pages.keys()].map((i) => pages[(i * 7) % pages.length] as number))
    expect(mixed).toEqual(inOrder)
    for (const outcome of inOrder.values()) expect(outcome).not.toMatch(/( (?!200)\S+){4}/)
    await begin()
  })

  test("that come back before the time a 429 named are noticed", async () => {
    await begin({ failureRate: 0.5, retryAfter: 60 })
    let page = 1
    while ((await ask(`/analytics?page=${page}`).catch(() => undefined))?.status !== 429) page++
    expect(server.counts().tooSoon).toBe(0)
    await ask(`/analytics?page=${page}`).catch(() => undefined)
    expect(server.counts().tooSoon).toBe(1)
  })
})
