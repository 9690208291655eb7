import type { LaunchOptions, Page } from "playwright-core"
import type { Setting } from "../../core/environment.ts"
import type { RecordObject } from "../../core/records.ts"
import type { Duration } from "../../resilience/duration.ts"
import type { RetryOptions } from "../../resilience/retry-policy.ts"

export interface BrowserOptions {
  /** The address of the first page. */
  url: Setting
  /** Takes the records off a rendered page, in order. Tried again, on the page loaded anew, when it throws. */
  extract: (page: Page) => Promise<readonly RecordObject[]> | readonly RecordObject[]
  /** What is clicked for the next page (a selector; the last page is the one where it is missing, hidden or disabled), or a function that does it and says whether there was one. Default: one page. */
  next?: string | ((page: Page) => Promise<boolean>)
  /** A selector that must be on a page before it is taken off. */
  ready?: string
  /** For each page. Default: 3 attempts. */
  retries?: Pick<RetryOptions, "attempts" | "baseDelay" | "maxDelay" | "jitter">
  /** For each step on a page: loading, waiting, clicking. Default 30 seconds. */
  timeout?: Duration
  /** More pages than this are taken for a circle. Default 1,000. */
  maxPages?: number
  /** How the browser is started. Default: the Chrome that is installed (`{ channel: "chrome" }`). */
  launch?: Pick<LaunchOptions, "executablePath" | "channel" | "args" | "headless" | "proxy">
}

/** Options with their defaults. */
export interface BrowserSettings extends BrowserOptions {
  readonly timeoutMs: number
  readonly mostPages: number
}
