import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { day, month, value, whole } from "../../src/models/partition-unit.ts"
import {
  checkSelection,
  describeSelection,
  parseSelection,
  selects,
  type SelectionFlags,
} from "../../src/models/selection.ts"

const MONTH = month("sale_date")
const DAY = day("sale_date")

const refused = (message: string | RegExp, hint: string | RegExp): Error =>
  expect.objectContaining({
    code: "CONFIG",
    message: expect.stringMatching(message) as string,
    hint: expect.stringMatching(hint) as string,
  }) as Error

describe("flags", () => {
  it.each<[flags: SelectionFlags, message: string, hint: RegExp]>([
    [{ month: "13" }, "^--month 13 is not a month$", /from 1 to 12/],
    [{ month: 0 }, "^--month 0 is not a month$", /from 1 to 12/],
    [{ month: "" }, "--month", /from 1 to 12/],
    [{ month: "2011-03" }, "--month 2011-03", /--year 2011 --month 3/],
    [{ month: 1.5 }, "--month 1.5", /from 1 to 12/],
    [{ month: "March" }, "--month March", /from 1 to 12/],
    [{ year: "99999" }, "^--year 99999 is not a year$", /four digits/],
    [{ year: "11" }, "--year 11", /four digits/],
    [{ year: "0000" }, "--year 0000", /four digits/],
    [
      { from: "2011-02-30" },
      "--from 2011-02-30 is not a date: it has the day 30; that month has days 01 to 28",
      /2011-03-09/,
    ],
    [{ to: "2011-13" }, "--to 2011-13 is not a date: it has the month 13", /2011-03-09/],
    [{ from: "9.3.2011" }, "--from 9.3.2011 is not a date", /--from 2011/],
    [{ to: "" }, "--to", /--to 2011/],
    [{ from: "2011-04", to: "2011-03" }, "^--from 2011-04 is after --to 2011-03$", /swap/],
    [{ from: "2012", to: "2011-12-31" }, "--from 2012 is after --to 2011-12-31", /swap/],
    [
      { only: "missing,lost" },
      '--only missing,lost: "lost" is not one of missing, failed, stale',
      /missing,failed,stale/,
    ],
    [{ only: "" }, "--only", /missing,failed,stale/],
    [{ only: "toString" }, "--only", /missing,failed,stale/],
  ])("%j are refused", (flags, message, hint) => {
    expect(() => parseSelection(flags)).toThrow(refused(message, hint))
  })

  it.each<[flags: SelectionFlags, words: string]>([
    [{}, "all partitions"],
    [{ partition: [] }, "all partitions"],
    [{ year: 2010 }, "year 2010"],
    [{ year: " 2010", month: "03 " }, "month 2010-03"],
    [{ month: "3" }, "month 03 of every year"],
    [{ partition: ["2011-03"] }, "partition 2011-03"],
    [{ partition: ["a.csv", "b.csv", "a.csv"] }, "partitions a.csv, b.csv"],
    [{ from: "2011-03", to: "2011" }, "from 2011-03 to 2011"],
    [{ to: "2011", only: "failed, stale" }, "to 2011, only failed or stale"],
  ])("%j are described as %j", (flags, words) => {
    expect(describeSelection(parseSelection(flags))).toBe(words)
  })

  it("that ask for a time are refused where partitions have none", () => {
    for (const flags of [{ year: 2011 }, { month: 3 }, { from: "2011" }, { to: "2011" }])
      for (const unit of [undefined, whole(), value("country")]) {
        const error = refused(`^--${Object.keys(flags)[0]} asks for a time`, "--partition")
        expect(() => checkSelection(parseSelection(flags), unit)).toThrow(error)
        expect(() => selects(parseSelection(flags), unit, "all", "new")).toThrow(error)
      }
  })

  it("that name a partition which cannot be are refused", () => {
    const selection = parseSelection({ partition: ["2011-03", "2011-13"] })
    expect(() => checkSelection(selection, MONTH, "fact_sales_monthly")).toThrow(
      refused('^--partition: "2011-13" is not a month: it has the month 13', "2011-03"),
    )
    expect(() => checkSelection(selection, DAY)).toThrow(refused('"2011-03" is not a day', "2011-03-09"))
    for (const unit of [undefined, value("month_key")]) expect(() => checkSelection(selection, unit)).not.toThrow()
  })
})

describe("what is selected", () => {
  it.each<[flags: SelectionFlags, keys: string[]]>([
    [{}, ["2010-12", "2011-01", "2011-03", "2011-12", "2012-03"]],
    [{ year: 2010 }, ["2010-12"]],
    [{ month: 12 }, ["2010-12", "2011-12"]],
    [{ year: "2010", month: "12" }, ["2010-12"]],
    [{ year: "2010", month: "1" }, []],
    [{ partition: ["2011-03", "2012-03"] }, ["2011-03", "2012-03"]],
    [{ partition: ["2011"] }, []],
    [{ from: "2011-03" }, ["2011-03", "2011-12", "2012-03"]],
    [{ from: "2011-03-31" }, ["2011-03", "2011-12", "2012-03"]],
    [{ to: "2011" }, ["2010-12", "2011-01", "2011-03", "2011-12"]],
    [{ from: "2011-01", to: "2011-03" }, ["2011-01", "2011-03"]],
    [{ from: "2011", month: 3 }, ["2011-03", "2012-03"]],
  ])("%j", (flags, keys) => {
    const all = ["2010-12", "2011-01", "2011-03", "2011-12", "2012-03"]
    expect(all.filter((key) => selects(parseSelection(flags), MONTH, key, "missing"))).toEqual(keys)
  })

  it("goes by file names and values", () => {
    const files = parseSelection({ partition: ["2011-03-01.csv"] })
    expect(selects(files, undefined, "2011-03-01.csv", "new")).toBe(true)
    expect(selects(files, undefined, "2011-03-02.csv", "new")).toBe(false)
    expect(selects(parseSelection({ partition: ["GB"] }), value("country"), "GB", "new")).toBe(true)
  })

  it.each([
    ["missing", ["missing", "new"]],
    ["failed", ["failed", "failed-before", "held", "held-before"]],
    ["stale", ["stale", "changed"]],
    ["stale,missing", ["missing", "new", "stale", "changed"]],
  ])("--only %s", (only, expected) => {
    const reasons = [
      "missing",
      "new",
      "failed",
      "failed-before",
      "held",
      "held-before",
      "stale",
      "changed",
      "full",
      "unchanged",
    ]
    expect(reasons.filter((reason) => selects(parseSelection({ only }), MONTH, "2011-03", reason))).toEqual(expected)
  })

  // The reference counts days since 1 January 0001 by adding months up, and a selection is a range of such days.
  const DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
  const yearDays = (y: number): number[] =>
    DAYS.map((n, i) => (i === 1 && (y % 400 === 0 || (y % 100 !== 0 && y % 4 === 0)) ? 29 : n))
  const yearStarts = [0, 0]
  for (let y = 1; y < 10_000; y++) yearStarts.push((yearStarts[y] ?? 0) + yearDays(y).reduce((a, b) => a + b))
  interface Day {
    y: number
    m?: number
    d?: number
  }
  const span = ({ y, m, d }: Day): [first: number, last: number] => {
    if (m === undefined) return [yearStarts[y] ?? 0, (yearStarts[y + 1] ?? 0) - 1]
    const before =
      (yearStarts[y] ?? 0) +
      yearDays(y)
        .slice(0, m - 1)
        .reduce((a, b) => a + b, 0)
    return d === undefined ? [before, before + (yearDays(y)[m - 1] ?? 0) - 1] : [before + d - 1, before + d - 1]
  }
  const text = ({ y, m, d }: Day): string =>
    [String(y).padStart(4, "0"), ...[m, d].filter((n) => n !== undefined).map((n) => (n < 10 ? `0${n}` : `${n}`))].join(
      "-",
    )

  const years = fc.oneof(fc.integer({ min: 2009, max: 2013 }), fc.integer({ min: 1, max: 9999 }))
  const months = fc.record({ y: years, m: fc.integer({ min: 1, max: 12 }) })
  const days = months.chain(({ y, m }) =>
    fc.integer({ min: 1, max: yearDays(y)[m - 1] ?? 28 }).map((d) => ({ y, m, d })),
  )
  const dates: fc.Arbitrary<Day> = fc.oneof(
    years.map((y) => ({ y })),
    months,
    days,
  )

  it("from and to take what overlaps the days between them", () => {
    let taken = 0
    fc.assert(
      fc.property(fc.oneof(months, days), fc.option(dates), fc.option(dates), (key: Day, from, to) => {
        const flags = { ...(from ? { from: text(from) } : {}), ...(to ? { to: text(to) } : {}) }
        const first = from ? span(from)[0] : 0
        const last = to ? span(to)[1] : Infinity
        if (from && to && first > last) {
          expect(() => parseSelection(flags)).toThrow(/is after/)
          return
        }
        const [keyFirst, keyLast] = span(key)
        const expected = keyLast >= first && keyFirst <= last
        if (expected && from && to) taken += 1
        expect(selects(parseSelection(flags), key.d === undefined ? MONTH : DAY, text(key), "new")).toBe(expected)
      }),
      { numRuns: 20_000 },
    )
    expect(taken).toBeGreaterThan(100)
  })

  it("takes exactly the dates there are", () => {
    fc.assert(
      fc.property(years, fc.integer({ min: 0, max: 14 }), fc.integer({ min: 0, max: 33 }), (y, m, d) => {
        const isDate = m >= 1 && m <= 12 && d >= 1 && d <= (yearDays(y)[m - 1] ?? 0)
        const parse = (): unknown => parseSelection({ from: text({ y, m, d }) })
        if (isDate) expect(parse).not.toThrow()
        else expect(parse).toThrow(/not a date/)
      }),
      { numRuns: 5_000 },
    )
  })

  it("year, month, partition and only narrow one another", () => {
    const flag = fc.record(
      {
        year: fc.integer({ min: 2010, max: 2012 }),
        month: fc.integer({ min: 1, max: 3 }),
        partition: fc.array(fc.constantFrom("2010-01", "2011-02", "2012-03"), { minLength: 1 }),
        only: fc.constantFrom("missing", "failed", "stale"),
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(
        flag,
        fc.constantFrom("2010-01", "2011-02", "2012-03"),
        fc.constantFrom("new", "held", "full"),
        (flags, key, reason) => {
          const [y = "", m = ""] = key.split("-")
          const word = { new: "missing", held: "failed", full: "" }[reason]
          const expected = [
            !flags.year || flags.year === Number(y),
            !flags.month || flags.month === Number(m),
            !flags.partition || flags.partition.includes(key),
            !flags.only || flags.only === word,
          ]
          expect(selects(parseSelection(flags), MONTH, key, reason)).toBe(!expected.includes(false))
        },
      ),
      { numRuns: 2_000 },
    )
  })
})
