import { settingValue, shownSetting } from "../../core/environment.ts"
import { SpillwayError } from "../../core/errors.ts"
import type { Source } from "../../core/contracts.ts"
import { registerSecret } from "../../core/secrets.ts"
import { milliseconds } from "../../resilience/duration.ts"
import type { BrowserOptions, BrowserSettings } from "./options.ts"
import { BrowserReader } from "./reader.ts"

export type { BrowserOptions } from "./options.ts"

/**
 * Records taken off rendered pages, one after the other, in a real browser (by the optional package `playwright-core`). The address is the one
 * partition; it counts as changed at each run and starts over when it was interrupted, so its rows need a key or are replaced. A page whose records cannot
 * be taken off, whatever is tried, is a dead letter with its HTML; the pages after it are read. Picture and HTML of every page that has dead letters lie in
 * `.spillway/evidence`, named in their `source`. Reading throws `NETWORK`, `DNS`, `TLS`, `TIMEOUT`, `HTTP_4XX`, `HTTP_429` or `HTTP_5XX` for a page that
 * cannot be loaded, `RESOURCE` for a browser that cannot be started or a circle of pages, `CONFIG` when the package is missing.
 */
export function browser(options: BrowserOptions): Source {
  const settings: BrowserSettings = {
    ...options,
    timeoutMs: milliseconds(options.timeout ?? "30 seconds", "timeout"),
    mostPages: options.maxPages ?? 1_000,
  }
  const { url, extract, next, ready } = options
  return {
    kind: "browser",
    unit: "url",
    untyped: false,
    resumable: false,
    positions: "shifting",
    description: {
      source: "browser",
      url: typeof url === "string" ? shownAddress(url) : shownSetting(url),
      extract: extract.toString(),
      next: next === undefined ? null : next.toString(),
      ready: ready ?? null,
      maxPages: settings.mostPages,
    },
    list: ({ ports }) =>
      Promise.resolve([
        // What pages show cannot be known without reading them: they count as changed at each run.
        {
          key: shownAddress(settingValue(url)),
          version: `read ${ports.random.hex(16)}`,
          bytes: undefined,
          stamp: null,
        },
      ]),
    read: (partition, _from, context) =>
      new BrowserReader({ address: settingValue(url), key: partition.key, settings }, context),
  }
}

/** An address without user and password. Throws `CONFIG` when it is none. */
function shownAddress(address: string): string {
  if (!/^https?:\/\//i.test(address) || !URL.canParse(address))
    throw new SpillwayError("CONFIG", "browser() is given an address that is none", {
      where: "url",
      hint: 'give the whole address: "https://example.com/list"',
    })
  const url = new URL(address)
  registerSecret(url.password)
  registerSecret(decodeURIComponent(url.password))
  url.username = ""
  url.password = ""
  return url.href
}
