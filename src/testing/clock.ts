import type { Clock } from "../core/clock.ts"

export interface ManualClock extends Clock {
  /** Moves time on; whoever sleeps until then wakes, in order. */
  advance(ms: number): void
  /** How many are asleep, and tasks that are still to be called once. */
  readonly sleeping: number
}

/** A clock that stands still until it is moved. `start` is in milliseconds since the epoch, default 2026-01-01T00:00:00Z. */
export function manualClock(start = Date.UTC(2026, 0, 1)): ManualClock {
  let elapsed = 0
  let sleepers: { at: number; wake: () => void }[] = []
  const repeated: { every: number; next: number; task: () => void }[] = []
  return {
    now: () => start + elapsed,
    monotonic: () => elapsed,
    get sleeping() {
      return sleepers.length
    },
    sleep(ms, signal) {
      return new Promise((resolve, reject) => {
        const fail = (): void => {
          sleepers = sleepers.filter((other) => other !== sleeper)
          reject(signal?.reason as Error)
        }
        const sleeper = {
          at: elapsed + ms,
          wake: () => {
            signal?.removeEventListener("abort", fail)
            resolve()
          },
        }
        if (signal?.aborted) {
          reject(signal.reason as Error)
          return
        }
        signal?.addEventListener("abort", fail, { once: true })
        sleepers.push(sleeper)
      })
    },
    turn: () => Promise.resolve(),
    after(ms, task) {
      let isDue = true
      const sleeper = {
        at: elapsed + ms,
        wake: () => {
          if (isDue) task()
        },
      }
      sleepers.push(sleeper)
      return () => {
        isDue = false
        sleepers = sleepers.filter((other) => other !== sleeper)
      }
    },
    every(ms, task) {
      const entry = { every: ms, next: elapsed + ms, task }
      repeated.push(entry)
      return () => {
        repeated.splice(repeated.indexOf(entry), 1)
      }
    },
    advance(ms) {
      const until = elapsed + ms
      for (;;) {
        const next = Math.min(...sleepers.map((s) => s.at), ...repeated.map((r) => r.next), Infinity)
        if (next > until) break
        elapsed = Math.max(elapsed, next)
        const awake = sleepers.filter((s) => s.at <= elapsed)
        sleepers = sleepers.filter((s) => s.at > elapsed)
        for (const sleeper of awake) sleeper.wake()
        for (const entry of repeated.filter((r) => r.next <= elapsed)) {
          entry.next += entry.every
          entry.task()
        }
      }
      elapsed = until
    },
  }
}
