import { asSpillwayError, SpillwayError } from "../core/errors.ts"
import { backoff, type Backoff, type BackoffOptions } from "./backoff.ts"
import type { Budget } from "./budget.ts"
import { cutOff, sleepLong } from "./cut-off.ts"
import { milliseconds, spoken, type Duration } from "./duration.ts"
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
import { codeOf, noteAttempts, RetryError, type FailedAttempt, type GiveUpReason } from "./retry-error.ts"
import { askedPauseMs, isRetryable } from "./retryable.ts"

export interface RetryOptions extends BackoffOptions {
  /** Tries in all, the first included. Default 5; `Infinity` leaves it to the deadline. */
  readonly attempts?: number | undefined
  /** Time for all tries and waits together; a try that is under way then is cut off. Default 5 minutes; `Infinity` for none. */
  readonly deadline?: Duration | undefined
  /** A try that is under way at the deadline may finish; only no further one begins. Default false. */
  readonly finishLastTry?: boolean | undefined
  /** A longer pause that a server asks for (`Retry-After`) is not sat out: the call ends with `retryAt` in its context. Default 1 minute. */
  readonly retryAfterCeiling?: Duration | undefined
  /** Bounds the retries of all who share it. Default none. */
  readonly budget?: Budget | undefined
  /** Which failures are worth another try. Default: transient and throttled ones, see `isRetryable`. */
  readonly retryIf?: ((thrown: unknown) => boolean) | undefined
  /** A failed try that got further than those before it, so that tries and waits are counted from one again. Default: none. */
  readonly renewIf?: ((thrown: unknown) => boolean) | undefined
  /** The final error keeps the code of the last failure instead of `RETRY_EXHAUSTED`. Default false. */
  readonly keepCode?: boolean | undefined
  /** Names the call in messages; a function is asked when there is something to say. Default `the call`. */
  readonly what?: string | (() => string) | undefined
  /** Told before each wait. */
  readonly onRetry?: ((retry: RetryNotice) => void) | undefined
  readonly ports?: PolicyPorts | undefined
}

export interface RetryNotice {
  /** The try that failed, from 1. */
  readonly attempt: number
  readonly delayMs: number
  readonly error: SpillwayError
}

/** A try that runs for ever must not collect for ever. */
const KEPT_ATTEMPTS = 100

/**
 * Calls again what failed with an error that may pass, with growing waits. Ends with the value; with the failure itself when it is not worth another
 * try; or with a RetryError: `RETRY_EXHAUSTED` (tries or time used up), `RETRY_BUDGET`, or `HTTP_429` and class `throttled` when the server asked for a
 * pause beyond `retryAfterCeiling` or the deadline. The body must be safe to repeat. Throws `CONFIG` when an option makes no sense.
 */
export function retry(options: RetryOptions = {}): Policy {
  return new Retry(options)
}

/**
 * `fn` with retries around every call, with the same arguments: `const load = withRetry(loadOnce, { attempts: 4, baseDelay: "1s", jitter: additiveJitter("1s") })`
 * waits 1, 2 and 4 s, each and up to 1 s more. `signal` gives all calls up.
 */
export function withRetry<Arguments extends readonly unknown[], T>(
  fn: (...given: Arguments) => T | PromiseLike<T>,
  options: RetryOptions & { readonly signal?: AbortSignal | undefined } = {},
): (...given: Arguments) => Promise<T> {
  const policy = retry({ what: fn.name === "" ? undefined : fn.name, ...options })
  return (...given) => policy.execute(() => fn(...given), { signal: options.signal })
}

class Retry implements Policy {
  readonly #options: RetryOptions
  readonly #ports: PolicyPorts
  readonly #backoff: Backoff
  readonly #attempts: number
  readonly #deadlineMs: number
  readonly #ceilingMs: number
  readonly #retryIf: (thrown: unknown) => boolean

  constructor(options: RetryOptions) {
    this.#options = options
    this.#ports = options.ports ?? systemPolicyPorts
    this.#backoff = backoff(options)
    this.#attempts = numberOption("attempts", options.attempts ?? 5, { min: 1, whole: true })
    this.#deadlineMs = milliseconds(options.deadline ?? 300_000, "deadline")
    this.#ceilingMs = milliseconds(options.retryAfterCeiling ?? 60_000, "retryAfterCeiling")
    this.#retryIf = options.retryIf ?? isRetryable
  }

  get #what(): string {
    const { what = "the call" } = this.#options
    return typeof what === "string" ? what : what()
  }

  async execute<T>(body: Body<T>, given?: Partial<Call>): Promise<T> {
    const { signal } = fullCall(given)
    const { clock, random } = this.#ports
    const start = clock.monotonic()
    const failures: FailedAttempt[] = []
    let waited = 0
    let renewedAt = 0
    this.#options.budget?.deposit()
    for (let attempt = 1; ; attempt++) {
      if (signal?.aborted) throw cancellation(signal)
      const began = attempt === 1 ? start : clock.monotonic()
      try {
        return await this.#try(body, { signal, attempt }, this.#deadlineMs - (began - start))
      } catch (thrown) {
        // Whatever a call says that was given up, but for a failure of its own.
        if (signal?.aborted && (!(thrown instanceof SpillwayError) || this.#retryIf(thrown))) throw cancellation(signal)
        const now = clock.monotonic()
        this.#note(failures, { attempt, began, now, thrown })
        if (!this.#retryIf(thrown)) {
          noteAttempts(thrown, failures)
          throw thrown
        }
        if (this.#options.renewIf?.(thrown)) {
          renewedAt = attempt - 1
          waited = 0
        }
        const counted = attempt - renewedAt
        const last = asSpillwayError(thrown)
        const asked = askedPauseMs(thrown)
        const delay = Math.max(this.#backoff(counted, waited, last.class === "throttled", random), asked ?? 0)
        const reason = this.#reasonToStop({ attempt: counted, delay, asked, left: this.#deadlineMs - (now - start) })
        if (reason !== undefined) throw this.#giveUp(reason, { failures, last, thrown, elapsed: now - start, asked })
        this.#options.onRetry?.({ attempt, delayMs: delay, error: last })
        await this.#wait(delay, signal)
        waited = delay
        // A busy machine may wake us late.
        const elapsed = clock.monotonic() - start
        if (elapsed >= this.#deadlineMs) throw this.#giveUp("deadline", { failures, last, thrown, elapsed, asked })
      }
    }
  }

  #try<T>(body: Body<T>, call: Call, leftMs: number): T | PromiseLike<T> {
    if (this.#deadlineMs === Infinity || this.#options.finishLastTry) return body(call)
    return cutOff(this.#ports.clock, leftMs, call, body, () => this.#overDeadline())
  }

  #overDeadline(): SpillwayError {
    return new SpillwayError("TIMEOUT", `${this.#what} was still under way at its deadline`, {
      where: this.#what,
      hint: "raise the deadline, or give each try a time-out of its own",
    })
  }

  #note(failures: FailedAttempt[], failed: { attempt: number; began: number; now: number; thrown: unknown }): void {
    const { attempt, began, now, thrown } = failed
    if (failures.length === KEPT_ATTEMPTS) failures.shift()
    const durationMs = now - began
    failures.push({
      attempt,
      error_code: codeOf(thrown),
      message: thrown instanceof Error ? thrown.message : String(thrown),
      time: this.#ports.clock.now() - durationMs,
      durationMs,
      cause: thrown,
    })
  }

  /** Asks the budget last: it is charged only for a try that will be made. */
  #reasonToStop(next: {
    attempt: number
    delay: number
    asked: number | undefined
    left: number
  }): GiveUpReason | undefined {
    const { attempt, delay, asked, left } = next
    if (asked !== undefined && (asked > this.#ceilingMs || asked >= left)) return "retry-after"
    if (attempt >= this.#attempts) return "attempts"
    if (delay >= left) return "deadline"
    if (this.#options.budget?.withdraw() === false) return "budget"
    return undefined
  }

  async #wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
    try {
      await sleepLong(this.#ports.clock, ms, signal)
    } catch (error) {
      if (signal?.aborted) throw cancellation(signal)
      throw error
    }
  }

  #giveUp(
    reason: GiveUpReason,
    end: {
      failures: FailedAttempt[]
      last: SpillwayError
      thrown: unknown
      elapsed: number
      asked: number | undefined
    },
  ): RetryError {
    const { failures, last, thrown, elapsed, asked } = end
    const tries = failures.at(-1)?.attempt ?? 0
    const throttled = reason === "retry-after" || last.class === "throttled"
    const code = this.#options.keepCode
      ? last.code
      : reason === "budget"
        ? "RETRY_BUDGET"
        : throttled && last.code === "HTTP_429"
          ? "HTTP_429"
          : "RETRY_EXHAUSTED"
    const retryAt = asked === undefined ? undefined : this.#ports.clock.now() + asked
    const spent = `${tries} ${tries === 1 ? "attempt" : "attempts"} in ${spoken(elapsed)}`
    return new RetryError(code, `${this.#what}: gave up after ${spent}${WHY[reason](retryAt)}: ${last.message}`, {
      reason,
      attempts: failures,
      last,
      cause: thrown,
      class: throttled ? "throttled" : "terminal",
      hint: hintFor(reason, last, retryAt),
      where: last.where ?? this.#what,
      retryAt,
    })
  }
}

const WHY: Record<GiveUpReason, (retryAt: number | undefined) => string> = {
  attempts: () => "",
  deadline: () => ", at its deadline",
  budget: () => ", the retry budget is used up",
  "retry-after": (retryAt) =>
    retryAt === undefined ? "" : `, the server asks to come back at ${new Date(retryAt).toISOString()}`,
}

function hintFor(reason: GiveUpReason, last: SpillwayError, retryAt: number | undefined): string {
  if (retryAt !== undefined) return `call again after ${new Date(retryAt).toISOString()}`
  if (reason === "budget") return "too many calls had to be repeated: the service is in trouble; wait, then call again"
  return last.hint ?? "the last failure says what is wrong; call again when it is over"
}
