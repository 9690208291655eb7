import { hash } from "node:crypto"
import { SpillwayError } from "../../core/errors.ts"
import type { Clock } from "../../core/clock.ts"
import type { SourceContext } from "../../core/contracts.ts"
import { printable } from "../../core/shown.ts"
import type { PageItems } from "./items.ts"
import { besideItems } from "./beside-items.ts"
import type { PagePlace, PageRequest, Paginator } from "./paginate.ts"
import { readAhead, type Put } from "./read-ahead.ts"

/** The answer to a request for a page, before it is parsed. */
export interface PageAnswer {
  readonly body: Buffer
  readonly headers: Readonly<Record<string, string>>
  readonly url: URL
}

/** A page as it came. */
export interface FetchedPage {
  readonly items: PageItems
  readonly headers: Readonly<Record<string, string>>
  readonly url: URL
}

/** A page in its place. */
export interface Page extends FetchedPage {
  readonly place: PagePlace
  /** Undefined for the last one. */
  readonly next: PagePlace | undefined
}

export interface PagesOptions {
  readonly paginator: Paginator
  readonly from: PagePlace
  /** Gets a page. `arrived` is called before it is parsed, and waited for: what it does is under way while the page is parsed. */
  readonly fetch: (
    request: PageRequest,
    signal: AbortSignal,
    arrived: (answer: PageAnswer) => Promise<void>,
  ) => Promise<FetchedPage>
  /** Pages asked for at once, where the paginator can tell the next one before this one is there. */
  readonly concurrency: number
  /** Pages kept ready. */
  readonly prefetch: number
  /** Pages with the same items are no sign of going in a circle. */
  readonly allowRepeatedPages: boolean
  /** Empty pages in a row, with more to come, that are put up with. */
  readonly maxEmptyPages: number
}

/** The pages of a listing in order, read ahead of who takes them. Throws `DATA_LOSS` when they go in a circle or stay empty. */
export const pages = (options: PagesOptions, { signal, ports }: SourceContext): AsyncGenerator<Page, void, void> =>
  readAhead<Page>((put, both) => new Pages(options, both, ports.clock).read(put), options.prefetch, signal)

/** A connection that an answer has just come from is written to some turns of the event loop later. */
const TURNS_UNTIL_SENT = 3

/** A page that is being fetched. */
interface Pending {
  readonly place: PagePlace
  readonly key: string
  readonly fetched: Promise<FetchedPage>
}

class Pages {
  readonly #options: PagesOptions
  readonly #signal: AbortSignal
  readonly #guard: CircleGuard
  readonly #clock: Clock
  #pending: Pending[] = []
  /** The page that is waited for: the one that may have the next one asked for. Others would run ahead without end. */
  #awaited: string | undefined
  /** Gives up what was asked for ahead. */
  #ahead: { readonly signal: AbortSignal; cancel(): void }

  constructor(options: PagesOptions, signal: AbortSignal, clock: Clock) {
    this.#options = options
    this.#signal = signal
    this.#ahead = cancellable(signal)
    this.#clock = clock
    this.#guard = new CircleGuard(options)
  }

  async read(put: Put<Page>): Promise<void> {
    const { paginator } = this.#options
    try {
      this.#ask(this.#options.from)
      for (let head = this.#pending.shift(); head !== undefined; head = this.#pending.shift()) {
        const { place } = head
        this.#awaited = head.key
        const fetched = await head.fetched
        this.#awaited = undefined
        const { items, headers, url } = fetched
        const next = paginator.next({ place, body: items.body, headers, url, items: items.length })
        this.#guard.meet(place, items, next)
        this.#goOnTo(next)
        await put({ ...fetched, place, next })
      }
    } finally {
      await this.#drop()
      this.#ahead.cancel()
    }
  }

  /** What was asked for ahead counts only if it is what the page before leads to. */
  #goOnTo(next: PagePlace | undefined): void {
    const { paginator, concurrency } = this.#options
    const ahead = this.#pending[0]
    if (next === undefined || ahead?.key !== this.#keyOf(next)) void this.#drop()
    else this.#pending[0] = { ...ahead, place: next }
    if (next === undefined) return
    if (this.#pending.length === 0) this.#ask(next)
    for (let last = this.#pending.at(-1); this.#pending.length < concurrency; last = this.#pending.at(-1)) {
      if (paginator.ahead === undefined || last === undefined) return
      this.#ask(paginator.ahead(last.place))
    }
  }

  /** Has the next page asked for where this one, which came and is yet to be parsed, tells it at a glance. */
  async #arrived(place: PagePlace, key: string, answer: PageAnswer): Promise<void> {
    if (this.#awaited !== key || this.#pending.length > 0) return
    const next = this.#early(place, answer)
    if (next === undefined || this.#guard.hasMet(next)) return
    this.#ask(next)
    // The request goes out, and is answered while the page is parsed.
    for (let turn = 0; turn < TURNS_UNTIL_SENT; turn++) await this.#clock.turn()
  }

  #early(place: PagePlace, { body, headers, url }: PageAnswer): PagePlace | undefined {
    try {
      return this.#options.paginator.early?.({ place, body: besideItems(body), headers, url })
    } catch {
      // What is wrong with the page is told when it was parsed.
      return undefined
    }
  }

  #ask(place: PagePlace): void {
    const { paginator, fetch } = this.#options
    const request = paginator.request(place)
    const key = JSON.stringify(request)
    const fetched = fetch(request, this.#ahead.signal, (answer) => this.#arrived(place, key, answer))
    // Met when its turn comes, which may be never.
    fetched.catch(() => undefined)
    this.#pending.push({ place, key, fetched })
  }

  async #drop(): Promise<void> {
    if (this.#pending.length === 0) return
    const dropped = this.#pending.splice(0)
    this.#ahead.cancel()
    this.#ahead = cancellable(this.#signal)
    await Promise.allSettled(dropped.map(({ fetched }) => fetched))
  }

  #keyOf(place: PagePlace): string {
    return keyOf(this.#options.paginator, place)
  }
}

/** As `AbortSignal.any` does, which is slow to be asked: each request asks several times. */
function cancellable(signal: AbortSignal): { readonly signal: AbortSignal; cancel(): void } {
  const own = new AbortController()
  const follow = (): void => own.abort(signal.reason)
  if (signal.aborted) follow()
  signal.addEventListener("abort", follow, { once: true })
  const cancel = (): void => {
    signal.removeEventListener("abort", follow)
    own.abort()
  }
  return { signal: own.signal, cancel }
}

const keyOf = (paginator: Paginator, place: PagePlace): string => JSON.stringify(paginator.request(place))

/** Notices pages that lead back to where they came from, that hold what another one held, or that never hold anything. */
class CircleGuard {
  readonly #options: PagesOptions
  readonly #places = new Set<string>()
  readonly #contents = new Map<string, string>()
  #empty = 0
  #repeats = 0

  constructor(options: PagesOptions) {
    this.#options = options
    this.#places.add(idOf(keyOf(options.paginator, options.from)))
  }

  /** Whether a page leads back to this place. */
  hasMet(place: PagePlace): boolean {
    return this.#places.has(idOf(keyOf(this.#options.paginator, place)))
  }

  meet(place: PagePlace, items: PageItems, next: PagePlace | undefined): void {
    const { paginator, allowRepeatedPages, maxEmptyPages } = this.#options
    const label = printable(paginator.label(place))
    if (!allowRepeatedPages) this.#meetContent(label, items)
    this.#empty = items.length === 0 ? this.#empty + 1 : 0
    if (next === undefined) return
    if (this.#empty > maxEmptyPages)
      throw inCircle(
        `${this.#empty} pages in a row are empty, and each says that there are more`,
        "ask who runs the API; raise maxEmptyPages if so many are normal there",
      )
    const id = idOf(keyOf(paginator, next))
    if (this.#places.has(id))
      throw inCircle(
        `page ${label} leads to page ${printable(paginator.label(next))}, which was read before`,
        "the API does not move on: ask who runs it, and check what paginate takes for the next page",
      )
    this.#places.add(id)
  }

  /** One page that is like another may be chance; two in a row are not. */
  #meetContent(label: string, items: PageItems): void {
    if (items.length === 0) return
    const content = contentOf(items)
    const same = this.#contents.get(content)
    this.#repeats = same === undefined ? 0 : this.#repeats + 1
    if (same === undefined) this.#contents.set(content, label)
    else if (this.#repeats > 1)
      throw inCircle(
        `page ${label} holds the same ${items.length} items as page ${same}, and the one before was a repetition too`,
        "the end of the list is not noticed, or the page parameter has another name: name more, pages or total in paginate, or correct param; where pages may truly be alike, set allowRepeatedPages",
      )
  }
}

/** Short ones are kept as they are. */
const idOf = (key: string): string => (key.length <= LONGEST_ID ? key : shortHash(key))

const LONGEST_ID = 64

const shortHash = (text: string): string => hash("sha1", text, "base64url").slice(0, 12)

/** What tells a page's items from another's: some of them, first and last included. */
function contentOf(items: PageItems): string {
  const { length } = items
  const sample = [...new Set([0, length >> 2, length >> 1, (length * 3) >> 2, length - 1])]
  return shortHash(JSON.stringify([length, ...sample.map((i) => items.value(i))]))
}

const inCircle = (message: string, hint: string): SpillwayError =>
  new SpillwayError("DATA_LOSS", `the pages lead nowhere: ${message}`, { hint })
