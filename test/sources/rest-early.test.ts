import { once } from "node:events"
import { Worker } from "node:worker_threads"
import fc from "fast-check"
import { afterEach, describe, expect, it } from "vitest"
import { systemClock } from "../../src/core/clock.ts"
import {
  bodyCursor,
  linkHeader,
  nextLink,
  pageNumber,
  rest,
  type Paginator,
  type RestOptions,
} from "../../src/sources/index.ts"
import { besideItems } from "../../src/sources/rest/beside-items.ts"
import { PageItems } from "../../src/sources/rest/items.ts"
import { pages } from "../../src/sources/rest/pages.ts"
import { endServers } from "../resilience/servers.ts"
import { contextOf, numbered, readAll, sendJson, testApi, type TestApi } from "./rest-api.ts"

afterEach(endServers)

const items = numbered(30)
const ids = items.map(({ id }) => id)
const pageOf = (page: number): typeof items => items.slice((page - 1) * 10, page * 10)

async function idsOf(api: TestApi, options: Partial<RestOptions>): Promise<number[]> {
  const source = rest({ url: `${api.origin}/items`, items: "items", ...options })
  const [reading] = await readAll(source, contextOf().context)
  return (reading?.records as { id: number }[]).map(({ id }) => id)
}

describe("what stands beside the list of a page", () => {
  const seen = (text: string): unknown => besideItems(Buffer.from(text))

  it("is found before and behind it", () => {
    expect(seen('{"page":1,"items":[{"more":false}],"more":true}')).toEqual({ page: 1, more: true })
    expect(seen('\uFEFF { "meta" : {"next":"a\\"b]}"} ,\n"items" : [ ] , "next" : null }\n')).toMatchObject({
      next: null,
    })
    expect(seen('{"items":[1,{"a":{"b":1},"c":2}],"meta":{"cursor":"ü"},"more":"true"}')).toEqual({
      meta: { cursor: "ü" },
      more: "true",
    })
  })

  it("is nothing where the body is a list, only lists, or no JSON", () => {
    for (const text of ['[{"a":1,"more":true}]', '{"items":[{"more":true}]}', '{"items":[', "", "<html>"])
      expect(seen(text)).toEqual({})
  })

  it("is what the whole body says, wherever the list stands and whatever is in it", () => {
    const scalar = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null))
    const members = fc.dictionary(fc.string({ minLength: 1, maxLength: 8 }), scalar, { maxKeys: 4 })
    fc.assert(
      fc.property(members, fc.array(fc.jsonValue(), { maxLength: 50 }), members, (before, list, after) => {
        const body = Buffer.from(JSON.stringify({ ...before, "the list": list, ...after }))
        const whole = JSON.parse(body.toString()) as Record<string, unknown>
        for (const [name, value] of Object.entries(besideItems(body))) expect(whole[name]).toEqual(value)
      }),
      { numRuns: 500 },
    )
  })

  it("is cut off nowhere in the middle, however long the list is", () => {
    const list = Array.from({ length: 2_000 }, (_, i) => ({ id: i, more: false, text: "},]," }))
    expect(besideItems(Buffer.from(JSON.stringify({ a: 1, list, more: true, next: "x" })))).toEqual({
      a: 1,
      more: true,
      next: "x",
    })
  })
})

describe("the next page is asked for before the present one is parsed", () => {
  const answers = (page: number): { body: object; headers: Record<string, string> } => {
    const more = page < 3
    const link = more ? `/items?page=${page + 1}` : null
    return {
      body: { page, pages: 3, items: pageOf(page), more, next: more ? page + 1 : null, link },
      headers: more ? { link: `<${link}>; rel="next"` } : {},
    }
  }

  /** What happens to three pages, in order, when each answer is there at once. */
  async function happening(paginate: Paginator): Promise<string[]> {
    const happened: string[] = []
    const fetched = pages(
      {
        paginator: paginate,
        from: paginate.first,
        concurrency: 1,
        prefetch: 1,
        allowRepeatedPages: false,
        maxEmptyPages: 1,
        fetch: async (request, _signal, arrived) => {
          const url = new URL(request.url ?? "/items", "http://localhost")
          const page = Number(request.query?.["page"] ?? url.searchParams.get("page") ?? 1)
          happened.push(`asked for ${page}`)
          const { body, headers } = answers(page)
          await systemClock.turn()
          const text = Buffer.from(JSON.stringify(body))
          await arrived({ body: text, headers, url })
          happened.push(`parsed ${page}`)
          return { items: new PageItems(text, "items", { exact: new Set(), maxRecordBytes: 1e6 }), headers, url }
        },
      },
      contextOf().context,
    )
    for await (const { items } of fetched) expect(items.length).toBe(10)
    return happened
  }

  it.each([
    ["a flag", pageNumber({ more: "more" })],
    ["a number of pages", pageNumber({ pages: "pages" })],
    ["a cursor", bodyCursor({ param: "page", from: "next" })],
    ["a link", nextLink({ from: "link" })],
    ["a header", linkHeader()],
  ])("where %s tells it, and never one beyond the last", async (_what, paginate) => {
    const happened = await happening(paginate)
    expect(happened.indexOf("asked for 2")).toBeLessThan(happened.indexOf("parsed 1"))
    expect(happened.toSorted()).toEqual(
      [1, 2, 3, 1, 2, 3].map((page, i) => `${i < 3 ? "asked for" : "parsed"} ${page}`),
    )
  })

  it("it has mostly reached the server by then", async () => {
    // A server of its own thread answers while this one stands still.
    const reached = new Int32Array(new SharedArrayBuffer(4))
    const server = new Worker(
      `const { createServer } = require("node:http")
       const { parentPort, workerData: reached } = require("node:worker_threads")
       const server = createServer((request, response) => {
         const page = Number(new URL(request.url, "http://localhost").searchParams.get("page"))
         Atomics.store(reached, 0, page)
         Atomics.notify(reached, 0)
         response.setHeader("content-type", "application/json")
         response.end(JSON.stringify({ items: [{ id: page }], more: page < 40 }))
       })
       server.listen(0, "127.0.0.1", () => parentPort.postMessage(server.address().port))`,
      { eval: true, workerData: reached },
    )
    try {
      const [port] = (await once(server, "message")) as [number]
      let inTime = 0
      const itemsOf = (body: unknown): unknown => {
        const { items: found } = body as { items: { id: number }[] }
        const page = found[0]?.id ?? 0
        // A page that came before it was waited for has the next one asked for later.
        if (page < 40) Atomics.wait(reached, 0, page, 50)
        if (Atomics.load(reached, 0) > page) inTime++
        return found
      }
      const source = rest({
        url: `http://127.0.0.1:${port}/items`,
        paginate: pageNumber({ more: "more" }),
        items: itemsOf,
      })
      await readAll(source, contextOf().context)
      expect(inTime).toBeGreaterThan(13)
    } finally {
      await server.terminate()
    }
  })

  it("what was asked for in vain is thrown away, where the page as a whole says otherwise", async () => {
    // Of two members with one name the last counts, and it is too far from the end to be seen at a glance.
    const api = await testApi((_request, response, url) => {
      const page = Number(url.searchParams.get("page"))
      const far = JSON.stringify("x".repeat(2_000))
      response.setHeader("content-type", "application/json")
      response.end(
        page < 3
          ? `{"more":true,"items":${JSON.stringify(pageOf(page))}}`
          : `{"more":true,"items":${JSON.stringify(pageOf(page))},"more":false,"far":${far}}`,
      )
    })
    expect(await idsOf(api, { paginate: pageNumber({ more: "more" }) })).toEqual(ids)
    expect(api.asked.slice(0, 3)).toEqual(["/items?page=1", "/items?page=2", "/items?page=3"])
  })

  it("a page that was damaged on its way is asked for again, and the next one is not asked for twice", async () => {
    let damaged = 0
    const api = await testApi((_request, response, url) => {
      const page = Number(url.searchParams.get("page"))
      if (page === 2 && damaged++ === 0) {
        response.setHeader("content-type", "application/json")
        response.end('{"items":[{"id":},{"id":12}],"more":true}')
      } else sendJson(response, { items: pageOf(page), more: page < 3 })
    })
    const http = { retry: { baseDelay: 1 } }
    expect(await idsOf(api, { paginate: pageNumber({ more: "more" }), http })).toEqual(ids)
    expect(api.asked.toSorted()).toEqual(["/items?page=1", "/items?page=2", "/items?page=2", "/items?page=3"])
  })
})
