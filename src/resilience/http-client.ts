import type { LookupFunction } from "node:net"
import type { BreakerStore } from "../core/breakers.ts"
import type { Clock } from "../core/clock.ts"
import { SpillwayError } from "../core/errors.ts"
import { budgetPerKey, type BudgetOptions, type BudgetPerKey } from "./budget.ts"
import { bulkhead } from "./bulkhead.ts"
import { memoryBreakerStore } from "./breaker-store.ts"
import {
  circuitBreaker,
  type BreakerChange,
  type CircuitBreaker,
  type CircuitBreakerOptions,
} from "./circuit-breaker.ts"
import { milliseconds, type Duration } from "./duration.ts"
import { parseAddress, secretsOf, secretsOfBody, shownAddress, withoutSecrets } from "./http-address.ts"
import { ACCEPTED_ENCODINGS, readChunks, readWhole, type BodyLimits } from "./http-body.ts"
import { EXCERPT_BYTES, statusError } from "./http-errors.ts"
import {
  requireType,
  response,
  type ExpectedType,
  type HttpHead,
  type HttpResponse,
  type HttpStream,
  type SuppressedFailure,
} from "./http-response.ts"
import { Transport, type Answer, type Exchange } from "./http-transport.ts"
import { numberOption } from "./options.ts"
import { compose, systemPolicyPorts, type Call, type Policy, type PolicyPorts } from "./policy.ts"
import { follow, type Arrival, type RedirectNotice } from "./redirects.ts"
import { isRefusedUnread, isRepeatable } from "./repeatable.ts"
import { isRetryable } from "./retryable.ts"
import { retry, type RetryNotice, type RetryOptions } from "./retry-policy.ts"
import { suppressions, type SuppressionCount, type SuppressionRule, type Suppressions } from "./suppression.ts"
import { timeout } from "./timeout.ts"

export interface HttpClientOptions {
  /** Relative addresses start here. */
  readonly baseUrl?: string | URL | undefined
  /** Sent with every request to `baseUrl`'s origin (to every address where there is no `baseUrl`); never across a redirect to another host. */
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** To connect, encryption included. Default 10 s. */
  readonly connectTimeout?: Duration | undefined
  /** From the request to the headers of the answer. Default 30 s. */
  readonly headersTimeout?: Duration | undefined
  /** Between two pieces of the body. Default 30 s. */
  readonly bodyTimeout?: Duration | undefined
  /** For one try with redirects: `request` to the end of the body, `open` to the headers. Default 2 minutes. */
  readonly tryTimeout?: Duration | undefined
  /** Of one body, as it travels and decompressed. Default 64 MiB; `open` has no limit unless one is given. */
  readonly maxBodyBytes?: number | undefined
  /** A body that is more than so many times larger when it is decompressed is refused, beyond its first 16 MiB. Default 200; `Infinity` for no limit. */
  readonly maxExpansion?: number | undefined
  /** Default 10; 0 refuses the first. */
  readonly maxRedirects?: number | undefined
  /** Refuses private, loopback, link-local and cloud metadata addresses, whatever name leads there. Default false. */
  readonly publicOnly?: boolean | undefined
  /** Requests to one host at once. Default 10. */
  readonly concurrency?: number | undefined
  /** `false` tries once. Default: see `retry`. Only what is safe to repeat is. */
  readonly retry?: Omit<RetryOptions, "budget" | "what" | "ports" | "onRetry" | "retryIf"> | false | undefined
  /** Bounds retries per host. Give one object to several clients and they share it; `false` for none. */
  readonly budget?: BudgetOptions | BudgetPerKey | false | undefined
  /** One breaker per host, in memory unless a store is given. `false` for none. */
  readonly breaker?: Omit<CircuitBreakerOptions, "name" | "ports" | "onChange" | "judge"> | false | undefined
  /** Failures that are expected. */
  readonly suppress?: readonly SuppressionRule[] | undefined
  /** Told of retries, redirects, suppressed failures, and changes of breakers. */
  readonly onEvent?: ((event: HttpEvent) => void) | undefined
  /** Certificate authorities to trust instead of the usual ones, PEM. */
  readonly ca?: string | undefined
  /** Resolves host names; default the system's. */
  readonly lookup?: LookupFunction | undefined
  readonly ports?: PolicyPorts | undefined
}

export type HttpEvent =
  | ({ readonly type: "retry"; readonly where: string } & RetryNotice)
  | ({ readonly type: "redirect" } & RedirectNotice)
  | {
      readonly type: "suppressed"
      readonly where: string
      readonly rule: SuppressionRule
      readonly error: SpillwayError
    }
  | { readonly type: "suppression-expired"; readonly where: string; readonly rule: SuppressionRule }
  | ({ readonly type: "breaker" } & BreakerChange)
  | { readonly type: "breaker-store-failed"; readonly name: string; readonly error: unknown }

export interface HttpRequest {
  /** Absolute, or relative to the client's `baseUrl`. User and password in it are sent as basic authentication. */
  readonly url: string | URL
  /** Default GET. */
  readonly method?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly body?: string | Uint8Array | undefined
  readonly signal?: AbortSignal | undefined
  /** Safe to repeat. Default: GET, HEAD, PUT, DELETE and OPTIONS are, and whatever carries an `Idempotency-Key`. */
  readonly idempotent?: boolean | undefined
  readonly expect?: ExpectedType | undefined
}

export interface HttpCounts {
  readonly calls: number
  /** Tries, without redirects. */
  readonly attempts: number
  readonly redirects: number
  readonly suppressed: number
}

/** `Suppressed` is `never` for a client without suppression rules. */
export interface HttpClient<Suppressed = never> {
  /** The whole answer. Throws the codes of docs/resilience.md; a status of 400 or more is a failure. */
  request(request: HttpRequest): Promise<HttpResponse | Suppressed>
  /** The answer with its body as a stream. */
  open(request: HttpRequest): Promise<HttpStream | Suppressed>
  readonly counts: HttpCounts
  readonly suppressions: readonly SuppressionCount[]
  /** Breakers by host, with the state this process knows of. */
  readonly breakers: ReadonlyMap<string, CircuitBreaker>
  /** Closes all connections at once. */
  close(): Promise<void>
}

/** An HTTP client that cannot hang, cannot be flooded, repeats only what is safe, and never tells a secret. Throws `CONFIG` when an option makes no sense. */
export function httpClient(
  options: HttpClientOptions & { readonly suppress: readonly SuppressionRule[] },
): HttpClient<SuppressedFailure>
export function httpClient(options?: HttpClientOptions & { readonly suppress?: undefined }): HttpClient
export function httpClient(options: HttpClientOptions = {}): HttpClient<SuppressedFailure> {
  return new Client(options)
}

const DEFAULT_BODY_BYTES = 64 * 1024 * 1024
const DEFAULT_EXPANSION = 200
const WITHOUT_BODY = new Set([204, 205, 304])

/** Nobody else changes them: what is known of one need not be asked for with every call. */
const ownBreakers = (clock: Clock): BreakerStore => ({ ...memoryBreakerStore(clock), staleAfterMs: 1_000 })

/** What one host has to itself. */
interface Host {
  readonly repeatable: Policy
  readonly once: Policy
}

class Client implements HttpClient<SuppressedFailure> {
  readonly #options: HttpClientOptions
  readonly #ports: PolicyPorts
  readonly #transport: Transport
  readonly #suppressions: Suppressions
  readonly #budgets: BudgetPerKey | undefined
  readonly #breakerOptions: Omit<CircuitBreakerOptions, "name"> | undefined
  readonly #maxRedirects: number
  readonly #base: URL | undefined
  readonly #hosts = new Map<string, Host>()
  readonly breakers = new Map<string, CircuitBreaker>()
  counts = { calls: 0, attempts: 0, redirects: 0, suppressed: 0 }

  constructor(options: HttpClientOptions) {
    const { budget, breaker } = options
    this.#options = options
    this.#ports = options.ports ?? systemPolicyPorts
    this.#transport = new Transport({
      connectTimeoutMs: milliseconds(options.connectTimeout ?? 10_000, "connectTimeout"),
      headersTimeoutMs: milliseconds(options.headersTimeout ?? 30_000, "headersTimeout"),
      bodyTimeoutMs: milliseconds(options.bodyTimeout ?? 30_000, "bodyTimeout"),
      publicOnly: options.publicOnly ?? false,
      ca: options.ca,
      lookup: options.lookup,
    })
    this.#suppressions = suppressions(options.suppress ?? [])
    this.#budgets = budget === false ? undefined : budget && "of" in budget ? budget : budgetPerKey(budget)
    this.#breakerOptions =
      breaker === false ? undefined : { store: ownBreakers(this.#ports.clock), ...breaker, ports: this.#ports }
    this.#maxRedirects = numberOption("maxRedirects", options.maxRedirects ?? 10, { min: 0, whole: true })
    numberOption("maxBodyBytes", options.maxBodyBytes ?? DEFAULT_BODY_BYTES, { min: 0 })
    numberOption("maxExpansion", options.maxExpansion ?? DEFAULT_EXPANSION, { min: 1 })
    this.#base = options.baseUrl === undefined ? undefined : parseAddress(String(options.baseUrl))
    this.#hostFor("options.are.checked.here")
    this.#hosts.clear()
    this.breakers.clear()
  }

  get suppressions(): readonly SuppressionCount[] {
    return this.#suppressions.counts
  }

  request(request: HttpRequest): Promise<HttpResponse | SuppressedFailure> {
    const maxBytes = this.#options.maxBodyBytes ?? DEFAULT_BODY_BYTES
    return this.#call(request, async (arrival, head, limits) => {
      const body = await readWhole(arrival.body, arrival.headers, { ...limits, ...this.#expansion(), maxBytes })
      return response(head, body, limits.where)
    })
  }

  open(request: HttpRequest): Promise<HttpStream | SuppressedFailure> {
    const maxBytes = this.#options.maxBodyBytes ?? Infinity
    return this.#call(request, (arrival, head, { where }) => {
      // The try is over when the headers are there: from here on only the caller gives up.
      const limits = { ...this.#expansion(), where, signal: request.signal, maxBytes }
      const body = readChunks(arrival.body, arrival.headers, limits)
      return Promise.resolve({ ...head, body, discard: () => void arrival.body.destroy() })
    })
  }

  async close(): Promise<void> {
    await this.#transport.close()
  }

  #expansion(): Pick<BodyLimits, "maxExpansion"> {
    return { maxExpansion: this.#options.maxExpansion ?? DEFAULT_EXPANSION }
  }

  async #call<T>(
    request: HttpRequest,
    finish: (answer: Answer, head: HttpHead, limits: Omit<BodyLimits, "maxBytes" | "maxExpansion">) => Promise<T>,
  ): Promise<T | SuppressedFailure> {
    const exchange = this.#exchangeOf(request)
    const host = this.#hostFor(exchange.url.host)
    this.counts.calls += 1
    const policy = (request.idempotent ?? isRepeatable(exchange)) ? host.repeatable : host.once
    return policy.execute((call) => this.#try(exchange, call, request.expect, finish), { signal: request.signal })
  }

  async #try<T>(
    exchange: Exchange,
    call: Call,
    expect: ExpectedType | undefined,
    finish: (answer: Answer, head: HttpHead, limits: Omit<BodyLimits, "maxBytes" | "maxExpansion">) => Promise<T>,
  ): Promise<T | SuppressedFailure> {
    this.counts.attempts += 1
    const { where } = exchange
    const { signal } = call
    try {
      const arrival = await follow(
        (next) => this.#transport.exchange(next),
        { ...exchange, signal },
        {
          max: this.#maxRedirects,
          onRedirect: (notice) => {
            this.counts.redirects += 1
            this.#options.onEvent?.({ type: "redirect", ...notice })
          },
        },
      )
      const { status } = arrival.answer
      if (status >= 400) throw await this.#refusal(arrival, exchange, signal)
      const answer = this.#expected(arrival, exchange, expect)
      const { headers } = answer
      const head: HttpHead = { kind: "response", status, headers, url: arrival.url, attempts: call.attempt }
      return await finish(answer, head, { where, signal })
    } catch (error) {
      if (!(error instanceof SpillwayError) || signal?.aborted) throw error
      return this.#suppressedOr(error, exchange)
    }
  }

  /** The answer, when it has the type that is expected; without an encoding where no body comes that could be encoded. */
  #expected(arrival: Arrival, exchange: Exchange, expect: ExpectedType | undefined): Answer {
    const { answer } = arrival
    if (exchange.method === "HEAD" || WITHOUT_BODY.has(answer.status)) {
      const { "content-encoding": _encoding, "content-length": _length, ...headers } = answer.headers
      return { ...answer, headers }
    }
    try {
      requireType(expect, answer.headers, exchange.where)
    } catch (error) {
      answer.body.destroy()
      throw error
    }
    return answer
  }

  async #refusal(arrival: Arrival, exchange: Exchange, signal: AbortSignal | undefined): Promise<SpillwayError> {
    const { answer, credentialsDropped } = arrival
    const { where } = exchange
    const secrets = [...secretsOf(exchange.url, exchange.headers), ...secretsOfBody(exchange.body)]
    const excerpt = await beginning(answer, { where, signal, maxBytes: Infinity, maxExpansion: Infinity })
    const error = statusError({
      status: answer.status,
      headers: answer.headers,
      excerpt: withoutSecrets(excerpt, secrets),
      where,
      now: this.#ports.clock.now(),
    })
    if (error.code !== "AUTH" || !credentialsDropped) return error
    return new SpillwayError(error.code, error.message, {
      where,
      context: error.context,
      hint: `a redirect led to ${arrival.url.host}, where the credentials were not sent on; use that address itself if it may have them`,
    })
  }

  #suppressedOr(error: SpillwayError, { url, where }: Exchange): SuppressedFailure {
    const verdict = this.#suppressions.judge(url, error, this.#ports.clock.now())
    if (verdict.suppressed) {
      const { rule } = verdict
      this.counts.suppressed += 1
      this.#options.onEvent?.({ type: "suppressed", where, rule, error })
      return { kind: "suppressed", rule, error }
    }
    if (verdict.expired === undefined) throw error
    this.#options.onEvent?.({ type: "suppression-expired", where, rule: verdict.expired })
    throw new SpillwayError(error.code, error.message, {
      class: error.class,
      where: error.where,
      cause: error,
      context: error.context,
      hint: `a rule suppressed this until ${verdict.expired.expires} (${verdict.expired.reason}); renew it if the failure is still expected`,
    })
  }

  #exchangeOf(request: HttpRequest): Exchange {
    const url = parseAddress(String(request.url), this.#base)
    const headers: Record<string, string> = { "accept-encoding": ACCEPTED_ENCODINGS, "user-agent": "spillway" }
    if (this.#base === undefined || url.origin === this.#base.origin) assign(headers, this.#options.headers)
    assign(headers, request.headers)
    // Parts of a compressed body cannot be joined.
    if (headers["range"] !== undefined) headers["accept-encoding"] = "identity"
    if (url.username !== "" || url.password !== "") {
      headers["authorization"] ??= basic(url)
      url.username = ""
      url.password = ""
    }
    // Also takes off the sign of an empty one.
    if (url.href.includes("#")) url.hash = ""
    const method = (request.method ?? "GET").toUpperCase()
    const { body, signal } = request
    return { url, method, headers, body, signal, where: `${method} ${shownAddress(url)}` }
  }

  #hostFor(host: string): Host {
    const known = this.#hosts.get(host)
    if (known !== undefined) return known
    const inner: Policy[] = [
      timeout(this.#options.tryTimeout ?? 120_000, { what: `a try at ${host}`, clock: this.#ports.clock }),
    ]
    if (this.#breakerOptions !== undefined) {
      const { onEvent } = this.#options
      const breaker = circuitBreaker({
        ...this.#breakerOptions,
        name: host,
        onChange: (change) => onEvent?.({ type: "breaker", ...change }),
        onStoreError: (error) => onEvent?.({ type: "breaker-store-failed", name: host, error }),
      })
      this.breakers.set(host, breaker)
      inner.unshift(breaker)
    }
    const limit = bulkhead({ concurrent: this.#options.concurrency ?? 10, what: host })
    const made: Host = {
      repeatable: compose(...this.#retries(host, isRetryable), limit, ...inner),
      once: compose(...this.#retries(host, isRefusedUnread), limit, ...inner),
    }
    this.#hosts.set(host, made)
    return made
  }

  #retries(host: string, retryIf: (thrown: unknown) => boolean): readonly Policy[] {
    if (this.#options.retry === false) return []
    const onRetry = (notice: RetryNotice): void =>
      this.#options.onEvent?.({ type: "retry", where: notice.error.where ?? host, ...notice })
    const settings = { ...this.#options.retry, what: host, ports: this.#ports, budget: this.#budgets?.of(host) }
    return [retry({ ...settings, retryIf, onRetry })]
  }
}

/** The first characters of a refusal's body; nothing where it cannot be read. */
async function beginning(answer: Answer, limits: BodyLimits): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  try {
    for await (const chunk of readChunks(answer.body, answer.headers, limits)) {
      chunks.push(chunk)
      bytes += chunk.byteLength
      // A short body is read to its end, so that the connection can be used again.
      if (bytes > EXCERPT_BYTES * 20) break
    }
  } catch {
    // The status says what matters.
  }
  return Buffer.concat(chunks).toString("utf8")
}

function assign(headers: Record<string, string>, more: Readonly<Record<string, string>> = {}): void {
  for (const name of Object.keys(more)) headers[name.toLowerCase()] = more[name] as string
}

function basic(url: URL): string {
  const text = `${unescaped(url.username)}:${unescaped(url.password)}`
  return `Basic ${Buffer.from(text).toString("base64")}`
}

function unescaped(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
