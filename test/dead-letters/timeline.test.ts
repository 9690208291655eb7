import fc from "fast-check"
import { expect, it } from "vitest"
import { Timeline, TREND_COLUMNS } from "../../src/dead-letters/timeline.ts"

const HOUR = 3_600_000
const START = Date.UTC(2026, 10, 20)

it("keeps every count, whatever the order of times, and none of it far from its column", () => {
  const time = fc.oneof(fc.integer({ min: -5_000, max: 5_000 }), fc.integer({ min: -900 * HOUR, max: 900 * HOUR }))
  fc.assert(
    fc.property(fc.array(time, { minLength: 1, maxLength: 80 }), (offsets) => {
      const timeline = new Timeline()
      const all = timeline.slices()
      const odd = timeline.slices()
      const times = offsets.map((offset) => START + offset)
      times.forEach((each, n) => timeline.add(each, all, n % 2 === 1 ? odd : undefined))
      const trend = timeline.trend(all)
      expect(trend).toHaveLength(TREND_COLUMNS)
      expect(trend.reduce((a, b) => a + b)).toBe(times.length)
      expect(timeline.trend(odd).reduce((a, b) => a + b)).toBe(Math.floor(times.length / 2))
      // At most as many letters have been counted up to a column as lie before the end of the next one.
      const [first, last] = [Math.min(...times), Math.max(...times)]
      const columnOf = (each: number): number =>
        last === first ? 0 : Math.min(TREND_COLUMNS - 1, Math.floor(((each - first) / (last - first)) * TREND_COLUMNS))
      if (last - first < 1_000) return
      let counted = 0
      trend.forEach((count, column) => {
        counted += count
        const upTo = (most: number): number => times.filter((each) => columnOf(each) <= most).length
        expect(counted).toBeLessThanOrEqual(upTo(column + 1) + 1)
        expect(counted).toBeGreaterThanOrEqual(upTo(column - 1) - 1)
      })
    }),
    { numRuns: 500 },
  )
})

it("shows a column for each of 24 hours", () => {
  const timeline = new Timeline()
  const slices = timeline.slices()
  for (let hour = 0; hour < 24; hour++)
    for (let n = 0; n <= hour; n++) timeline.add(START + hour * HOUR + (n * HOUR) / 30, slices)
  const trend = timeline.trend(slices)
  expect(trend[0]).toBeLessThan(5)
  expect(trend[23]).toBeGreaterThan(15)
})
