import { afterEach, describe, expect, it } from "vitest"
import {
  bodyCursor,
  headerCursor,
  linkHeader,
  nextLink,
  offsetLimit,
  pageNumber,
  rest,
  singlePage,
  type Paginator,
  type RestOptions,
} from "../../src/sources/index.ts"
import { endServers } from "../resilience/servers.ts"
import { contextOf, numbered, readAll, sendJson, testApi, type Answer, type TestApi } from "./rest-api.ts"

afterEach(endServers)

const items = numbered(25)
const ids = items.map(({ id }) => id)

async function idsOf(api: TestApi, options: Partial<RestOptions>): Promise<number[]> {
  const source = rest({ url: `${api.origin}/items`, ...options })
  const [reading] = await readAll(source, contextOf().context)
  return (reading?.records as { id: number }[]).map(({ id }) => id)
}

/** Slices by number and size of pages. */
const numberedPages =
  (more: (shown: { page: number; slice: typeof items; end: number }) => object): Answer =>
  (_request, response, url) => {
    const page = Number(url.searchParams.get("page") ?? 1)
    const size = Number(url.searchParams.get("per_page") ?? 10)
    const slice = items.slice((page - 1) * size, page * size)
    sendJson(response, { items: slice, ...more({ page, slice, end: page * size }) })
  }

describe("paginators read every item once, in order, and stop:", () => {
  it("page numbers, until a page is empty", async () => {
    const api = await testApi(numberedPages(() => ({})))
    expect(await idsOf(api, { paginate: pageNumber() })).toEqual(ids)
    expect(api.asked).toEqual(["/items?page=1", "/items?page=2", "/items?page=3", "/items?page=4"])
  })

  it("page numbers with a flag for more, one that may be text", async () => {
    for (const word of [(more: boolean) => more, (more: boolean) => String(more)]) {
      const api = await testApi(numberedPages(({ end }) => ({ meta: { has_more: word(end < items.length) } })))
      const paginate = pageNumber({ sizeParam: "per_page", size: 10, more: "meta.has_more" })
      expect(await idsOf(api, { paginate })).toEqual(ids)
      expect(api.asked).toHaveLength(3)
    }
  })

  it("page numbers that begin at 0, with a number of pages", async () => {
    const api = await testApi((_request, response, url) => {
      const page = Number(url.searchParams.get("p"))
      sendJson(response, { items: items.slice(page * 10, page * 10 + 10), total_pages: 3 })
    })
    expect(await idsOf(api, { paginate: pageNumber({ param: "p", first: 0, pages: "total_pages" }) })).toEqual(ids)
    expect(api.asked).toHaveLength(3)
  })

  it("page numbers with a number of items, where the server gives smaller pages than asked for", async () => {
    const api = await testApi((_request, response, url) => {
      const page = Number(url.searchParams.get("page"))
      sendJson(response, { items: items.slice((page - 1) * 5, page * 5), total: "25" })
    })
    const paginate = pageNumber({ sizeParam: "per_page", size: 100, total: "total" })
    expect(await idsOf(api, { paginate, concurrency: 3 })).toEqual(ids)
  })

  it("offsets, also where the server gives smaller pages than asked for, with pages asked for ahead", async () => {
    const answer: Answer = (_request, response, url) => {
      const offset = Number(url.searchParams.get("offset"))
      sendJson(response, { items: items.slice(offset, offset + 4), total: 25 })
    }
    for (const limit of [4, 10])
      for (const concurrency of [1, 4]) {
        const api = await testApi(answer)
        expect(await idsOf(api, { paginate: offsetLimit({ limit, total: "total" }), concurrency })).toEqual(ids)
      }
  })

  it("a cursor in the body", async () => {
    const api = await testApi((_request, response, url) => {
      const at = Number(url.searchParams.get("after") ?? 0)
      sendJson(response, { data: { rows: items.slice(at, at + 10) }, paging: { next: at + 10 < 25 ? at + 10 : null } })
    })
    const paginate = bodyCursor({ param: "after", from: "paging.next" })
    expect(await idsOf(api, { paginate, items: "data.rows" })).toEqual(ids)
    expect(api.asked).toEqual(["/items", "/items?after=10", "/items?after=20"])
  })

  it("a next link in the body, absolute and relative", async () => {
    const api: TestApi = await testApi((_request, response, url) => {
      const at = Number(url.searchParams.get("at") ?? 0)
      const link = `/items?at=${at + 10}`
      const next = at === 0 ? `${api.origin}${link}` : link
      sendJson(response, { items: items.slice(at, at + 10), links: { next: at + 10 < 25 ? next : "" } })
    })
    expect(await idsOf(api, { paginate: nextLink({ from: "links.next" }), query: { fixed: 1 } })).toEqual(ids)
    expect(api.asked).toEqual(["/items?fixed=1", "/items?at=10", "/items?at=20"])
  })

  it("a Link header among others", async () => {
    const api: TestApi = await testApi((_request, response, url) => {
      const at = Number(url.searchParams.get("at") ?? 0)
      const links = [`<${api.origin}/items?at=0>; title="a, \\"b\\"; rel=next"; rel="first"`]
      if (at + 10 < 25) links.push(`<${api.origin}/items?at=${at + 10}>; rel="last next"`)
      sendJson(response, items.slice(at, at + 10), { link: links.join(", ") })
    })
    expect(await idsOf(api, { paginate: linkHeader() })).toEqual(ids)
    expect(api.asked).toHaveLength(3)
  })

  it("a cursor in a header", async () => {
    const api = await testApi((_request, response, url) => {
      const at = Number(url.searchParams.get("cursor") ?? 0)
      const headers: Record<string, string> = at + 10 < 25 ? { "X-Next-Cursor": String(at + 10) } : {}
      sendJson(response, items.slice(at, at + 10), headers)
    })
    expect(await idsOf(api, { paginate: headerCursor({ header: "X-Next-Cursor" }) })).toEqual(ids)
  })

  it("one page, whatever it says", async () => {
    const api = await testApi((_request, response) => sendJson(response, { items, has_more: true }))
    expect(await idsOf(api, { paginate: singlePage() })).toEqual(ids)
  })
})

describe("pages asked for ahead", () => {
  it("are at most one less than the concurrency beyond the end, and keep the order", async () => {
    const api = await testApi((_request, response, url) => {
      const page = Number(url.searchParams.get("page"))
      // Later pages are quicker.
      setTimeout(() => sendJson(response, { items: items.slice((page - 1) * 2, page * 2) }), 20 / page)
    })
    expect(await idsOf(api, { paginate: pageNumber(), concurrency: 4 })).toEqual(ids)
    expect(api.asked.length).toBeGreaterThanOrEqual(14)
    expect(api.asked.length).toBeLessThanOrEqual(14 + 3)
  })

  it("are not asked for when the first page is the last", async () => {
    const api = await testApi(numberedPages(() => ({ more: false })))
    await idsOf(api, { paginate: pageNumber({ more: "more", sizeParam: "per_page", size: 50 }), concurrency: 8 })
    expect(api.asked).toHaveLength(1)
  })

  it("that fail beyond the end do no harm", async () => {
    const api = await testApi((_request, response, url) => {
      const page = Number(url.searchParams.get("page"))
      if (page > 3) response.writeHead(404).end()
      else sendJson(response, { items: items.slice((page - 1) * 10, page * 10), total_pages: 3 })
    })
    expect(await idsOf(api, { paginate: pageNumber({ pages: "total_pages" }), concurrency: 5 })).toEqual(ids)
  })
})

describe("pages that lead nowhere end with an error", () => {
  const failing = async (answer: Answer, paginate: Paginator, more: Partial<RestOptions> = {}) => {
    const api = await testApi(answer)
    const error: unknown = await idsOf(api, { paginate, ...more }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    return { error, asked: api.asked.length }
  }

  it("when a cursor comes again", async () => {
    const { error, asked } = await failing(
      (_request, response, url) => {
        const at = Number(url.searchParams.get("cursor") ?? 0)
        sendJson(response, { items: numbered(3, at * 3), next: at === 4 ? 1 : at + 1 })
      },
      bodyCursor({ from: "next" }),
    )
    expect(error).toMatchObject({
      code: "DATA_LOSS",
      class: "terminal",
      message: expect.stringContaining("page 4 leads to page 1") as string,
    })
    expect(asked).toBeLessThan(10)
  })

  it("when the page parameter is not heeded", async () => {
    const { error } = await failing((_request, response) => sendJson(response, { items }), pageNumber())
    expect(error).toMatchObject({
      code: "DATA_LOSS",
      message: expect.stringContaining("page 3 holds the same 25 items as page 1") as string,
    })
  })

  it("when pages stay empty", async () => {
    const { error, asked } = await failing(
      (_request, response, url) =>
        sendJson(response, { items: [], next: Number(url.searchParams.get("cursor") ?? 0) + 1 }),
      bodyCursor({ from: "next" }),
      { maxEmptyPages: 7 },
    )
    expect(error).toMatchObject({
      code: "DATA_LOSS",
      message: expect.stringContaining("8 pages in a row are empty") as string,
    })
    expect(asked).toBeLessThan(13)
  })

  it("unless alike pages are allowed", async () => {
    const { error, asked } = await failing(
      (_request, response, url) =>
        sendJson(response, { items: Number(url.searchParams.get("page")) > 4 ? [] : [{ id: 1 }] }),
      pageNumber(),
      { allowRepeatedPages: true },
    )
    expect(error).toBeUndefined()
    expect(asked).toBe(5)
  })

  it("when a link leads to another host, before anything is asked there", async () => {
    const other = await testApi((_request, response) => sendJson(response, []))
    const { error } = await failing(
      (_request, response) => sendJson(response, { items, next: `${other.origin}/items?x=1` }),
      nextLink({ from: "next" }),
    )
    expect(error).toMatchObject({ code: "CONFIG", hint: expect.stringContaining(other.origin) as string })
    expect(other.asked).toEqual([])
  })

  it("when there is no paginator and the answer says that there are more", async () => {
    for (const [body, headers] of [
      [{ items, has_more: true }, {}],
      [{ items, next_cursor: "x" }, {}],
      [items, { link: '</items?page=2>; rel="next"' }],
    ] as const) {
      const api = await testApi((_request, response) => sendJson(response, body, headers))
      await expect(idsOf(api, {})).rejects.toMatchObject({ code: "CONFIG" })
    }
  })
})

describe("options that make no sense", () => {
  it("are refused", () => {
    const url = "http://localhost/items"
    const wrong: (() => unknown)[] = [
      () => pageNumber({ size: 10 }),
      () => pageNumber({ sizeParam: "size" }),
      () => offsetLimit({ limit: 0 }),
      () => rest({ url: "nonsense" }),
      () => rest({ url: "ftp://localhost/" }),
      () => rest({ url, concurrency: 0 }),
      () => rest({ url, prefetch: 1.5 }),
      () => rest({ url, rateLimit: { requests: 0 } }),
      () => rest({ url, http: { retry: { attempts: 0 } } }),
      () => rest({ url, http: { maxRedirects: -1 } }),
    ]
    for (const make of wrong) expect(make).toThrow(expect.objectContaining({ code: "CONFIG" }))
  })
})
