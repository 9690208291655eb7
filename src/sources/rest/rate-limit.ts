import type { Clock } from "../../core/clock.ts"
import { SpillwayError } from "../../core/errors.ts"
import { milliseconds, type Duration } from "../../resilience/duration.ts"

/** So many requests in so much time, evenly spaced: retries count too. */
export interface RateLimitOptions {
  requests: number
  /** Default 1 second. */
  per?: Duration
}

/** Lets requests go one after the other, each at its time. */
export class RateLimit {
  readonly #intervalMs: number
  #next = -Infinity

  /** Throws `CONFIG`. */
  constructor({ requests, per = 1_000 }: RateLimitOptions) {
    if (!(requests > 0))
      throw new SpillwayError("CONFIG", `${requests} is not a number of requests`, {
        where: "rateLimit.requests",
        hint: 'write rateLimit: { requests: 10, per: "1 second" }',
      })
    this.#intervalMs = milliseconds(per, "rateLimit.per") / requests
  }

  /** Resolves when the next request may go. */
  async turn(clock: Clock, signal: AbortSignal): Promise<void> {
    const now = clock.monotonic()
    const at = Math.max(now, this.#next)
    this.#next = at + this.#intervalMs
    if (at > now) await clock.sleep(at - now, signal)
  }
}
