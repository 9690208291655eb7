import { describe, expect, it, vi } from "vitest"
import type { PartitionMeasures, RecordCheck, SetCheck } from "../../src/core/contracts.ts"
import {
  accepted,
  judgeRecord,
  notNull,
  nullRatio,
  passRate,
  range,
  recordCheck,
  rowCount,
  splitChecks,
  sql,
  unique,
} from "../../src/quality/index.ts"

const measures = (given: Partial<PartitionMeasures> = {}): PartitionMeasures => ({
  read: 100,
  staged: 100,
  filtered: 0,
  deadLettered: 0,
  aggregates: {},
  failing: undefined,
  ...given,
})
const config = expect.objectContaining({ code: "CONFIG", hint: expect.any(String) as string }) as Error

describe("passRate", () => {
  it.each([
    [0.95, 5, 0, true],
    [0.95, 6, 0, false],
    [1, 0, 40, true],
    [1, 1, 99, false],
    [0, 100, 0, true],
  ])("of %d with %d dead letters and %d filtered of 100: %s", (min, deadLettered, filtered, passed) => {
    const staged = 100 - deadLettered - filtered
    expect(passRate(min).judge(measures({ staged, deadLettered, filtered }))).toMatchObject({
      passed,
      observed: (100 - deadLettered) / 100,
    })
  })

  it("says what was expected and found", () => {
    expect(passRate(0.57).judge(measures({ read: 3, staged: 1, deadLettered: 2 })).message).toBe(
      "passRate: expected at least 57 % good records, found 33.3333 % (1 of 3, 2 dead-lettered)",
    )
  })

  it("passes an empty partition, and says so", () => {
    expect(passRate(1).judge(measures({ read: 0, staged: 0 }))).toEqual({
      passed: true,
      observed: null,
      message: "passRate: no records",
    })
  })
})

describe("rowCount and nullRatio", () => {
  it.each([
    [{ min: 100 }, 100, true],
    [{ min: 101 }, 100, false],
    [{ max: 99 }, 100, false],
    [{ min: 1, max: 100 }, 100, true],
    [{ min: 1 }, 0, false],
  ])("rowCount %o of %d rows: %s", (bounds, staged, passed) => {
    expect(rowCount(bounds).judge(measures({ staged }))).toMatchObject({ passed, observed: staged })
  })

  it("nullRatio compares with max, or only measures", () => {
    const found = measures({ staged: 541907, aggregates: { nulls: 135078 } })
    expect(nullRatio("CustomerID", { max: 0.25 }).judge(found)).toEqual({
      passed: true,
      observed: 135078 / 541907,
      message: "nullRatio(CustomerID): expected at most 25 % nulls, found 24.9264 % nulls (135078 of 541907 rows)",
    })
    expect(nullRatio("CustomerID", { max: 0.2 }).judge(found).passed).toBe(false)
    const measured = nullRatio("CustomerID")
    expect(measured).toMatchObject({ severity: "warn" })
    expect(measured.judge(measures({ aggregates: { nulls: "100" } }))).toMatchObject({ passed: true, observed: 1 })
    expect(nullRatio("x", { max: 0 }).judge(measures({ staged: 0 }))).toEqual({
      passed: true,
      observed: null,
      message: "nullRatio(x): no rows",
    })
  })
})

describe("set-level checks of properties", () => {
  it.each<[SetCheck, string, string]>([
    [notNull("customer_id"), "broken", "notNull(customer_id): expected 0 nulls, found 3 of 100 rows"],
    [
      accepted("kind", ["a", "b"]),
      "broken",
      'accepted(kind): expected "a" or "b", so 0 other values, found 3 of 100 rows',
    ],
    [
      range("price", { min: 0, max: "9.99" }),
      "broken",
      "range(price): expected ≥ 0 and ≤ 9.99, so 0 values outside, found 3 of 100 rows",
    ],
    [
      unique(["a", "b"]),
      "surplus",
      "unique(a, b): expected every row to differ, found 3 rows that repeat another, of 100",
    ],
  ])("%o fails with what it counted", (check, name, message) => {
    expect(check.severity).toBe("fail")
    expect(check.judge(measures({ aggregates: { [name]: 3 } }))).toEqual({ passed: false, observed: 3, message })
    expect(check.judge(measures({ aggregates: { [name]: "0" } }))).toMatchObject({ passed: true, observed: 0 })
    expect(check.judge(measures({ staged: 0, aggregates: { [name]: null } }))).toMatchObject({ passed: true })
  })

  it("never pass because a measurement is missing", () => {
    for (const check of [
      notNull("a"),
      accepted("a", [1]),
      range("a", { min: 0 }),
      unique("a"),
      nullRatio("a", { max: 0.5 }),
      sql("s", "SELECT 1"),
    ])
      expect(check.judge(measures()).passed, check.name).toBe(false)
  })

  it("custom SQL passes when no row comes back", () => {
    const check = sql("refunds have an invoice", " SELECT * FROM staged WHERE invoice IS NULL ; ", { severity: "warn" })
    expect(check.failingRows?.()).toBe("SELECT * FROM staged WHERE invoice IS NULL")
    expect(check.judge(measures({ failing: { count: 0, samples: [] } })).passed).toBe(true)
    expect(check.judge(measures({ failing: { count: 1, samples: [] } }))).toEqual({
      passed: false,
      observed: 1,
      message: "refunds have an invoice: expected no failing rows, found 1 row",
    })
  })
})

describe("record-level checks", () => {
  const rule = (check: RecordCheck, x: unknown): string | undefined => check.judge({ x })?.message

  it("notNull", () => {
    const check = notNull("x", { level: "record" })
    expect(check.judge({ x: 0 })).toBeUndefined()
    expect(check.judge({})).toEqual({
      code: "QUALITY_GATE",
      step: "check",
      rule: "notNull(x)",
      path: "x",
      expected: "a value",
      message: "x: expected a value, got nothing",
    })
    expect(rule(check, null)).toBe("x: expected a value, got null")
  })

  it("accepted", () => {
    const check = accepted("x", ["a", 1, true], { level: "record" })
    for (const good of ["a", 1, "1", true, null, undefined]) expect(rule(check, good), String(good)).toBeUndefined()
    for (const bad of ["b", 2, false, {}, ["a"]])
      expect(rule(check, bad), JSON.stringify(bad)).toMatch(/^x: expected "a" or 1 or true, got/)
  })

  it("range, exact and over times", () => {
    const check = range("x", { min: 0, max: "0.1" }, { level: "record" })
    for (const good of [0, "0", "0.10", 0.1, 0n, null, undefined])
      expect(rule(check, good), String(good)).toBeUndefined()
    for (const bad of [-1, "-0.0000001", "0.1000000000000000055", 1n, "abc", "", {}, Number.NaN])
      expect(rule(check, bad), typeof bad).toMatch(/^x: expected /)
    const year = range("x", { min: "2020-01-01", max: "2020-12-31T23:59:59Z" }, { level: "record" })
    for (const good of [
      "2020-01-01",
      "2020-06-01 12:00",
      "2020-01-01T01:00:00+01:00",
      new Date("2020-12-31T23:59:59Z"),
    ])
      expect(rule(year, good), String(good)).toBeUndefined()
    for (const bad of ["2019-12-31", "2020-01-01 00:30:00 +01:00", new Date("2021-01-01T00:00:00Z"), "soon", 5])
      expect(rule(year, bad), JSON.stringify(bad)).toMatch(/^x: expected /)
  })

  it("range takes times without a zone as UTC, wherever it runs", () => {
    vi.stubEnv("TZ", "America/New_York")
    try {
      const year = range("x", { max: "2020-12-31 23:59:59" }, { level: "record" })
      expect(rule(year, "2020-12-31 23:59:59")).toBeUndefined()
      expect(rule(year, new Date("2020-12-31T23:59:59Z"))).toBeUndefined()
      expect(rule(year, "2021-01-01T00:00Z")).toMatch(/^x: expected /)
    } finally {
      vi.unstubAllEnvs()
    }
  })

  it("your own", () => {
    const check = recordCheck("paid in full", (record) => (record.paid === record.due ? true : "something is owed"))
    expect(check.judge({ paid: 1, due: 1 })).toBeUndefined()
    expect(check.judge({ paid: 1, due: 2 })).toMatchObject({
      rule: "paid in full",
      step: "check",
      message: "paid in full: something is owed",
    })
    expect(recordCheck("no", () => false).judge({})).toMatchObject({ message: "no: the check failed" })
    const throwing = recordCheck("throws", () => {
      throw new Error("boom\0")
    })
    expect(throwing.judge({})).toMatchObject({ rule: "throws", message: "throws: the check threw: boom\u{FFFD}" })
  })

  it("are told apart from set-level ones, and all of them judge a record", () => {
    const checks = [
      notNull("a", { level: "record" }),
      passRate(0.9),
      range("a", { min: 1 }, { level: "record" }),
      notNull("b", { level: "record" }),
    ]
    const { record, set } = splitChecks(checks)
    expect(record.map(({ name }) => name)).toEqual(["notNull(a)", "range(a)", "notNull(b)"])
    expect(set.map(({ name }) => name)).toEqual(["passRate"])
    expect(judgeRecord(record, { a: 0 }).map(({ rule }) => rule)).toEqual(["range(a)", "notNull(b)"])
    expect(judgeRecord(record, { a: 1, b: 1 })).toEqual([])
  })
})

describe("declarations", () => {
  it.each<[string, () => unknown]>([
    ["an unknown severity", () => passRate(0.9, { severity: "error" as "warn" })],
    ["a rate above 1", () => passRate(95)],
    ["a rate below 0", () => passRate(-0.1)],
    ["a rate that is no number", () => passRate(Number.NaN)],
    ["a null ratio above 1", () => nullRatio("a", { max: 2 })],
    ["no bounds", () => range("a", {})],
    ["no row counts", () => rowCount({})],
    ["row counts the wrong way round", () => rowCount({ min: 2, max: 1 })],
    ["half a row", () => rowCount({ min: 0.5 })],
    ["a float as bound", () => range("a", { min: 0.1 })],
    ["a bound that is neither number nor time", () => range("a", { max: "many" }, { level: "record" })],
    ["no values", () => accepted("a", [])],
    ["a value with NUL", () => accepted("a", ["\0"])],
    ["no property", () => notNull("")],
    ["no properties", () => unique([])],
    ["a property twice", () => unique(["a", "a"])],
    ["a record level for unique", () => unique("a", { level: "record" } as never)],
    ["an unknown level", () => notNull("a", { level: "row" as "record" })],
    ["a severity for single records", () => notNull("a", { level: "record", severity: "warn" } as never)],
    ["an empty query", () => sql("x", " ; ")],
    ["a check without a name", () => recordCheck(" ", () => true)],
    ["a check without a function", () => recordCheck("x", undefined as never)],
  ])("%s is refused", (_what, declare) => {
    expect(declare).toThrowError(config)
  })

  it("describe themselves for the definition version", () => {
    const described = [
      notNull("a"),
      notNull("a", { level: "record" }),
      notNull("a", { severity: "warn" }),
      range("a", { min: 1 }),
      range("a", { min: 2 }),
      recordCheck("r", () => true),
      recordCheck("r", () => false),
    ]
    expect(new Set(described.map(({ description }) => JSON.stringify(description))).size).toBe(described.length)
  })
})
