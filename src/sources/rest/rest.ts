import type { Source, SourceContext } from "../../core/contracts.ts"
import {
  missingSettings,
  notSet,
  secretValue,
  settingValue,
  shownSetting,
  type Setting,
} from "../../core/environment.ts"
import { SpillwayError } from "../../core/errors.ts"
import type { JsonValue } from "../../core/json.ts"
import { objectOf } from "../../formats/jsonl-batch.ts"
import { parseAddress, shownAddress } from "../../resilience/http-address.ts"
import type { RestAuth } from "./auth.ts"
import type { ItemsOption } from "./body.ts"
import { RestClient, type RestHttpOptions } from "./client.ts"
import { incrementalOf, type Incremental, type IncrementalOptions } from "./incremental.ts"
import { PageItems } from "./items.ts"
import { onlyPage, type PagePlace, type PageRequest, type Paginator } from "./paginate.ts"
import { pages, type Page } from "./pages.ts"
import { RateLimit, type RateLimitOptions } from "./rate-limit.ts"
import { RestReader } from "./reader.ts"
import { readings, type Reading } from "./reading.ts"
import { safeLinks } from "./safe-links.ts"

export interface RestOptions {
  /** Where the items are listed. */
  url: string | URL | Setting
  /** What partitions, and with them rows and dead letters, are named by. Default: the address, without secrets. */
  name?: string
  /** Fixed parameters. */
  query?: Readonly<Record<string, string | number | boolean | Setting>>
  headers?: Readonly<Record<string, Setting>>
  /** `bearer`, `basic`, `apiKey`, `oauth2`, or one of your own. Sent to the address's own host (and `origins`) alone. */
  auth?: RestAuth
  /** How one page leads to the next. Default: one page, which must not say that there are others. */
  paginate?: Paginator
  /** Where the items are in a page. Default: the body itself, or the only list in it. */
  items?: ItemsOption
  /** Reads on from where the last run ended. Without it, every run reads all there is. */
  incremental?: IncrementalOptions
  rateLimit?: RateLimitOptions
  /** Pages asked for at once, where page numbers or offsets allow it; up to one less are then asked for in vain at the end. Default 1. */
  concurrency?: number
  /** Pages that wait to be staged, besides those that are asked for. Default 1. */
  prefetch?: number
  /** Of rows with a key that a reading of all there is does not bring: they stay (default), or go, where the listing is known to be complete. */
  missing?: "keep" | "delete"
  /** That nothing comes where there was something is no mistake. Default false: it holds the partition. */
  allowEmpty?: boolean
  /** Pages with the same items as an earlier one are no sign of going in a circle. Default false. */
  allowRepeatedPages?: boolean
  /** Empty pages in a row that say there are more. Default 100. */
  maxEmptyPages?: number
  /** Other origins (`https://files.example.com`) that links may lead to, and that then get the credentials. */
  origins?: readonly string[]
  /** Time-outs, retries, breaker, limits of size. */
  http?: RestHttpOptions
}

/**
 * A JSON API over HTTP, page by page. Without `incremental` it is one partition that every run reads whole; with it, every run reads on from a cursor that
 * is committed with the rows; `by` divides it into days or months. The positions are pages: an interrupted run asks for none of them
 * twice. An item that is no object is a `DecodeFault`. Listing throws `CONFIG` for variables that are not set. Reading throws
 * the codes of docs/resilience.md: what the host is away for ends the run, which the next one continues; `DECODE` for a page that is not what it should be,
 * `HTTP_4XX`, `RESOURCE` for one that is too large and `DATA_LOSS` for pages that go in a circle hold the partition. Throws `CONFIG` when an option makes no sense.
 */
export function rest(options: RestOptions): Source {
  const paginator = options.paginate ?? onlyPage()
  const incremental = options.incremental === undefined ? undefined : incrementalOf(options.incremental)
  const concurrency = atLeastOne("concurrency", options.concurrency ?? 1)
  const prefetch = atLeastOne("prefetch", options.prefetch ?? 1)
  const client = new RestClient({
    http: options.http ?? {},
    headers: options.headers ?? {},
    auth: options.auth,
    rateLimit: options.rateLimit === undefined ? undefined : new RateLimit(options.rateLimit),
  })
  if (typeof options.url === "string" || options.url instanceof URL) parseAddress(String(options.url))
  return {
    kind: "rest",
    unit: "url",
    untyped: false,
    resumable: true,
    positions: incremental === undefined ? "shifting" : "stable",
    incremental: incremental !== undefined,
    dividedBy: incremental?.by,
    description: describe(options, paginator, incremental),
    list(context, known) {
      const listing = {
        name: nameOf(options),
        incremental,
        full: context.full ?? false,
        keepsRows: context.keyed === true && options.missing !== "delete",
        now: context.ports.clock.now(),
      }
      return Promise.resolve(readings(listing, known))
    },
    read: (partition, from, context) =>
      new RestReader({
        partition,
        from,
        context,
        incremental,
        paginator: safeLinks(paginator, options.auth?.parameter),
        allowEmpty: options.allowEmpty ?? false,
        pages: (reading, at) =>
          pagesOf({ options, paginator, incremental, client, concurrency, prefetch }, reading, at, context),
        settle: () => client.settle(context),
      }),
    decodeRecords: (_partition, raws, { exact }) => Promise.resolve(raws.map((raw) => objectOf(raw, exact, "element"))),
  }
}

interface Parts {
  readonly options: RestOptions
  readonly paginator: Paginator
  readonly incremental: Incremental | undefined
  readonly client: RestClient
  readonly concurrency: number
  readonly prefetch: number
}

function pagesOf(
  parts: Parts,
  reading: Reading,
  from: PagePlace,
  context: SourceContext,
): AsyncGenerator<Page, void, void> {
  const { options, paginator, incremental, client, concurrency, prefetch } = parts
  const base = addressOf(options)
  for (const [name, value] of Object.entries(options.query ?? {})) base.searchParams.set(name, textOf(value))
  if (incremental?.param !== undefined && reading.since !== null)
    base.searchParams.set(incremental.param, String(reading.since))
  if (incremental?.endParam !== undefined && reading.until !== null)
    base.searchParams.set(incremental.endParam, String(reading.until))
  const limits = { exact: context.exact, maxRecordBytes: context.maxRecordBytes }
  return pages(
    {
      paginator: safeLinks(paginator, options.auth?.parameter),
      from,
      concurrency,
      prefetch,
      allowRepeatedPages: options.allowRepeatedPages ?? false,
      maxEmptyPages: options.maxEmptyPages ?? 100,
      fetch: (request, signal, arrived) =>
        client.page(
          pageAddress(base, request, options.origins ?? []),
          request.headers ?? {},
          { ...context, signal },
          async (response) => {
            await arrived(response)
            return {
              items: new PageItems(response.body, options.items, limits),
              headers: response.headers,
              url: response.url,
            }
          },
        ),
    },
    context,
  )
}

/** Where a page is asked for. Throws `CONFIG` for a link to a host that is not known. */
function pageAddress(base: URL, { url, query }: PageRequest, origins: readonly string[]): URL {
  const address = new URL(url ?? base)
  for (const [name, value] of Object.entries(query ?? {})) address.searchParams.set(name, value)
  if (address.origin === base.origin || origins.includes(address.origin)) return address
  throw new SpillwayError("CONFIG", `the next page is on another host, ${address.origin}`, {
    where: shownAddress(base),
    hint: `if it may be asked, and have the credentials, name it: origins: ["${address.origin}"]`,
  })
}

const textOf = (value: string | number | boolean | Setting): string =>
  typeof value === "object" ? secretValue(value) : String(value)

function addressOf({ url }: RestOptions): URL {
  return parseAddress(url instanceof URL ? url.href : settingValue(url))
}

/** What partitions are called: the address with its fixed parameters, as it may be shown. Throws `CONFIG` for variables that are not set. */
function nameOf(options: RestOptions): string {
  const settings = [
    options.url,
    ...Object.values(options.query ?? {}),
    ...Object.values(options.headers ?? {}),
    ...(options.auth?.settings ?? []),
  ]
  const missing = missingSettings(
    settings.flatMap((setting) => (typeof setting === "object" && !(setting instanceof URL) ? [setting] : [])),
  )
  if (missing.length > 0) throw notSet(missing)
  if (options.name !== undefined) return options.name
  const address = addressOf(options)
  for (const [name, value] of Object.entries(options.query ?? {}))
    address.searchParams.set(name, typeof value === "object" ? "***" : String(value))
  return shownAddress(address)
}

function describe(options: RestOptions, paginator: Paginator, incremental: Incremental | undefined): JsonValue {
  const { url, name, query, headers, auth, items, missing } = options
  const shown = (values: Readonly<Record<string, string | number | boolean | Setting>> | undefined): JsonValue =>
    Object.fromEntries(
      Object.entries(values ?? {}).map(([key, value]) => [
        key,
        typeof value === "object" ? shownSetting(value) : value,
      ]),
    )
  return {
    source: "rest",
    url: url instanceof URL || typeof url === "string" ? shownAddress(parseAddress(String(url))) : shownSetting(url),
    name: name ?? null,
    query: shown(query),
    // Values that were written down may be secrets.
    headers: Object.fromEntries(
      Object.entries(headers ?? {}).map(([key, value]) => [
        key,
        typeof value === "object" ? shownSetting(value) : "given",
      ]),
    ),
    auth: auth?.description ?? null,
    paginate: paginator.description,
    items: typeof items === "function" ? items.toString() : (items ?? null),
    incremental: incremental?.description ?? null,
    missing: missing ?? "keep",
  }
}

function atLeastOne(option: string, value: number): number {
  if (Number.isInteger(value) && value >= 1) return value
  throw new SpillwayError("CONFIG", `${option}: ${value} is not a whole number above 0`, {
    where: "rest()",
    hint: `leave ${option} out, or give 1 or more`,
  })
}
