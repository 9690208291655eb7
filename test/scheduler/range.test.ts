import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { checkRange, choosePartitions, type BackfillRange } from "../../src/scheduler/range.ts"

const days = ["2011-02-28", "2011-03-01", "2011-03-31", "2011-04-01", "2012-01-01"]
const partitions = days.map((day) => ({ key: `data/${day}.csv`, reason: "new" }))
const chosen = (range: BackfillRange): string[] =>
  choosePartitions("orders", range, partitions).chosen.map(({ key }) => key.slice(5, 15))

describe("a range", () => {
  it("includes both ends, by years, months or days", () => {
    expect(chosen({ start: "2011-03", end: "2011-03" })).toEqual(["2011-03-01", "2011-03-31"])
    expect(chosen({ start: "2011-03-02", end: "2011-04-01" })).toEqual(["2011-03-31", "2011-04-01"])
    expect(chosen({ start: "2011", end: "2011" })).toEqual(days.slice(0, 4))
    expect(chosen({ end: "2011-02" })).toEqual(["2011-02-28"])
    expect(chosen({ start: "2012" })).toEqual(["2012-01-01"])
    expect(chosen({})).toEqual(days)
  })

  it("takes a month that a day lies in", () => {
    const months = [{ key: "2011-03", reason: "missing" }]
    expect(choosePartitions("sales", { start: "2011-03-09", end: "2011-03-10" }, months).chosen).toHaveLength(1)
  })

  it("agrees with the calendar", () => {
    const day = fc
      .integer({ min: 0, max: 3_000 })
      .map((n) => new Date(Date.UTC(2005, 0, 1 + n)).toISOString().slice(0, 10))
    fc.assert(
      fc.property(day, day, day, (a, b, key) => {
        const [start, end] = a <= b ? [a, b] : [b, a]
        const inside = Date.parse(key) >= Date.parse(start) && Date.parse(key) <= Date.parse(end)
        const all = [{ key, reason: "new" }]
        if (inside) expect(choosePartitions("p", { start, end }, all).chosen).toEqual(all)
        else expect(() => choosePartitions("p", { start, end }, all)).toThrow(/no partition/)
      }),
    )
  })

  it("leaves out what is done, and what `only` does not name", () => {
    const mixed = [
      { key: "2011-01", reason: "unchanged" },
      { key: "2011-02", reason: "stale" },
      { key: "2011-03", reason: "failed-before" },
      { key: "2011-04", reason: "held-before" },
      { key: "2011-05", reason: "missing" },
    ]
    const pick = (only?: string): string[] => choosePartitions("sales", { only }, mixed).chosen.map(({ key }) => key)
    expect(pick()).toEqual(["2011-02", "2011-03", "2011-04", "2011-05"])
    expect(pick("failed")).toEqual(["2011-03", "2011-04"])
    expect(pick("missing,stale")).toEqual(["2011-02", "2011-05"])
    expect(choosePartitions("sales", { only: "failed" }, mixed).skipped).toHaveLength(3)
  })

  it("that holds nothing is told, with what there is", () => {
    expect(() => chosen({ start: "2020" })).toThrow(
      expect.objectContaining({
        code: "CONFIG",
        hint: "it has partitions from 2011-02-28 to 2012-01-01",
        context: { notFound: true },
      }) as Error,
    )
  })
})

describe("a range is refused", () => {
  it.each([
    [{ start: "2011-13" }, "--start 2011-13"],
    [{ end: "2011-02-30" }, "--end 2011-02-30"],
    [{ start: "March" }, "--start March"],
    [{ start: "2011-05", end: "2011-04" }, "--start 2011-05 is after --end 2011-04"],
    [{ only: "broken" }, "--only broken"],
  ])("for %j", (range, message) => {
    expect(() => checkRange(range)).toThrow(
      expect.objectContaining({ code: "CONFIG", message: expect.stringContaining(message) as string }) as Error,
    )
  })

  it("not for the same month at both ends, however it is written", () => {
    expect(checkRange({ start: "2011-03", end: "2011-03-09" })).toEqual({
      start: "2011-03",
      end: "2011-03-09",
      only: null,
    })
  })

  it("and told by what it says, not by how", () => {
    expect(checkRange({ only: "stale,failed" })).toEqual(checkRange({ only: "failed, stale" }))
  })
})
