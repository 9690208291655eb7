import { SpillwayError } from "../core/errors.ts"

/** The run's own signal: aborted by the caller's or by the run itself. */
export function stopSignal(outer: AbortSignal | undefined): {
  signal: AbortSignal
  abort(reason: SpillwayError): void
  dispose(): void
} {
  const controller = new AbortController()
  const relay = (): void => {
    const reason: unknown = outer?.reason
    const error =
      reason instanceof SpillwayError
        ? reason
        : new SpillwayError("CANCELLED", "stopped on request", {
            hint: "run the same command again: it continues where it stopped",
          })
    controller.abort(error)
  }
  if (outer?.aborted) relay()
  outer?.addEventListener("abort", relay, { once: true })
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    dispose: () => outer?.removeEventListener("abort", relay),
  }
}
