import type { Clock } from "../core/clock.ts"
import { systemClock } from "../core/clock.ts"
import { SpillwayError } from "../core/errors.ts"
import { cutOff } from "./cut-off.ts"
import { milliseconds, spoken, type Duration } from "./duration.ts"
import { cancellation, fullCall, type Policy } from "./policy.ts"

export interface TimeoutOptions {
  /** Names the call in the message. Default `the call`. */
  readonly what?: string | undefined
  readonly clock?: Clock | undefined
}

/**
 * Gives a call up after `after` with `TIMEOUT` (transient) and aborts its signal, whether or not the call heeds it. Inside `retry` it bounds each
 * try, outside all of them together.
 */
export function timeout(after: Duration, options: TimeoutOptions = {}): Policy {
  const { what = "the call", clock = systemClock } = options
  const ms = milliseconds(after, "timeout")
  const expired = (): SpillwayError =>
    new SpillwayError("TIMEOUT", `${what} took longer than ${spoken(ms)}`, {
      where: what,
      hint: "see whether the other side is slow or down; raise the time-out only when slow answers are normal there",
      context: { timeoutMs: ms },
    })
  return {
    async execute(body, given) {
      const call = fullCall(given)
      if (call.signal?.aborted) throw cancellation(call.signal)
      return ms === Infinity ? body(call) : cutOff(clock, ms, call, body, expired)
    },
  }
}
