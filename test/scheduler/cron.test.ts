import { describe, expect, it } from "vitest"
import type { Schedule } from "../../src/core/schedule.ts"
import { checkSchedule, nextTick, ticksBetween } from "../../src/scheduler/cron.ts"

const schedule = (cron: string, timezone = "UTC"): Schedule => ({ cron, timezone, catchUp: "latest" })
const at = (text: string): number => Date.parse(text)
const shown = (ticks: readonly number[]): string[] => ticks.map((tick) => new Date(tick).toISOString().slice(0, 16))

describe("ticks", () => {
  it("come once a day, also when the clocks change", () => {
    // London: 29 March 2026 has no 01:30, 25 October 2026 has two.
    const daily = schedule("30 1 * * *", "Europe/London")
    expect(shown(ticksBetween(daily, at("2026-03-27T12:00Z"), at("2026-03-31T12:00Z"), 100))).toEqual([
      "2026-03-28T01:30",
      "2026-03-29T01:00",
      "2026-03-30T00:30",
      "2026-03-31T00:30",
    ])
    expect(shown(ticksBetween(daily, at("2026-10-24T12:00Z"), at("2026-10-26T12:00Z"), 100))).toEqual([
      "2026-10-25T00:30",
      "2026-10-26T01:30",
    ])
  })

  it("of an interval go on through both of a doubled hour", () => {
    const halfHourly = schedule("*/30 * * * *", "Europe/London")
    expect(shown(ticksBetween(halfHourly, at("2026-10-25T00:10Z"), at("2026-10-25T02:10Z"), 100))).toEqual([
      "2026-10-25T00:30",
      "2026-10-25T01:00",
      "2026-10-25T01:30",
      "2026-10-25T02:00",
    ])
  })

  it("lie after the first time, up to and with the second", () => {
    const daily = schedule("0 3 * * *")
    const tick = at("2026-01-02T03:00Z")
    expect(ticksBetween(daily, tick - 1, tick, 10)).toEqual([tick])
    expect(ticksBetween(daily, tick, tick, 10)).toEqual([])
    expect(nextTick(daily, tick)).toBe(at("2026-01-03T03:00Z"))
    expect(nextTick(daily, tick - 1)).toBe(tick)
  })

  it("are the newest where there are too many", () => {
    const daily = schedule("0 3 * * *")
    expect(shown(ticksBetween(daily, at("2025-01-01T00:00Z"), at("2026-01-02T03:00Z"), 3))).toEqual([
      "2025-12-31T03:00",
      "2026-01-01T03:00",
      "2026-01-02T03:00",
    ])
  })

  it("end with a year that has passed", () => {
    expect(nextTick(schedule("0 0 1 1 *"), at("2026-05-01T00:00Z"))).toBe(at("2027-01-01T00:00Z"))
  })
})

describe("a schedule is refused", () => {
  const refusal = (broken: Partial<Schedule>): unknown => {
    try {
      checkSchedule({ ...schedule("0 3 * * *"), ...broken }, "pipeline orders")
      return undefined
    } catch (error) {
      return error
    }
  }
  it.each([
    [{ cron: "x" }, /not a cron expression/],
    [{ cron: "61 * * * *" }, /not a cron expression.*minute/],
    [{ cron: "0 0 30 2 *" }, /never comes true/],
    [{ cron: "? 3 * * *" }, /"\?"/],
    [{ timezone: "Europe/Londn" }, /no time zone/],
    [{ catchUp: "some" as "all" }, /catchUp/],
  ])("for %j", (broken, message) => {
    expect(refusal(broken)).toMatchObject({
      code: "CONFIG",
      message: expect.stringMatching(message) as string,
      where: "pipeline orders",
      hint: expect.any(String) as string,
    })
  })

  it("for nothing else", () => {
    for (const cron of ["0 3 * * *", "*/10 * * * * *", "@daily", "0 9 * * MON-FRI"])
      expect(refusal({ cron })).toBe(undefined)
  })
})
