import { seededRandom } from "../../src/core/random.ts"
import type { PolicyPorts } from "../../src/resilience/index.ts"
import { manualClock, type ManualClock } from "../../src/testing/clock.ts"

export interface VirtualTime {
  readonly clock: ManualClock
  readonly ports: PolicyPorts
  /** Moves time on in small steps, with everything done in between that is ready. */
  pass(ms: number, step?: number): Promise<void>
  /** The outcome of a promise, with time passing until it is there. Fails when it is not after an hour. */
  outcome<T>(promise: Promise<T>): Promise<{ value: T } | { error: unknown }>
}

export function virtualTime(seed = 1): VirtualTime {
  const clock = manualClock()
  const pass = async (ms: number, step = 10): Promise<void> => {
    await ready()
    for (let passed = 0; passed < ms; passed += step) {
      clock.advance(Math.min(step, ms - passed))
      await ready()
    }
  }
  return {
    clock,
    ports: { clock, random: seededRandom(seed) },
    pass,
    async outcome<T>(promise: Promise<T>) {
      let settled: { value: T } | { error: unknown } | undefined
      promise.then(
        (value: T) => (settled = { value }),
        (error: unknown) => (settled = { error }),
      )
      for (let passed = 0; passed < 3_600_000 && settled === undefined; passed += 10) await pass(10)
      if (settled === undefined) throw new Error("not settled after an hour of virtual time")
      return settled
    },
  }
}

/** Lets promises run on: none of them waits for anything but other promises and the clock. */
async function ready(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve))
}
