import type { Clock } from "../core/clock.ts"
import { asSpillwayError, SpillwayError } from "../core/errors.ts"
import type { Random } from "../core/random.ts"

export interface RetryPolicy {
  /** Upper bound of the first wait, in milliseconds; doubles with each attempt. */
  readonly baseMs: number
  /** Upper bound of any wait. */
  readonly capMs: number
  /** No attempt begins later than this after the first. */
  readonly deadlineMs: number
}

export interface RetryContext {
  readonly clock: Clock
  readonly random: Random
  readonly signal?: AbortSignal | undefined
  /** Told before each wait. */
  readonly onRetry: (attempt: number, delayMs: number, error: SpillwayError) => void
}

/**
 * Calls `body` until it succeeds, fails with an error that is not transient, or the deadline passes (then the last error, now terminal,
 * is thrown). Waits are exponential with full jitter. `body` is told the attempt, from 1, and must
 * be safe to repeat.
 */
export async function retry<T>(
  what: string,
  policy: RetryPolicy,
  context: RetryContext,
  body: (attempt: number) => Promise<T>,
): Promise<T> {
  const { clock, random, signal, onRetry } = context
  const start = clock.monotonic()
  for (let attempt = 1; ; attempt++) {
    try {
      return await body(attempt)
    } catch (thrown) {
      const error = asSpillwayError(thrown)
      if (error.class !== "transient") throw thrown
      const delayMs = random.next() * Math.min(policy.capMs, policy.baseMs * 2 ** Math.min(attempt - 1, 30))
      const elapsed = clock.monotonic() - start
      if (elapsed + delayMs > policy.deadlineMs)
        throw new SpillwayError(
          error.code,
          `${what}: gave up after ${attempt} attempts in ${Math.round(elapsed / 1000)} s: ${error.message}`,
          {
            class: "terminal",
            cause: error,
            hint: error.hint,
            where: error.where,
          },
        )
      onRetry(attempt, delayMs, error)
      await clock.sleep(delayMs, signal)
    }
  }
}
