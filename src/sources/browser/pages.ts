import type { Browser, Page, Request } from "playwright-core"
import type { Clock } from "../../core/clock.ts"
import type { SourceContext } from "../../core/contracts.ts"
import { SpillwayError } from "../../core/errors.ts"
import type { BrowserSettings } from "./options.ts"
import { launchError, pageError, statusError } from "./errors.ts"
import { launched } from "./launch.ts"

/** A page is at rest when it asked for nothing and stayed as it was for so long; it is waited for at most this long. */
const QUIET_MS = 200
const RESTLESS_MS = 10_000
/** What a page may keep open for as long as it is shown. */
const LASTING = new Set(["eventsource", "websocket", "media", "ping"])

/** Between two looks at whether a page has changed. */
const POLL_MS = 50

/** A browser with one page open, which walks from page to page of a list. */
export class BrowserPages {
  readonly page: Page
  readonly #browser: Browser
  readonly #settings: BrowserSettings
  readonly #address: string
  readonly #shown: string
  readonly #signal: AbortSignal
  readonly #clock: Clock
  readonly #underWay = new Set<Request>()
  readonly #cut = (): void => void this.#closed()
  #closing: Promise<void> | undefined
  /** The page's own address, by number from 0; undefined where it has none but that of the page before. */
  readonly #addresses: (string | undefined)[]

  private constructor(
    { browser, page }: { browser: Browser; page: Page },
    { address, key, settings }: { address: string; key: string; settings: BrowserSettings },
    { signal, ports }: SourceContext,
  ) {
    this.#browser = browser
    this.#clock = ports.clock
    this.page = page
    this.#address = address
    this.#addresses = [address]
    this.#shown = key
    this.#settings = settings
    this.#signal = signal
    signal.addEventListener("abort", this.#cut)
    page.on("request", (request) => {
      if (!LASTING.has(request.resourceType())) this.#underWay.add(request)
    })
    page.on("requestfinished", (request) => this.#underWay.delete(request))
    page.on("requestfailed", (request) => this.#underWay.delete(request))
  }

  /** Starts the browser. Throws `CONFIG` and `RESOURCE`. */
  static async open(
    list: { address: string; key: string; settings: BrowserSettings },
    context: SourceContext,
  ): Promise<BrowserPages> {
    const { signal } = context
    signal.throwIfAborted()
    const browser = await launched(list.settings, context)
    try {
      // The run may have been stopped while the browser started.
      signal.throwIfAborted()
      const page = await browser.newPage()
      page.setDefaultTimeout(list.settings.timeoutMs)
      signal.throwIfAborted()
      return new BrowserPages({ browser, page }, list, context)
    } catch (error) {
      await browser.close()
      signal.throwIfAborted()
      throw launchError(error)
    }
  }

  /** Loads page `n` (from 0) anew: by its own address, or from the first page on. */
  async load(n: number): Promise<void> {
    const own = this.#addresses[n]
    await this.#goto(own ?? this.#address)
    if (own !== undefined) return
    for (let at = 0; at < n; at++)
      if (!(await this.#leave()))
        throw new SpillwayError("DATA_LOSS", `page ${n + 1} is no longer there: the list ends with page ${at + 1}`, {
          class: "transient",
          where: this.#shown,
          hint: "run again: the list changed meanwhile",
        })
  }

  /** Goes from page `n` to the next one; false when there is none. Throws `RESOURCE` when the pages go in a circle. */
  async next(n: number): Promise<boolean> {
    const before = this.page.url()
    if (!(await this.#leave())) return false
    if (n + 1 >= this.#settings.mostPages)
      throw new SpillwayError("RESOURCE", `there are more than ${this.#settings.mostPages} pages`, {
        where: this.#shown,
        hint: "raise maxPages, or check that next stops at the last page",
      })
    const after = this.page.url()
    if (after !== before && this.#addresses.includes(after))
      throw new SpillwayError(
        "RESOURCE",
        `the page after page ${n + 1} is page ${this.#addresses.indexOf(after) + 1} again`,
        {
          where: this.#shown,
          hint: "check what next clicks",
        },
      )
    this.#addresses[n + 1] = after === before ? undefined : after
    return true
  }

  async expectReady(): Promise<void> {
    if (this.#settings.ready !== undefined) await this.page.waitForSelector(this.#settings.ready)
  }

  async close(): Promise<void> {
    this.#signal.removeEventListener("abort", this.#cut)
    await this.#closed()
  }

  /** Only the first call for it waits until the browser's folders are gone. */
  #closed(): Promise<void> {
    this.#closing ??= this.#browser.close().catch(() => undefined)
    return this.#closing
  }

  async #goto(address: string): Promise<void> {
    try {
      const answer = await this.page.goto(address)
      if (answer !== null && answer.status() >= 400) throw statusError(answer.status(), this.#shown)
      await this.#settle()
    } catch (error) {
      throw pageError(error, this.#shown)
    }
  }

  async #leave(): Promise<boolean> {
    const { next } = this.#settings
    if (next === undefined) return false
    try {
      if (typeof next === "function") {
        const wasThere = await next(this.page)
        if (wasThere) await this.#settle()
        return wasThere
      }
      const link = this.page.locator(next).first()
      if (!(await link.isVisible()) || !(await link.isEnabled())) return false
      const before = await this.page.content()
      await link.click()
      await this.#expectOther(before)
      await this.#settle()
      return true
    } catch (error) {
      throw pageError(error, this.#shown)
    }
  }

  /** Waits until the page shows something else: another document, or another content. */
  async #expectOther(before: string): Promise<void> {
    const start = this.#clock.monotonic()
    while ((await this.#content()) === before) {
      if (this.#clock.monotonic() - start > this.#settings.timeoutMs)
        throw new SpillwayError("TIMEOUT", "a click on the next page changed nothing", {
          where: this.#shown,
          hint: "check what next clicks; it must be missing or disabled on the last page",
        })
      await this.#clock.sleep(POLL_MS, this.#signal)
    }
  }

  /**
   * Waits until the page asks for nothing any more and its content stays as it is: what is there while a list loads is neither the
   * list nor its end. A page that never comes to rest is taken as it is after a while.
   */
  async #settle(): Promise<void> {
    await this.page.waitForLoadState()
    const monotonic = (): number => this.#clock.monotonic()
    const start = monotonic()
    let since = start
    let content = await this.#content()
    while (monotonic() - since < QUIET_MS && monotonic() - start < RESTLESS_MS) {
      await this.#clock.sleep(POLL_MS, this.#signal)
      const now = await this.#content()
      if (this.#underWay.size > 0 || now !== content) since = monotonic()
      content = now
    }
  }

  /** While a page goes over into the next it has no content to tell. */
  #content(): Promise<string | undefined> {
    return this.page.content().catch((error: unknown) => {
      if (this.page.isClosed()) throw error
      return undefined
    })
  }
}
