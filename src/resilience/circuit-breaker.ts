import type { BreakerStore } from "../core/breakers.ts"
import { SpillwayError, type ErrorCode } from "../core/errors.ts"
import {
  admit,
  countCalls,
  endProbe,
  type Admission,
  type BreakerSettings,
  type BreakerState,
} from "./breaker-state.ts"
import { fromStored, memoryBreakerStore, toStored } from "./breaker-store.ts"
import { milliseconds, type Duration } from "./duration.ts"
import { numberOption } from "./options.ts"
import {
  cancellation,
  fullCall,
  systemPolicyPorts,
  type Body,
  type Call,
  type Policy,
  type PolicyPorts,
} from "./policy.ts"

/** What the end of a call says of the service. `undecided`: nothing. */
export type CallOutcome = "succeeded" | "failed" | "undecided"

export interface CircuitBreakerOptions {
  /** The breaker's name in its store, such as `api.example.com`. */
  readonly name: string
  /** Calls are judged over so long, sliding by a tenth. Default 30 s. */
  readonly window?: Duration | undefined
  /** Never opens below so many calls in the window. Default 20. */
  readonly minimumCalls?: number | undefined
  /** Opens when at least this share of the calls in the window failed. Default 0.5. */
  readonly failureRatio?: number | undefined
  /** Refuses all calls for so long, then lets one probe through at a time. Default 30 s. */
  readonly openFor?: Duration | undefined
  /** Probes in a row that have to succeed before it closes. Default 3. */
  readonly probes?: number | undefined
  /** A probe that does not come back (its process died) is written off after this. Default 1 minute. */
  readonly probeTimeout?: Duration | undefined
  /** Where the state is kept. Default: in this breaker's memory. */
  readonly store?: BreakerStore | undefined
  /** What a failure says of the service; default `judgeFailure`. */
  readonly judge?: ((thrown: unknown) => CallOutcome) | undefined
  /** Told of every change of state this process makes or notices. */
  readonly onChange?: ((change: BreakerChange) => void) | undefined
  /** Told when the store cannot be reached; the breaker then goes on with what it knows itself. */
  readonly onStoreError?: ((error: unknown) => void) | undefined
  readonly ports?: PolicyPorts | undefined
}

export interface BreakerChange {
  readonly name: string
  readonly from: BreakerState["state"]
  readonly to: BreakerState["state"]
  /** When the first probe may go, in milliseconds since the epoch; only while open. */
  readonly retryAt: number | undefined
}

export interface CircuitBreaker extends Policy {
  /** What this process knows of the state; another may have changed it since. */
  readonly state: BreakerState["state"]
}

const NOT_ABOUT_THE_SERVICE: ReadonlySet<ErrorCode> = new Set([
  "CIRCUIT_OPEN",
  "RETRY_BUDGET",
  "TLS",
  "CONFIG",
  "RESOURCE",
])

/** `failed`: transient, or not one of our errors. `undecided`: cancelled, throttled, refused before it was sent, or a matter of this side. Everything else shows that the service answers. */
export function judgeFailure(thrown: unknown): CallOutcome {
  if (!(thrown instanceof SpillwayError))
    return thrown instanceof Error && thrown.name === "AbortError" ? "undecided" : "failed"
  if (NOT_ABOUT_THE_SERVICE.has(thrown.code)) return "undecided"
  if (thrown.class === "cancelled" || thrown.class === "throttled") return "undecided"
  return thrown.class === "transient" || thrown.code === "RETRY_EXHAUSTED" ? "failed" : "succeeded"
}

/**
 * Stops calling a service that keeps failing: `CIRCUIT_OPEN` (transient, with `retryAt` and `retryAfterMs` in its context) instead of a call. Who
 * shares a store shares the state, and the one probe. Put it inside `retry`. Throws `CONFIG` when an option makes no sense.
 */
export function circuitBreaker(options: CircuitBreakerOptions): CircuitBreaker {
  return new Breaker(options)
}

/** Writers that race for one row; each round one of them wins. */
const WRITE_TRIES = 100

const NOTHING_UNTOLD: { readonly succeeded: number; readonly failed: number; readonly since: number } = {
  succeeded: 0,
  failed: 0,
  since: 0,
}

class Breaker implements CircuitBreaker {
  readonly #options: CircuitBreakerOptions
  readonly #settings: BreakerSettings
  readonly #ports: PolicyPorts
  readonly #store: BreakerStore
  /** Where the state lives while the store is out of reach. */
  readonly #fallback: BreakerStore
  readonly #judge: (thrown: unknown) => CallOutcome
  /** Names this breaker's probes: a process must not end another's. */
  readonly #self: string
  #probeCount = 0
  #known: { readonly state: BreakerState; readonly now: number; readonly at: number } | undefined
  /** Calls that ended and that the store does not know of; since when, by the monotonic clock. */
  #untold = NOTHING_UNTOLD

  constructor(options: CircuitBreakerOptions) {
    this.#options = options
    this.#settings = settingsOf(options)
    this.#ports = options.ports ?? systemPolicyPorts
    this.#fallback = memoryBreakerStore(this.#ports.clock)
    this.#store = options.store ?? this.#fallback
    this.#judge = options.judge ?? judgeFailure
    this.#self = this.#ports.random.hex(8)
  }

  get state(): BreakerState["state"] {
    return this.#known?.state.state ?? "closed"
  }

  async execute<T>(body: Body<T>, given?: Partial<Call>): Promise<T> {
    const call = fullCall(given)
    if (call.signal?.aborted) throw cancellation(call.signal)
    const by = `${this.#self}-${this.#probeCount++}`
    const admission = await this.#admit(by)
    if (admission.admitted === "no") throw this.#refusal(admission.retryAt)
    try {
      const value = await body(call)
      await this.#end(admission, by, "succeeded")
      return value
    } catch (thrown) {
      await this.#end(admission, by, call.signal?.aborted ? "undecided" : this.#judge(thrown))
      throw thrown
    }
  }

  async #admit(by: string): Promise<Admission> {
    const known = this.#fresh()
    if (known !== undefined) {
      const { admission } = admit(known.state, known.now, by, this.#settings)
      if (admission.admitted !== "probe") return admission
    }
    let admission: Admission = { admitted: "call" }
    await this.#change((state, now) => {
      const answer = admit(state, now, by, this.#settings)
      admission = answer.admission
      return answer.state
    })
    return admission
  }

  async #end(admission: Admission, by: string, outcome: CallOutcome): Promise<void> {
    if (admission.admitted === "probe") {
      await this.#change((state, now) => endProbe(state, now, by, outcome, this.#settings))
      return
    }
    if (outcome === "undecided") return
    const isFirst = this.#untold.succeeded + this.#untold.failed === 0
    this.#untold = {
      ...this.#untold,
      [outcome]: this.#untold[outcome] + 1,
      since: isFirst ? this.#ports.clock.monotonic() : this.#untold.since,
    }
    // A failure is told at once, a success with the next thing that is told.
    if (outcome === "failed" || this.#fresh() === undefined) await this.#change((state) => state)
  }

  /** What is known of the state, with the store's time now, while it need not be asked for again. */
  #fresh(): { readonly state: BreakerState; readonly now: number } | undefined {
    if (this.#known === undefined) return undefined
    const passed = this.#ports.clock.monotonic() - this.#known.at
    if (passed >= this.#store.staleAfterMs) return undefined
    return { state: this.#known.state, now: this.#known.now + passed }
  }

  /** Changes the shared state, after the calls that were not told of yet have been counted. `next` may be called again when another was faster. */
  async #change(next: (state: BreakerState, now: number) => BreakerState): Promise<void> {
    const { succeeded, failed, since } = this.#untold
    this.#untold = NOTHING_UNTOLD
    const isOld = this.#ports.clock.monotonic() - since >= this.#settings.windowMs
    const counted = (state: BreakerState, now: number): BreakerState =>
      succeeded + failed === 0 || isOld ? state : countCalls(state, now, { succeeded, failed }, this.#settings)
    const change = (state: BreakerState, now: number): BreakerState => next(counted(state, now), now)
    try {
      await this.#changeIn(this.#store, change)
    } catch (error) {
      this.#options.onStoreError?.(error)
      await this.#changeIn(this.#fallback, change)
    }
  }

  async #changeIn(store: BreakerStore, next: (state: BreakerState, now: number) => BreakerState): Promise<void> {
    const { name } = this.#options
    for (let tries = 1; tries <= WRITE_TRIES; tries++) {
      const { now, version, stored } = await store.read(name)
      const before = fromStored(stored)
      const after = next(before, now)
      if (after === before || (await store.write(name, version, toStored(after)))) {
        this.#learn(after, now)
        return
      }
    }
    throw new SpillwayError("DB_SERIALIZATION", `the breaker ${name} could not be written in ${WRITE_TRIES} tries`, {
      where: name,
      hint: "too many processes write it at once; give each service a breaker of its own",
    })
  }

  #learn(state: BreakerState, now: number): void {
    const from = this.state
    this.#known = { state, now, at: this.#ports.clock.monotonic() }
    if (from === state.state) return
    const retryAt = state.state === "open" ? state.retryAt : undefined
    this.#options.onChange?.({ name: this.#options.name, from, to: state.state, retryAt })
  }

  #refusal(retryAt: number): SpillwayError {
    const { name } = this.#options
    const now = this.#fresh()?.now ?? this.#known?.now ?? retryAt
    const at = new Date(retryAt).toISOString()
    return new SpillwayError("CIRCUIT_OPEN", `calls to ${name} are paused until ${at}: too many of them failed`, {
      where: name,
      hint: "see the failures before this one for the trouble; a trial call goes out when the pause is over",
      context: { breaker: name, retryAt: at, retryAfterMs: Math.max(0, retryAt - now) },
    })
  }
}

function settingsOf(options: CircuitBreakerOptions): BreakerSettings {
  return {
    windowMs: numberOption("window", milliseconds(options.window ?? 30_000, "window"), { min: 10, max: 86_400_000 }),
    minimumCalls: numberOption("minimumCalls", options.minimumCalls ?? 20, { min: 1, whole: true }),
    failureRatio: numberOption("failureRatio", options.failureRatio ?? 0.5, { min: 0.001, max: 1 }),
    openForMs: milliseconds(options.openFor ?? 30_000, "openFor"),
    probes: numberOption("probes", options.probes ?? 3, { min: 1, whole: true }),
    probeTimeoutMs: milliseconds(options.probeTimeout ?? 60_000, "probeTimeout"),
  }
}
