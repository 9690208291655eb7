import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { seededRandom } from "../../src/core/random.ts"
import { additiveJitter, backoff, equalJitter, fullJitter, noJitter } from "../../src/resilience/index.ts"
import type { BackoffOptions } from "../../src/resilience/index.ts"

const DRAWS = 10_000

/** The waits a policy chooses, one after the other. */
function waits(options: BackoffOptions, count: number, seed = 1, throttled = false): number[] {
  const next = backoff(options)
  const random = seededRandom(seed)
  const made: number[] = []
  for (let retry = 1; retry <= count; retry++) made.push(next(retry, made.at(-1) ?? 0, throttled, random))
  return made
}

/** The largest distance between the draws and the uniform distribution over [from, to] (Kolmogorov and Smirnov). */
function distanceFromUniform(draws: readonly number[], from: number, to: number): number {
  const sorted = draws.toSorted((a, b) => a - b)
  return Math.max(
    ...sorted.map((value, i) => {
      const expected = (value - from) / (to - from)
      return Math.max(Math.abs(expected - i / sorted.length), Math.abs(expected - (i + 1) / sorted.length))
    }),
  )
}

/** Beyond this the draws are not uniform, with an error of one in a thousand; the seed is fixed. */
const CRITICAL = 1.95 / Math.sqrt(DRAWS)

const draws = (options: BackoffOptions, retry: number, previous = 0): number[] => {
  const next = backoff(options)
  const random = seededRandom(42)
  return Array.from({ length: DRAWS }, () => next(retry, previous, false, random))
}

describe("the schedules", () => {
  it("expresses 1, 2, 4 s, each and up to 1 s more", () => {
    for (const [n, wait] of waits({ baseDelay: "1s", jitter: additiveJitter("1s") }, 3).entries()) {
      expect(wait).toBeGreaterThanOrEqual([1_000, 2_000, 4_000][n] ?? 0)
      expect(wait).toBeLessThan([2_000, 3_000, 5_000][n] ?? 0)
    }
  })

  it("expresses a window of 4 to 10 s, growing or drawn from all of it", () => {
    const growing = { baseDelay: "1s", minDelay: "4s", maxDelay: "10s", jitter: noJitter }
    expect(waits(growing, 6)).toEqual([4_000, 4_000, 4_000, 8_000, 10_000, 10_000])
    const drawn = draws({ schedule: "constant", baseDelay: "10s", minDelay: "4s" }, 1)
    expect(distanceFromUniform(drawn, 4_000, 10_000)).toBeLessThan(CRITICAL)
  })

  it("has the defaults that are promised: 200 ms doubled, 1 s when throttled, at most 30 s", () => {
    expect(waits({ jitter: "none" }, 9)).toEqual([200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000])
    expect(waits({ jitter: "none" }, 6, 1, true)).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000])
  })

  it("stays constant where it is to", () => {
    expect(waits({ schedule: "constant", baseDelay: 700, jitter: "none" }, 4)).toEqual([700, 700, 700, 700])
  })

  const options = fc.record({
    schedule: fc.constantFrom("exponential" as const, "constant" as const, "decorrelated" as const),
    baseDelay: fc.integer({ min: 0, max: 100_000 }),
    factor: fc.double({ min: 1, max: 10, noNaN: true }),
    minDelay: fc.integer({ min: 0, max: 5_000 }),
    maxDelay: fc.integer({ min: 5_000, max: 60_000 }),
    jitter: fc.constantFrom(fullJitter, equalJitter, noJitter, additiveJitter(3_000), "none" as const),
  })

  it("keeps every wait within its bounds, whatever the schedule", () => {
    fc.assert(
      fc.property(options, fc.integer(), fc.boolean(), (given, seed, throttled) => {
        for (const wait of waits(given, 40, seed, throttled))
          if (!(wait >= given.minDelay && wait <= given.maxDelay)) return false
        return true
      }),
      { numRuns: 500 },
    )
  })

  it("waits for some thousandth retry, too", () => {
    expect(backoff({ jitter: "none" })(5_000, 0, false, seededRandom(1))).toBe(30_000)
    expect(backoff({ baseDelay: 0 })(5_000, 0, false, seededRandom(1))).toBe(0)
  })

  it.each([
    [{ baseDelay: -1 }, "baseDelay"],
    [{ baseDelay: "soon" }, "baseDelay"],
    [{ factor: 0.5 }, "factor"],
    [{ minDelay: "2s", maxDelay: "1s" }, "minDelay"],
    [{ maxDelay: NaN }, "maxDelay"],
  ])("refuses %j by name", (wrong, where) => {
    expect(() => backoff(wrong)).toThrow(expect.objectContaining({ code: "CONFIG", where }))
  })
})

describe("the jitter, over 10,000 draws", () => {
  it("full: uniform from 0 to the delay", () => {
    expect(distanceFromUniform(draws({ baseDelay: 1_000 }, 3), 0, 4_000)).toBeLessThan(CRITICAL)
  })

  it("equal: uniform from half the delay to the delay", () => {
    const drawn = draws({ baseDelay: 1_000, jitter: equalJitter }, 3)
    expect(distanceFromUniform(drawn, 2_000, 4_000)).toBeLessThan(CRITICAL)
  })

  it("additive: uniform from the delay to `max` more", () => {
    const drawn = draws({ baseDelay: 1_000, jitter: additiveJitter("500ms") }, 3)
    expect(distanceFromUniform(drawn, 4_000, 4_500)).toBeLessThan(CRITICAL)
  })

  it("decorrelated: uniform from the base to three times the wait before", () => {
    const drawn = draws({ schedule: "decorrelated", baseDelay: 1_000 }, 3, 2_000)
    expect(distanceFromUniform(drawn, 1_000, 6_000)).toBeLessThan(CRITICAL)
    const first = draws({ schedule: "decorrelated", baseDelay: 1_000 }, 1, 0)
    expect(distanceFromUniform(first, 1_000, 3_000)).toBeLessThan(CRITICAL)
  })
})
