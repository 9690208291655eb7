import type { BreakerStore, StoredBreaker } from "../core/breakers.ts"
import type { Clock } from "../core/clock.ts"
import { CLOSED, type BreakerState, type Bucket, type Probe } from "./breaker-state.ts"

/** A store for the breakers of one process. */
export function memoryBreakerStore(clock: Clock): BreakerStore {
  const kept = new Map<string, { version: number; stored: StoredBreaker }>()
  // Counts on from the wall clock as it is now: setting that clock must not hold a breaker open.
  const origin = clock.now() - clock.monotonic()
  return {
    staleAfterMs: 0,
    read(name) {
      const { version, stored } = kept.get(name) ?? { version: 0, stored: undefined }
      return Promise.resolve({ now: origin + clock.monotonic(), version, stored })
    },
    write(name, version, stored) {
      const isCurrent = (kept.get(name)?.version ?? 0) === version
      if (isCurrent) kept.set(name, { version: version + 1, stored })
      return Promise.resolve(isCurrent)
    },
  }
}

export function toStored(state: BreakerState): StoredBreaker {
  switch (state.state) {
    case "closed":
      return {
        state: "closed",
        openedAt: undefined,
        retryAt: undefined,
        stats: { buckets: state.buckets.map(({ at, succeeded, failed }) => ({ at, succeeded, failed })) },
      }
    case "open":
      return { state: "open", openedAt: state.openedAt, retryAt: state.retryAt, stats: {} }
    case "half_open": {
      const { openedAt, passed, probe } = state
      const stats = { passed, probe: probe === undefined ? null : { by: probe.by, until: probe.until } }
      return { state: "half_open", openedAt, retryAt: undefined, stats }
    }
  }
}

/** What somebody changed by hand so that it makes no sense counts as closed: calls are then judged anew. */
export function fromStored(stored: StoredBreaker | undefined): BreakerState {
  if (stored === undefined) return CLOSED
  const { openedAt = 0, retryAt = 0, stats } = stored
  switch (stored.state) {
    case "closed":
      return { state: "closed", buckets: Array.isArray(stats["buckets"]) ? stats["buckets"].filter(isBucket) : [] }
    case "open":
      return { state: "open", openedAt, retryAt }
    case "half_open": {
      const { passed, probe } = stats
      return {
        state: "half_open",
        openedAt,
        passed: typeof passed === "number" ? passed : 0,
        probe: isProbe(probe) ? probe : undefined,
      }
    }
  }
}

function isBucket(value: unknown): value is Bucket {
  if (typeof value !== "object" || value === null) return false
  const { at, succeeded, failed } = value as Record<string, unknown>
  return typeof at === "number" && typeof succeeded === "number" && typeof failed === "number"
}

function isProbe(value: unknown): value is Probe {
  if (typeof value !== "object" || value === null) return false
  const { by, until } = value as Record<string, unknown>
  return typeof by === "string" && typeof until === "number"
}
