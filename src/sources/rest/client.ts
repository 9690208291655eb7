import { asSpillwayError, SpillwayError } from "../../core/errors.ts"
import type { BreakerStore } from "../../core/breakers.ts"
import type { SourceContext } from "../../core/contracts.ts"
import { settingValue, type Setting } from "../../core/environment.ts"
import { BudgetNotes } from "../../resilience/budget-notes.ts"
import { budgetPerKey, type Budget, type BudgetPerKey } from "../../resilience/budget.ts"
import { shownAddress } from "../../resilience/http-address.ts"
import { httpClient, type HttpClient, type HttpClientOptions, type HttpEvent } from "../../resilience/http-client.ts"
import type { HttpResponse } from "../../resilience/http-response.ts"
import type { Call } from "../../resilience/policy.ts"
import { retry } from "../../resilience/retry-policy.ts"
import type { Credentials, RestAuth } from "./auth.ts"
import type { RateLimit } from "./rate-limit.ts"

/** How requests are made: time-outs, retries, limits of bodies and redirects, breaker. See `httpClient`. */
export type RestHttpOptions = Omit<HttpClientOptions, "baseUrl" | "headers" | "suppress" | "onEvent" | "ports">

export interface RestClientOptions {
  readonly http: RestHttpOptions
  readonly headers: Readonly<Record<string, Setting>>
  readonly auth: RestAuth | undefined
  readonly rateLimit: RateLimit | undefined
}

/** The requests of one source: credentials, pace, retries. What it has learnt (token, breaker, budget) is there for all partitions. */
export class RestClient {
  readonly #options: RestClientOptions
  readonly #budgets: BudgetPerKey | undefined
  /** By what keeps their breakers: one for each run that shares them, one for all others. */
  readonly #clients = new WeakMap<object, HttpClient>()
  /** By the store that keeps them. */
  readonly #notes = new WeakMap<BreakerStore, BudgetNotes>()
  #tell: SourceContext["tell"]
  #isUnsharedTold = false

  constructor(options: RestClientOptions) {
    const { budget, retry: repeated } = options.http
    this.#options = options
    this.#budgets =
      budget === false || repeated === false ? undefined : budget && "of" in budget ? budget : budgetPerKey(budget)
    // Options that make no sense are met when the source is declared.
    httpClient(this.#httpOptions())
    retry({ ...(repeated === false ? {} : repeated) })
  }

  /**
   * Gets a page and makes something of its answer. Throws the codes of docs/resilience.md. A body that is damaged, or that `read` calls
   * so (`DECODE`, transient), is asked for again: what stands between may have cut it.
   */
  async page<T>(
    url: URL,
    headers: Readonly<Record<string, string>>,
    context: SourceContext,
    read: (response: HttpResponse) => Promise<T>,
  ): Promise<T> {
    const { signal } = context
    this.#tell = context.tell
    const once = async (call: Call): Promise<T> => {
      try {
        return await read(await this.#authorised(url, headers, context, call.signal ?? signal))
      } catch (error) {
        throw located(error, url)
      }
    }
    return this.#repeating(url, context, once)
  }

  /** At the end of a reading: has it put down how the budgets for retries stand. */
  async settle({ breakers }: SourceContext): Promise<void> {
    if (breakers !== undefined) await this.#notes.get(breakers)?.settle()
  }

  async #repeating<T>(url: URL, context: SourceContext, once: (call: Call) => Promise<T>): Promise<T> {
    const { ports, signal } = context
    const { retry: repeated } = this.#options.http
    if (repeated === false) return once({ signal, attempt: Infinity })
    const what = (): string => `GET ${shownAddress(url)}`
    const policy = retry({
      ...repeated,
      ports,
      what,
      budget: this.#budgetOf(url.host, context),
      onRetry: ({ attempt, delayMs, error }) =>
        this.#tell?.({
          type: "retry",
          what: what(),
          tries: attempt,
          delayMs,
          code: error.code,
          message: error.message,
        }),
    })
    return policy.execute(once, { signal })
  }

  #budgetOf(host: string, { breakers, ports }: SourceContext): Budget | undefined {
    const budget = this.#budgets?.of(host)
    if (budget === undefined || breakers?.noteBudget === undefined) return budget
    const known = this.#notes.get(breakers)
    if (known !== undefined) return known.watched(host, budget)
    const made = new BudgetNotes({
      clock: ports.clock,
      write: (name, note) => breakers.noteBudget?.(name, note) ?? Promise.resolve(),
      onError: (error) => this.#tellUnshared(error),
    })
    this.#notes.set(breakers, made)
    return made.watched(host, budget)
  }

  /** With credentials that were refused renewed, once. */
  async #authorised(
    url: URL,
    headers: Readonly<Record<string, string>>,
    context: SourceContext,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    const { auth } = this.#options
    if (auth === undefined) return this.#send(url, headers, {}, context, signal)
    const credentials = await this.#credentials(auth, context, signal)
    try {
      return await this.#send(url, headers, credentials, context, signal)
    } catch (error) {
      const isRefused = error instanceof SpillwayError && error.context["status"] === 401
      if (!isRefused || auth.renew === undefined) throw error
      auth.renew(credentials)
      return this.#send(url, headers, await this.#credentials(auth, context, signal), context, signal)
    }
  }

  async #send(
    url: URL,
    headers: Readonly<Record<string, string>>,
    credentials: Credentials,
    context: SourceContext,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    await this.#options.rateLimit?.turn(context.ports.clock, signal)
    const own: Record<string, string> = {}
    for (const [name, value] of Object.entries(this.#options.headers)) own[name] = settingValue(value)
    return this.#http(context).request({
      url: credentials.query === undefined ? url : withParameters(url, credentials.query),
      headers: { accept: "application/json", ...own, ...headers, ...credentials.headers },
      signal,
    })
  }

  #credentials(auth: RestAuth, context: SourceContext, signal: AbortSignal): Promise<Credentials> {
    return auth.credentials({
      clock: context.ports.clock,
      signal,
      post: async (url, form, headers) => {
        const response = await this.#token(context, url, form, headers, signal)
        return response.json()
      },
    })
  }

  async #token(
    context: SourceContext,
    url: string,
    form: Readonly<Record<string, string>>,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<HttpResponse> {
    try {
      return await this.#http(context).request({
        url,
        method: "POST",
        headers: { accept: "application/json", "content-type": "application/x-www-form-urlencoded", ...headers },
        body: new URLSearchParams(form).toString(),
        // Asking for a token twice does no harm.
        idempotent: true,
        signal,
      })
    } catch (error) {
      if (!(error instanceof SpillwayError) || error.code !== "HTTP_4XX") throw error
      throw new SpillwayError("AUTH", `no token was given: ${error.message}`, {
        where: error.where,
        cause: error,
        hint: "check tokenUrl, clientId, clientSecret and scope",
      })
    }
  }

  /** Kept connections serve the next partition too; idle ones are closed by themselves and keep no process alive. */
  #http({ ports, breakers }: SourceContext): HttpClient {
    const keeper = breakers ?? ports
    const known = this.#clients.get(keeper)
    if (known !== undefined) return known
    const onEvent = (event: HttpEvent): void => this.#onEvent(event)
    const made = httpClient({ ...this.#httpOptions(breakers), ports, onEvent })
    this.#clients.set(keeper, made)
    return made
  }

  #httpOptions(store?: BreakerStore): HttpClientOptions & { suppress?: undefined } {
    const { breaker } = this.#options.http
    const shared = breaker === false || store === undefined ? breaker : { store, ...breaker }
    // Retries are made here, so that each try has its turn and its credentials.
    return { ...this.#options.http, breaker: shared, retry: false, budget: false }
  }

  #onEvent(event: HttpEvent): void {
    if (event.type === "breaker-store-failed") this.#tellUnshared(event.error)
    if (event.type !== "breaker" || event.to !== "open") return
    this.#tell?.({
      type: "warning",
      code: "CIRCUIT_OPEN",
      partition: undefined,
      message: `calls to ${event.name} are paused: too many of them failed`,
      hint: "the errors before this one say how",
    })
  }

  #tellUnshared(error: unknown): void {
    if (this.#isUnsharedTold) return
    this.#isUnsharedTold = true
    this.#tell?.({
      type: "warning",
      code: "DB_UNAVAILABLE",
      partition: undefined,
      message: `the state of circuit breakers and of budgets for retries cannot be shared: ${asSpillwayError(error).message}`,
      hint: "this run goes on with what it sees itself; others may call what it has found to be down",
    })
  }
}

function withParameters(url: URL, parameters: Readonly<Record<string, string>>): URL {
  const address = new URL(url)
  for (const [name, value] of Object.entries(parameters)) address.searchParams.set(name, value)
  return address
}

/** The error with the address in `where`; one that says the body is damaged as one that may pass. */
function located(error: unknown, url: URL): unknown {
  if (!(error instanceof SpillwayError)) return error
  const isDamaged = error.code === "DECODE" && error.where !== undefined
  if (error.where !== undefined && !isDamaged) return error
  const { code, message, hint, cause, context } = error
  const where = error.where ?? `GET ${shownAddress(url)}`
  return new SpillwayError(code, message, { class: isDamaged ? "transient" : error.class, hint, cause, context, where })
}
