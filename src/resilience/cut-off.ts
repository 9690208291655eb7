import type { Clock } from "../core/clock.ts"
import type { SpillwayError } from "../core/errors.ts"
import { cancellation, type Body, type Call } from "./policy.ts"

/** Longer timers overflow in Node and fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/**
 * Runs `body` for at most `ms` milliseconds, then aborts its signal and rejects with `expired()`, whether or not `body` heeds the signal; the
 * same, with `cancellation()`, when the outer signal is aborted. Leaves no timer and no listener behind.
 */
export function cutOff<T>(
  clock: Clock,
  ms: number,
  outer: Call,
  body: Body<T>,
  expired: () => SpillwayError,
): Promise<T> {
  const inner = new CutCall(outer.attempt)
  const { promise, resolve, reject } = Promise.withResolvers<T>()
  // Let go of at the end: a listener that was removed can keep the next one in memory, and that one what its call resulted in.
  let pending: { resolve(value: T): void; reject(error: unknown): void } | undefined = { resolve, reject }
  let release = (): void => undefined
  const settle = (): typeof pending => {
    const settled = pending
    pending = undefined
    release()
    return settled
  }
  const cut = (error: SpillwayError): void => {
    const settled = settle()
    inner.abort(error)
    settled?.reject(error)
  }
  started(body, inner).then(
    (value) => settle()?.resolve(value),
    (error: unknown) => settle()?.reject(error),
  )
  // What is settled by now needs neither timer nor listener; they cost more than all the rest.
  queueMicrotask(() => {
    if (pending !== undefined) release = watch(clock, ms, outer.signal, cut, expired)
  })
  return promise
}

function watch(
  clock: Clock,
  ms: number,
  signal: AbortSignal | undefined,
  cut: (error: SpillwayError) => void,
  expired: () => SpillwayError,
): () => void {
  if (signal?.aborted) {
    cut(cancellation(signal))
    return () => undefined
  }
  const onAbort = (): void => {
    if (signal !== undefined) cut(cancellation(signal))
  }
  signal?.addEventListener("abort", onAbort, { once: true })
  const stopTimer = ms === Infinity ? undefined : afterLong(clock, ms, () => cut(expired()))
  return () => {
    signal?.removeEventListener("abort", onAbort)
    stopTimer?.()
  }
}

/** `clock.after` for any length. */
function afterLong(clock: Clock, ms: number, task: () => void): () => void {
  const left = ms - LONGEST_TIMER_MS
  let cancel = clock.after(Math.min(Math.ceil(ms), LONGEST_TIMER_MS), () => {
    if (left <= 0) task()
    else cancel = afterLong(clock, left, task)
  })
  return () => cancel()
}

/** `clock.sleep` for any length. */
export async function sleepLong(clock: Clock, ms: number, signal: AbortSignal | undefined): Promise<void> {
  for (let left = ms; ; left -= LONGEST_TIMER_MS) {
    await clock.sleep(Math.min(Math.ceil(left), LONGEST_TIMER_MS), signal)
    if (left <= LONGEST_TIMER_MS) return
  }
}

function started<T>(body: Body<T>, call: Call): Promise<T> {
  try {
    return Promise.resolve(body(call))
  } catch (error) {
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- passed on as it was thrown
    return Promise.reject(error)
  }
}

/** Makes its signal when it is asked for: most bodies never ask. */
class CutCall implements Call {
  readonly attempt: number
  #controller: AbortController | undefined
  #cut: SpillwayError | undefined

  constructor(attempt: number) {
    this.attempt = attempt
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController()
    if (this.#cut !== undefined) this.#controller.abort(this.#cut)
    return this.#controller.signal
  }

  abort(error: SpillwayError): void {
    this.#cut = error
    this.#controller?.abort(error)
  }
}
