/**
 * The circuit breaker as a state machine of pure functions. All times are milliseconds since the epoch on one clock, that of the store.
 *
 *     closed ── enough calls, too many failed ──▶ open ── retryAt passed, a probe is let through ──▶ half-open
 *        ▲                                          ▲                                                   │
 *        └── `probes` probes in a row succeeded ────┼───────────────────────────────────────────────────┤
 *                                                   └────────────────────── a probe failed ─────────────┘
 */
export type BreakerState =
  | { readonly state: "closed"; readonly buckets: readonly Bucket[] }
  | { readonly state: "open"; readonly openedAt: number; readonly retryAt: number }
  | {
      readonly state: "half_open"
      readonly openedAt: number
      /** Probes that succeeded in a row. */
      readonly passed: number
      readonly probe: Probe | undefined
    }

/** The calls that ended in one slice of the window. */
export interface Bucket {
  /** Where the slice begins. */
  readonly at: number
  readonly succeeded: number
  readonly failed: number
}

/** The one call that is let through while half-open. */
export interface Probe {
  readonly by: string
  /** Whoever has not come back by then is taken for dead. */
  readonly until: number
}

export interface BreakerSettings {
  readonly windowMs: number
  readonly minimumCalls: number
  /** Opens when failed ÷ all is at least this. */
  readonly failureRatio: number
  readonly openForMs: number
  readonly probes: number
  readonly probeTimeoutMs: number
}

export const CLOSED: BreakerState = { state: "closed", buckets: [] }

/** Slices of the window: it slides by a tenth of its length. */
const SLICES = 10

/** While another's probe is under way, ask again after this. */
const PROBE_PAUSE_MS = 1_000

export type Admission =
  { readonly admitted: "call" } | { readonly admitted: "probe" } | { readonly admitted: "no"; readonly retryAt: number }

/** Whether a call of `by` may be made now, and the state after the answer. */
export function admit(
  state: BreakerState,
  now: number,
  by: string,
  settings: BreakerSettings,
): { readonly state: BreakerState; readonly admission: Admission } {
  if (state.state === "closed") return { state, admission: { admitted: "call" } }
  if (state.state === "open" && now < state.retryAt)
    return { state, admission: { admitted: "no", retryAt: state.retryAt } }
  if (state.state === "half_open" && state.probe !== undefined && now < state.probe.until)
    return { state, admission: { admitted: "no", retryAt: Math.min(state.probe.until, now + PROBE_PAUSE_MS) } }
  const probe = { by, until: now + settings.probeTimeoutMs }
  const passed = state.state === "half_open" ? state.passed : 0
  return {
    state: { state: "half_open", openedAt: state.openedAt, passed, probe },
    admission: { admitted: "probe" },
  }
}

/** The state after calls ended that were made while it was closed. Those that end later than that say nothing new. */
export function countCalls(
  state: BreakerState,
  now: number,
  ended: { readonly succeeded: number; readonly failed: number },
  settings: BreakerSettings,
): BreakerState {
  if (state.state !== "closed") return state
  const buckets = withCalls(inWindow(state.buckets, now, settings), now, ended, settings)
  const failed = buckets.reduce((sum, bucket) => sum + bucket.failed, 0)
  const all = buckets.reduce((sum, bucket) => sum + bucket.failed + bucket.succeeded, 0)
  const trips = ended.failed > 0 && all >= settings.minimumCalls && failed >= settings.failureRatio * all
  return trips ? opened(now, settings) : { state: "closed", buckets }
}

/** The state after the probe of `by` ended; `undecided` when its end says nothing about the service. A probe that was given up counts for nothing. */
export function endProbe(
  state: BreakerState,
  now: number,
  by: string,
  outcome: "succeeded" | "failed" | "undecided",
  settings: BreakerSettings,
): BreakerState {
  if (state.state !== "half_open" || state.probe?.by !== by) return state
  if (outcome === "failed") return opened(now, settings)
  const passed = state.passed + (outcome === "succeeded" ? 1 : 0)
  return passed >= settings.probes ? CLOSED : { ...state, passed, probe: undefined }
}

const opened = (now: number, settings: BreakerSettings): BreakerState => ({
  state: "open",
  openedAt: now,
  retryAt: now + settings.openForMs,
})

const sliceMs = (settings: BreakerSettings): number => settings.windowMs / SLICES

const inWindow = (buckets: readonly Bucket[], now: number, settings: BreakerSettings): readonly Bucket[] =>
  buckets.filter(({ at }) => at > now - settings.windowMs)

function withCalls(
  buckets: readonly Bucket[],
  now: number,
  ended: { readonly succeeded: number; readonly failed: number },
  settings: BreakerSettings,
): readonly Bucket[] {
  const at = Math.floor(now / sliceMs(settings)) * sliceMs(settings)
  const before = buckets.find((bucket) => bucket.at === at) ?? { at, succeeded: 0, failed: 0 }
  const after = { at, succeeded: before.succeeded + ended.succeeded, failed: before.failed + ended.failed }
  return [...buckets.filter((bucket) => bucket.at !== at), after]
}
