import { setImmediate as immediate, setTimeout as delay } from "node:timers/promises"

/** Time as a port. Production code takes a `Clock`; nothing else in `src/` reads the time or waits. */
export interface Clock {
  /** Milliseconds since the epoch, by the wall clock. */
  now(): number
  /** Milliseconds on a clock that never goes back; only differences mean something. */
  monotonic(): number
  /** Resolves after `ms` milliseconds; rejects with the signal's reason when aborted first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /** Lets everything go on that is ready to (input, output, timers), then resolves: what works for long calls it now and then. */
  turn(): Promise<void>
  /** Calls `task` once, after `ms` milliseconds, unless the returned function was called by then. Cheaper than a `sleep` that is given up. */
  after(ms: number, task: () => void): () => void
  /** Calls `task` every `ms` milliseconds until the returned function is called. Never keeps the process alive. */
  every(ms: number, task: () => void): () => void
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep: async (ms, signal) => {
    try {
      await delay(ms, undefined, signal ? { signal } : {})
    } catch (error) {
      if (signal?.aborted) throw signal.reason
      throw error
    }
  },
  turn: () => immediate(),
  after: (ms, task) => {
    const timer = setTimeout(task, ms)
    return () => clearTimeout(timer)
  },
  every: (ms, task) => {
    const timer = setInterval(task, ms)
    timer.unref()
    return () => clearInterval(timer)
  },
}
