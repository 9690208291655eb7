import { describe, expect, it } from "vitest"
import { ago, duration, equation, percent, plural } from "../../src/observability/wording.ts"
import { counts } from "./events.ts"

describe("figures for people", () => {
  it("says what became of the records as an equation", () => {
    expect(equation(counts({ read: 541_909, inserted: 541_907, deadLettered: 2 }))).toBe(
      "541,909 read = 541,907 inserted + 2 dead-lettered",
    )
    expect(
      equation(counts({ read: 10, expanded: 5, updated: 3, unchanged: 4, duplicate: 2, superseded: 1, filtered: 5 })),
    ).toBe("10 read + 5 expanded = 3 updated + 4 unchanged + 2 duplicate + 1 superseded + 5 filtered")
    expect(equation(counts({}))).toBe("0 read")
    expect(equation(counts({ read: 1, inserted: 1, deleted: 1 }))).toBe("1 read = 1 inserted; 1 row deleted")
  })

  it.each([
    [0, "0 ms"],
    [999.4, "999 ms"],
    [999.6, "1.0 s"],
    [59_940, "59.9 s"],
    [59_960, "1 min 00 s"],
    [125_000, "2 min 05 s"],
    [3_599_600, "1 h 00 min"],
    [3_725_000, "1 h 02 min"],
  ])("says %d ms as %s", (ms, text) => expect(duration(ms)).toBe(text))

  it.each([
    [0, "just now"],
    [12_000, "12 s ago"],
    [180_000, "3 min ago"],
    [47 * 3_600_000, "47 h ago"],
    [49 * 3_600_000, "2 days ago"],
  ])("says that %d ms have passed as %s", (ms, text) => expect(ago(ms)).toBe(text))

  it("never rounds something to nothing", () => {
    expect(percent(135_080, 541_909)).toBe("24.93 %")
    expect(percent(1, 541_909)).toBe("<0.01 %")
    expect(percent(0, 541_909)).toBe("0.00 %")
    expect(percent(0, 0)).toBe("0.00 %")
  })

  it("counts in words", () => {
    expect([plural(1, "row"), plural(0, "row"), plural(1_234, "row")]).toEqual(["1 row", "0 rows", "1,234 rows"])
  })
})
