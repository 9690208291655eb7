import type { Clock } from "../core/clock.ts"
import { SpillwayError } from "../core/errors.ts"

type StopSignal = "SIGINT" | "SIGTERM"

/** The process that signals arrive at, or what a test puts in its place. */
export interface SignalTarget {
  on(name: StopSignal, listener: () => void): unknown
  off(name: StopSignal, listener: () => void): unknown
  exit(code: number): void
}

export interface Interrupt {
  /** Aborted by the first Ctrl-C or SIGTERM, with a `CANCELLED` error as its reason. */
  readonly signal: AbortSignal
  dispose(): void
}

/** A launcher such as npx may pass the terminal's Ctrl-C on, so that one key press arrives twice. */
const SAME_KEY_PRESS_MS = 250
const INTERRUPTED = 130

/** Ctrl-C or SIGTERM once: `tell` and abort the signal. Ctrl-C again: `leave` (the last chance to tidy the screen) and exit 130 at once. */
export function interruptOf(target: SignalTarget, clock: Clock, tell: () => void, leave: () => void): Interrupt {
  const controller = new AbortController()
  let firstAt = 0
  const first = (): void => {
    firstAt = clock.monotonic()
    tell()
    controller.abort(
      new SpillwayError("CANCELLED", "the run was stopped", {
        hint: "run the same command again: it goes on after the last batch",
      }),
    )
  }
  const onInterrupt = (): void => {
    if (!controller.signal.aborted) return first()
    if (clock.monotonic() - firstAt < SAME_KEY_PRESS_MS) return
    leave()
    target.exit(INTERRUPTED)
  }
  const onTerminate = (): void => {
    if (!controller.signal.aborted) first()
  }
  target.on("SIGINT", onInterrupt)
  target.on("SIGTERM", onTerminate)
  return {
    signal: controller.signal,
    dispose: () => {
      target.off("SIGINT", onInterrupt)
      target.off("SIGTERM", onTerminate)
    },
  }
}
