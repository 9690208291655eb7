import type { Random } from "../core/random.ts"
import { milliseconds, type Duration } from "./duration.ts"
import { numberOption } from "./options.ts"

/** Spreads a delay, so that callers that failed together do not come back together. All figures in milliseconds; the result is at least `min`. */
export type Jitter = (delay: number, min: number, random: Random) => number

/** Anywhere between `minDelay` and the delay. */
export const fullJitter: Jitter = (delay, min, random) => min + random.next() * Math.max(0, delay - min)

/** Between half the delay (or `minDelay`, if that is more) and the delay. */
export const equalJitter: Jitter = (delay, min, random) => {
  const from = Math.max(delay / 2, min)
  return from + random.next() * Math.max(0, delay - from)
}

/** The delay and up to `max` more. */
export function additiveJitter(max: Duration): Jitter {
  const ms = milliseconds(max, "additiveJitter")
  return (delay, min, random) => Math.max(delay, min) + random.next() * ms
}

/** The delay as it is. */
export const noJitter: Jitter = (delay, min) => Math.max(delay, min)

/**
 * `exponential`: `baseDelay × factor^(n-1)` before retry n. `constant`: `baseDelay` each time. `decorrelated`: between `baseDelay` and `factor` times the
 * wait before; it is random by itself and takes no jitter.
 */
export type Schedule = "exponential" | "constant" | "decorrelated"

export interface BackoffOptions {
  /** Default `exponential`. */
  readonly schedule?: Schedule | undefined
  /** The first delay. Default 200 ms. */
  readonly baseDelay?: Duration | undefined
  /** The first delay after a failure of class `throttled`. Default 1 s, or `baseDelay` where that is longer. */
  readonly throttledBaseDelay?: Duration | undefined
  /** How a delay grows. Default 2, `decorrelated` 3. */
  readonly factor?: number | undefined
  /** No wait is longer, jitter included. Default 30 s. */
  readonly maxDelay?: Duration | undefined
  /** No wait is shorter. Default 0. */
  readonly minDelay?: Duration | undefined
  /** Default `fullJitter`. */
  readonly jitter?: Jitter | "none" | undefined
}

/** The wait before retry `retry` (from 1), in milliseconds; `previous` is the wait before the retry before, 0 for none. */
export type Backoff = (retry: number, previous: number, throttled: boolean, random: Random) => number

/** Throws `CONFIG` when an option makes no sense. */
export function backoff(options: BackoffOptions = {}): Backoff {
  const { schedule = "exponential" } = options
  const base = milliseconds(options.baseDelay ?? 200, "baseDelay")
  const throttledBase = milliseconds(options.throttledBaseDelay ?? Math.max(1_000, base), "throttledBaseDelay")
  const factor = numberOption("factor", options.factor ?? (schedule === "decorrelated" ? 3 : 2), { min: 1 })
  const max = milliseconds(options.maxDelay ?? 30_000, "maxDelay")
  const min = numberOption("minDelay", milliseconds(options.minDelay ?? 0, "minDelay"), { min: 0, max })
  const jitter = options.jitter === "none" ? noJitter : (options.jitter ?? fullJitter)
  const within = (ms: number): number => Math.min(max, Math.max(min, ms))
  return (retry, previous, throttled, random) => {
    const first = throttled ? throttledBase : base
    switch (schedule) {
      case "exponential":
        return within(jitter(within(grown(first, factor, retry)), min, random))
      case "constant":
        return within(jitter(within(first), min, random))
      case "decorrelated": {
        const from = within(first)
        return from + random.next() * (Math.max(from, within(Math.max(previous, from) * factor)) - from)
      }
    }
  }
}

const grown = (first: number, factor: number, retry: number): number =>
  first === 0 ? 0 : first * factor ** Math.min(retry - 1, 1_000)
