import pg from "pg"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { endOf, periodOf, periodText } from "../../src/scheduler/calendar.ts"
import { dueAt, expected, overdue } from "../../src/scheduler/expected.ts"
import { testDatabaseUrl } from "../postgres/server.ts"

const at = (text: string): number => Date.parse(text)

describe("the period of a key", () => {
  it.each([
    ["2011-03", "2011-03"],
    ["2011-03-09", "2011-03-09"],
    ["data/2011-03-09.csv.gz", "2011-03-09"],
    ["2011-12/2011-12-09.csv", "2011-12-09"],
    ["orders_2011-03_v2.csv", "2011-03"],
  ])("%s", (key, text) => {
    const period = periodOf(key)
    expect(period && periodText(period)).toBe(text)
  })

  it.each(["all", "orders.csv", "2011", "2011-13", "2011-02-30", "12011-03", "2011-031"])("is none in %s", (key) => {
    expect(periodOf(key)).toBe(undefined)
  })
})

describe("when a period is over", () => {
  let client: pg.Client
  beforeAll(async () => {
    client = new pg.Client({ connectionString: await testDatabaseUrl() })
    await client.connect()
  })
  afterAll(() => client.end())

  const zones = [
    "UTC",
    "Europe/London",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "America/St_Johns",
  ]
  it.each(zones)("is what PostgreSQL says of every day and month of three years in %s", async (zone) => {
    const { rows } = await client.query<{ key: string; days: number; ms: string }>(
      `SELECT to_char(d, format) AS key, days,
              extract(epoch FROM ((d + step + days * interval '1 day') AT TIME ZONE $1)) * 1000 AS ms
       FROM (VALUES ('YYYY-MM-DD', interval '1 day'), ('YYYY-MM', interval '1 month')) units(format, step),
            generate_series(0, 2) days,
            LATERAL generate_series(timestamp '2024-01-01', timestamp '2026-12-31', step) d`,
      [zone],
    )
    expect(rows.length).toBe(3 * (1096 + 36))
    const wrong = rows.filter(({ key, days, ms }) => {
      const period = periodOf(key)
      return period === undefined || endOf(period, zone, days) !== Number(ms)
    })
    expect(wrong).toEqual([])
  })
})

describe("a rule", () => {
  it("counts days of the calendar and hours of the clock", () => {
    const march = periodOf("2026-03")
    const day = periodOf("2026-03-28")
    if (march === undefined || day === undefined) throw new Error("no period")
    expect(dueAt(expected("month + 2 days"), march)).toBe(at("2026-04-03T00:00Z"))
    expect(dueAt(expected("month + 2 days", { timezone: "Europe/London" }), march)).toBe(at("2026-04-02T23:00Z"))
    // The night of 28 to 29 March has an hour less in London.
    expect(dueAt(expected("day + 1 day", { timezone: "Europe/London" }), day)).toBe(at("2026-03-29T23:00Z"))
    expect(dueAt(expected("day + 24 hours", { timezone: "Europe/London" }), day)).toBe(at("2026-03-30T00:00Z"))
  })

  it.each(["", "month", "week + 2 days", "month + two days", "month - 2 days", "month + 2 weeks"])(
    "is not %j",
    (rule) => {
      expect(() => expected(rule)).toThrow(/is not a rule/)
    },
  )

  it("has a zone that exists", () => {
    expect(() => expected("day + 1 day", { timezone: "Mars/Olympus" })).toThrow(/time zone/)
  })
})

describe("overdue", () => {
  const rule = expected("month + 2 days")
  const partitions = [
    { key: "2026-01", reason: "unchanged" },
    { key: "2026-02", reason: "stale" },
    { key: "2026-03", reason: "missing" },
    { key: "notes", reason: "missing" },
  ]
  const keys = (now: string): string[] => overdue(rule, partitions, at(now)).map(({ key }) => key)

  it("is what is not done when its time has passed", () => {
    expect(keys("2026-03-03T00:00Z")).toEqual([])
    expect(keys("2026-03-03T00:01Z")).toEqual(["2026-02"])
    expect(keys("2026-04-03T00:01Z")).toEqual(["2026-02", "2026-03"])
  })

  it("is also what should have come after the last one", () => {
    expect(keys("2026-06-03T00:01Z")).toEqual(["2026-02", "2026-03", "2026-04", "2026-05"])
  })

  it("is nothing where there never was anything", () => {
    expect(overdue(rule, [], at("2030-01-01T00:00Z"))).toEqual([])
  })

  it("counts a day for its month, where the rule is about months", () => {
    const days = [
      { key: "2026-02-27", reason: "unchanged" },
      { key: "2026-02-28", reason: "new" },
    ]
    expect(overdue(rule, days, at("2026-03-02T23:59Z"))).toEqual([])
    expect(overdue(rule, days, at("2026-03-03T00:01Z")).map(({ key }) => key)).toEqual(["2026-02-28"])
  })
})
