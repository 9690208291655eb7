import { SpillwayError } from "../../core/errors.ts"
import type { JsonValue } from "../../core/json.ts"
import { isMore, numberAt, pathOf, valueAtPath, type BodyPath } from "./body.ts"
import { linkTarget } from "./links.ts"

/** Which page is meant; plain JSON, kept in positions. */
export type PagePlace = Readonly<Record<string, string | number>>

/** What asking for a page adds to the request. */
export interface PageRequest {
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  /** The whole address of the page, in place of the source's own with its parameters. */
  readonly url?: string
}

/** A page that was read. */
export interface ReadPage {
  readonly place: PagePlace
  readonly body: unknown
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  /** Where it came from, after redirects. */
  readonly url: URL
  /** How many items it holds. */
  readonly items: number
}

/** How one page leads to the next. */
export interface Paginator {
  readonly description: JsonValue
  readonly first: PagePlace
  request(place: PagePlace): PageRequest
  /** The place for people, in dead letters and messages. */
  label(place: PagePlace): string
  /** The page after this one; undefined when it was the last. Throws `DECODE` where the page does not say. */
  next(page: ReadPage): PagePlace | undefined
  /** The page after this place, where that can be told before the page is there. */
  ahead?(place: PagePlace): PagePlace
  /**
   * The page after this one, where headers or what stands beside the list in the body tell it; undefined where they do not, or it was the last.
   * Asked before the page is parsed, so that the next one is on its way meanwhile. `next` has the last word, also on what is wrong.
   */
  early?(page: EarlyPage): PagePlace | undefined
}

/** A page that came and was not parsed. `body` has what stands beside its list, as far as that is quickly found. */
export type EarlyPage = Omit<ReadPage, "items">

export interface PageNumberOptions {
  /** The parameter that takes the number. Default `page`. */
  param?: string
  /** The number of the first page. Default 1. */
  first?: number
  /** The parameter that takes the size of a page; named together with `size`. */
  sizeParam?: string
  size?: number
  /** Path to what says in the body whether there are more pages: `has_more`. */
  more?: BodyPath
  /** Path to the number of pages in the body. */
  pages?: BodyPath
  /** Path to the number of all items in the body. */
  total?: BodyPath
}

/**
 * Pages by number. The last one is told by `more`, `pages` or `total`; where none is given or the body lacks it, by the first page
 * without items. Items that are removed while pages are read move others onto pages that were read already: a cursor cannot miss those.
 */
export function pageNumber(options: PageNumberOptions = {}): Paginator {
  const { param = "page", first = 1, sizeParam, size, more, pages, total } = options
  requireTogether("pageNumber", { sizeParam, size })
  const sizeQuery: Record<string, string> = sizeParam === undefined ? {} : { [sizeParam]: String(size) }
  const ahead = ({ page, before }: PagePlace): PagePlace => ({
    page: Number(page) + 1,
    before: Number(before) + (size ?? 0),
  })
  return {
    description: { paginator: "page number", ...options },
    first: { page: first, before: 0 },
    request: ({ page }) => ({ query: { [param]: String(page), ...sizeQuery } }),
    label: ({ page }) => String(page),
    ahead,
    early({ place, body }) {
      const said = more === undefined ? undefined : isMore(body, more)
      const all = pages === undefined ? undefined : numberAt(body, pages)
      const isMoreToCome = said ?? (all !== undefined && Number(place["page"]) - first + 1 < all)
      return isMoreToCome ? ahead(place) : undefined
    },
    next({ place, body, items }) {
      const page = Number(place["page"])
      const before = Number(place["before"]) + items
      const isLast = ends({
        more: more === undefined ? undefined : isMore(body, more),
        left: leftOf([
          [pages, page - first + 1],
          [total, before],
        ])(body),
        items,
      })
      return isLast ? undefined : { page: page + 1, before }
    },
  }
}

export interface OffsetLimitOptions {
  /** The parameter that takes the offset. Default `offset`. */
  param?: string
  /** The parameter that takes the size of a page. Default `limit`. */
  limitParam?: string
  limit: number
  /** Path to what says in the body whether there are more items. */
  more?: BodyPath
  /** Path to the number of all items in the body. */
  total?: BodyPath
}

/** Pages by the number of items before them; a server that gives fewer than `limit` is followed at what it gives. Ends as `pageNumber` does. */
export function offsetLimit(options: OffsetLimitOptions): Paginator {
  const { param = "offset", limitParam = "limit", limit, more, total } = options
  requireTogether("offsetLimit", { limit })
  return {
    description: { paginator: "offset", ...options },
    first: { offset: 0 },
    request: ({ offset }) => ({ query: { [param]: String(offset), [limitParam]: String(limit) } }),
    label: ({ offset }) => String(offset),
    ahead: ({ offset }) => ({ offset: Number(offset) + limit }),
    next({ place, body, items }) {
      const offset = Number(place["offset"]) + items
      const said = more === undefined ? undefined : isMore(body, more)
      return ends({ more: said, left: leftOf([[total, offset]])(body), items }) ? undefined : { offset }
    },
  }
}

export interface BodyCursorOptions {
  /** The parameter that takes the cursor. Default `cursor`. */
  param?: string
  /** Path to the next cursor in the body; absent, null, false or empty on the last page. */
  from: BodyPath
  /** Path to what says in the body whether there are more pages, where a cursor comes with the last one too. */
  more?: BodyPath
  sizeParam?: string
  size?: number
}

/** Pages by a cursor that the page before carries in its body. */
export function bodyCursor(options: BodyCursorOptions): Paginator {
  const { param = "cursor", from, more, sizeParam, size } = options
  requireTogether("bodyCursor", { sizeParam, size })
  const path = pathOf(from)
  const cursorIn = (body: unknown): PagePlace | undefined => cursorPlace(valueAtPath(body, path), path.join("."))
  return {
    description: { paginator: "cursor", ...options },
    ...byCursor(param, sizeParam === undefined ? {} : { [sizeParam]: String(size) }),
    early: ({ body }) => (more === undefined || isMore(body, more) === true ? cursorIn(body) : undefined),
    next: ({ body }) => (more !== undefined && isMore(body, more) === false ? undefined : cursorIn(body)),
  }
}

export interface HeaderCursorOptions {
  /** The header of the answer that carries the next cursor; absent or empty on the last page. */
  header: string
  /** The parameter that takes it. Default `cursor`. */
  param?: string
  sizeParam?: string
  size?: number
}

/** Pages by a cursor that the page before carries in a header. */
export function headerCursor(options: HeaderCursorOptions): Paginator {
  const { header, param = "cursor", sizeParam, size } = options
  requireTogether("headerCursor", { sizeParam, size })
  const next = ({ headers }: EarlyPage): PagePlace | undefined => cursorPlace(headers[header.toLowerCase()], header)
  return {
    description: { paginator: "header cursor", ...options },
    ...byCursor(param, sizeParam === undefined ? {} : { [sizeParam]: String(size) }),
    early: next,
    next,
  }
}

/** Pages by an address that the page before carries in its body, at the path `from`; absolute or relative. */
export function nextLink(options: { from: BodyPath }): Paginator {
  const path = pathOf(options.from)
  const next = ({ body, url }: EarlyPage): PagePlace | undefined => {
    const link = valueAtPath(body, path)
    if (isAbsent(link)) return undefined
    const target = typeof link === "string" ? URL.parse(link, url) : null
    if (target === null) throw noCursor(path.join("."), "an address")
    return { url: target.href }
  }
  return { description: { paginator: "next link", ...options }, ...byLink, early: next, next }
}

/** Pages by the `Link` header with `rel="next"` (RFC 8288). */
export function linkHeader(options: { rel?: string } = {}): Paginator {
  const { rel = "next" } = options
  const next = ({ headers, url }: EarlyPage): PagePlace | undefined => {
    const link = linkTarget(headers["link"] ?? "", rel)
    if (link === undefined) return undefined
    const target = URL.parse(link, url)
    if (target === null) throw noCursor(`Link header (${rel})`, "an address")
    return { url: target.href }
  }
  return { description: { paginator: "link header", rel }, ...byLink, early: next, next }
}

/** One page and no more, whatever it says of others. */
export function singlePage(): Paginator {
  return {
    description: { paginator: "single page" },
    first: {},
    request: () => ({}),
    label: () => "1",
    next: () => undefined,
  }
}

const SIGNS = [
  "has_more",
  "hasMore",
  "next",
  "next_page",
  "next_cursor",
  "nextCursor",
  "nextPageToken",
  "next_page_token",
]

/** What stands where no paginator was given: one page, which must not say that there are others. */
export function onlyPage(): Paginator {
  return {
    ...singlePage(),
    next({ body, headers }) {
      const sign =
        linkTarget(headers["link"] ?? "", "next") === undefined
          ? SIGNS.find((name) => isMore(body, name))
          : "a Link header"
      if (sign === undefined) return undefined
      throw new SpillwayError(
        "CONFIG",
        `the answer says that there are more pages (${sign}), and the source names no way to them`,
        {
          hint: "give paginate: pageNumber(…), offsetLimit(…), bodyCursor(…), nextLink(…), linkHeader() or headerCursor(…); or singlePage() if one page is all you want",
        },
      )
    },
  }
}

const byLink = {
  first: {},
  request: ({ url }: PagePlace): PageRequest => (typeof url === "string" ? { url } : {}),
  label: ({ url }: PagePlace): string => (typeof url === "string" ? url : "first"),
}

const byCursor = (
  param: string,
  more: Readonly<Record<string, string>>,
): Pick<Paginator, "first" | "request" | "label"> => ({
  first: {},
  request: ({ cursor }) => ({ query: cursor === undefined ? more : { ...more, [param]: String(cursor) } }),
  label: ({ cursor }) => (cursor === undefined ? "first" : String(cursor)),
})

const isAbsent = (value: unknown): boolean => value === undefined || value === null || value === "" || value === false

function cursorPlace(cursor: unknown, where: string): PagePlace | undefined {
  if (isAbsent(cursor)) return undefined
  if (typeof cursor !== "string" && typeof cursor !== "number") throw noCursor(where, "a text or a number")
  return { cursor }
}

const noCursor = (where: string, expected: string): SpillwayError =>
  new SpillwayError("DECODE", `the page's ${where} is not ${expected}`, {
    class: "terminal",
    hint: "correct the path in paginate, or ask who runs the API what leads to the next page",
  })

/** Whether a page was the last: as it says itself; otherwise when nothing is left, or it is empty. */
function ends(page: { more: boolean | undefined; left: number | undefined; items: number }): boolean {
  if (page.more !== undefined) return !page.more
  if (page.left !== undefined) return page.left <= 0
  return page.items === 0
}

/** How many pages or items are left, by what the body says there are in all. */
const leftOf =
  (counts: readonly (readonly [path: BodyPath | undefined, read: number])[]) =>
  (body: unknown): number | undefined => {
    for (const [path, read] of counts) {
      const all = path === undefined ? undefined : numberAt(body, path)
      if (all !== undefined) return all - read
    }
    return undefined
  }

function requireTogether(what: string, sizes: Readonly<Record<string, string | number | undefined>>): void {
  const given = Object.entries(sizes).filter(([, value]) => value !== undefined)
  const size = sizes["size"] ?? sizes["limit"]
  const isWhole = size === undefined || (Number.isInteger(size) && Number(size) > 0)
  if (isWhole && (given.length === 0 || given.length === Object.keys(sizes).length)) return
  throw new SpillwayError(
    "CONFIG",
    `${what}() needs ${Object.keys(sizes).join(" and ")} together, the size a whole number above 0`,
    {
      hint: 'write sizeParam: "per_page", size: 100',
    },
  )
}
