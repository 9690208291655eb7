import { SpillwayError } from "../core/errors.ts"

/** Mistakes in the program: the same call would end the same way. */
const MISTAKES = [TypeError, RangeError, ReferenceError, SyntaxError, EvalError, URIError]

/**
 * Whether a failure may be gone at the next try: a SpillwayError by its class (`transient`, `throttled`), any other error unless it is a mistake
 * in the program or an abort. `fetch` wraps failures of the network in a TypeError with a cause; those may.
 */
export function isRetryable(thrown: unknown): boolean {
  if (thrown instanceof SpillwayError) return thrown.class === "transient" || thrown.class === "throttled"
  if (thrown instanceof Error && thrown.name === "AbortError") return false
  if (thrown instanceof TypeError && thrown.cause instanceof Error) return isRetryable(thrown.cause)
  return !MISTAKES.some((mistake) => thrown instanceof mistake)
}

/** How long the other side asked us to stay away, in milliseconds; undefined when it did not. */
export function askedPauseMs(thrown: unknown): number | undefined {
  const asked = thrown instanceof SpillwayError ? thrown.context["retryAfterMs"] : undefined
  return typeof asked === "number" && asked >= 0 ? asked : undefined
}
