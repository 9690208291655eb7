import { describe, expect, it } from "vitest"
import { advance, newProgress, progressLine, progressText } from "../../src/observability/progress.ts"
import { manualClock } from "../../src/testing/clock.ts"
import { event, finished, held, partitionStarted, planned, published, staged, START, started } from "./events.ts"

const after = (...events: Parameters<typeof advance>[1][]) => {
  const progress = newProgress()
  for (const one of events) advance(progress, one)
  return progress
}

describe("progressText", () => {
  it("says how far the run is", () => {
    const progress = after(
      started(),
      planned(305, 1_000),
      staged("a", 500, 1, 690, 2),
      published("a", {}),
      held("b", "bad"),
    )
    expect(progressText(progress, START + 2_000, 200)).toBe(
      "orders  2/305 partitions  500 rows  250 rows/s  69 %  2 dead letters  1 held",
    )
  })

  it("says how long it will take once that can be told", () => {
    const progress = after(started(), planned(2, 100), staged("a", 10, 1, 25))
    expect(progressText(progress, START + 2_999, 200)).not.toContain("left")
    expect(progressText(progress, START + 4_000, 200)).toContain("about 12.0 s left")
  })

  it("says when it waits for another try, until something moves", () => {
    const retry = event({ type: "retry", what: "staging", tries: 2, delayMs: 1_000, code: "NETWORK", message: "" })
    const progress = after(started(), planned(2), retry)
    expect(progressText(progress, START, 200)).toContain("staging: retry 2 in 1.0 s")
    advance(progress, partitionStarted("a"))
    expect(progressText(progress, START, 200)).not.toContain("retry")
  })

  it("fits the terminal", () => {
    const progress = after(started(), planned(305, 1_000), staged("a", 500, 1, 690, 2))
    expect(progressText(progress, START + 2_000, 20)).toBe("orders  0/305 partit")
  })
})

describe("progressLine", () => {
  const drawn = () => {
    const writes: string[] = []
    const clock = manualClock(START)
    return { writes, clock, line: progressLine({ columns: 60, write: (text) => writes.push(text) }, clock) }
  }

  it("draws at most ten times a second, however many events come, and only what changed", () => {
    const { writes, clock, line } = drawn()
    line.on(started())
    line.on(planned(1_000))
    for (let i = 0; i < 1_000; i++) {
      line.on(staged("a", 1))
      clock.advance(1)
    }
    expect(writes.length).toBeGreaterThan(5)
    expect(writes.length).toBeLessThanOrEqual(10)
    expect(writes.every((text) => text.startsWith("\r\u001b[2K"))).toBe(true)
  })

  it("prints above itself and leaves a clean line at the end", () => {
    const { writes, clock, line } = drawn()
    line.on(started())
    line.on(planned(1))
    clock.advance(100)
    line.above("hello")
    expect(writes.slice(-2)).toEqual(["\r\u001b[2K", "hello\n"])
    clock.advance(100)
    line.on(finished("completed", {}))
    expect(writes.at(-1)).toBe("\r\u001b[2K")
    const length = writes.length
    line.stop()
    clock.advance(1_000)
    expect(writes).toHaveLength(length)
  })
})
