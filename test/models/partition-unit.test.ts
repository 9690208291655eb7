import fc from "fast-check"
import pg from "pg"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import {
  bounds,
  by,
  day,
  isKey,
  keyExpression,
  keyFault,
  month,
  value,
  whole,
} from "../../src/models/partition-unit.ts"
import { freshDatabase, type FreshDatabase } from "../postgres/server.ts"

const refused = (message: RegExp): Error =>
  expect.objectContaining({
    code: "CONFIG",
    message: expect.stringMatching(message) as string,
    hint: expect.any(String) as string,
  }) as Error

describe("units", () => {
  it.each([
    [month("sale_date"), "month(sale_date)"],
    [month("sale_date", "UTC"), "month(sale_date)"],
    [month("sale_date", "Europe/London"), "month(sale_date, Europe/London)"],
    [day("sold", "europe/LONDON"), "day(sold, Europe/London)"],
    [value("country"), "value(country)"],
    [value(" upper(country) "), "value(upper(country))"],
    [whole(), "whole"],
  ])("%j is named %s", (unit, name) => {
    expect(by(unit)).toBe(name)
  })

  it.each(["", "Europe/Londn", "+01:00", "-05", "UTC'; DROP", "Europe/London "])("%j is no zone", (zone) => {
    expect(() => month("d", zone)).toThrow(refused(/not a time zone/))
  })

  it.each([
    ["", /empty/],
    ["  ", /empty/],
    ["a) || (b", /closes a parenthesis/],
    ["(a", /not closed/],
    ["a; b", /semicolon/],
    ["a -- b", /comment/],
    ["a /* b", /comment that is not closed/],
    ["a || 'b", /string that is not closed/],
    ["a || ${partition.key}", /stands for/],
    ["a = $1", /stands for/],
  ])("%j is no expression", (expression, message) => {
    expect(() => value(expression)).toThrow(refused(message))
  })

  it("month and day need a column of a type that has them", () => {
    expect(() => month(" ")).toThrow(refused(/names no column/))
    for (const type of ["text", "integer", "time", "timestamp[]"])
      expect(() => keyExpression(month("d"), type)).toThrow(refused(/"d" has the type/))
  })
})

describe("keys", () => {
  const reason = (unit: Parameters<typeof keyFault>[0], key: string) => {
    expect(isKey(unit, key)).toBe(keyFault(unit, key) === undefined)
    return keyFault(unit, key)
  }

  it.each(["2011-03", "0001-01", "9999-12"])("%j is a month", (key) => {
    expect(reason(month("d"), key)).toBeUndefined()
  })

  it.each([
    ["2011-13", '"2011-13" is not a month: it has the month 13; months are 01 to 12'],
    ["2011-00", '"2011-00" is not a month: it has the month 00; months are 01 to 12'],
    ["0000-01", '"0000-01" is not a month: it has the year 0000; years begin at 0001'],
    ["2011", '"2011" is not a month'],
    ["2011-03-01", '"2011-03-01" is not a month'],
    ["2011-3", '"2011-3" is not a month: it is not written as 2011, 2011-03 or 2011-03-09'],
    ["2011-03\n", '"2011-03\\n" is not a month: it is not written as 2011, 2011-03 or 2011-03-09'],
  ])("%j is no month", (key, message) => {
    expect(reason(month("d"), key)).toBe(message)
    expect(() => bounds(month("d"), key)).toThrow(
      expect.objectContaining({
        code: "CONFIG",
        message,
        hint: "write a month as 2011-03",
        where: "month(d)",
      }) as Error,
    )
  })

  it.each([
    ["2011-02-29", /days 01 to 28/],
    ["1900-02-29", /days 01 to 28/],
    ["2011-04-31", /days 01 to 30/],
    ["2011-12-32", /days 01 to 31/],
    ["2011-12-00", /days 01 to 31/],
    ["2011-12", /not a day/],
  ])("%j is no day", (key, message) => {
    expect(reason(day("d"), key)).toMatch(message)
  })

  it("of a value are any text, of a whole table only one", () => {
    for (const key of ["", "GB", "2011-13"]) expect(reason(value("c"), key)).toBeUndefined()
    expect(reason(value("c"), "a\0")).toMatch(/NUL/)
    expect(reason(whole(), "all")).toBeUndefined()
    expect(reason(whole(), "2011-03")).toMatch(/undivided/)
    const nowhere = { start: undefined, end: undefined, year: undefined, month: undefined }
    expect(bounds(whole(), "all")).toEqual({ key: "all", ...nowhere })
    expect(bounds(value("c"), "GB")).toEqual({ key: "GB", ...nowhere })
  })
})

describe("against PostgreSQL", () => {
  let database: FreshDatabase
  let client: pg.Client

  beforeAll(async () => {
    database = await freshDatabase()
    client = new pg.Client({ connectionString: database.url })
    await client.connect()
    // Neither of the zones below, and dates that are not read month first.
    await client.query("SET timezone = 'Asia/Kathmandu'; SET datestyle = 'German, DMY'")
  })

  afterAll(async () => {
    await client.end()
    await database.drop()
  })

  const first = async (sql: string, values: unknown[] = []): Promise<unknown[]> =>
    (await client.query<unknown[]>({ text: sql, values, rowMode: "array" })).rows[0] ?? []

  it("knows all zones that Node knows, and reads a start in each of them right in three types", async () => {
    for (const zone of [...Intl.supportedValuesOf("timeZone"), "UTC", "Etc/GMT+5", "EST5EDT"])
      for (const [key, date, next] of [
        ["2011-03", "2011-03-01", "2011-04-01"],
        ["2011-12", "2011-12-01", "2012-01-01"],
      ] as const) {
        const { start, end } = bounds(month("d", zone), key)
        const read = await first(
          `SELECT to_char($1::date, 'YYYY-MM-DD'), $2::timestamp = $7::date, $3::timestamptz = $7::date::timestamp AT TIME ZONE $9,
             to_char($4::date, 'YYYY-MM-DD'), $5::timestamp = $8::date, $6::timestamptz = $8::date::timestamp AT TIME ZONE $9`,
          [start, start, start, end, end, end, date, next, zone],
        )
        expect(read, zone).toEqual([date, true, true, next, true, true])
      }
  })

  const zones = fc.constantFrom(
    "UTC",
    "Europe/London",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Pacific/Apia", // Left out 30 December 2011.
    "America/Havana", // Turns clocks back from 01:00 to 00:00.
    "Atlantic/Azores", // The same.
    "America/Sao_Paulo", // Turned them on from 00:00.
    "Africa/Cairo", // Turns them back from 24:00 to 23:00.
  )
  const units = fc.constantFrom(month, day)
  const seconds = fc.oneof(
    fc.integer({ min: Date.UTC(2005, 0) / 1000, max: Date.UTC(2025, 0) / 1000 }),
    fc.integer({ min: -62_000_000_000, max: 253_000_000_000 }),
  )

  it("has each instant in exactly the range of its key", async () => {
    await fc.assert(
      fc.asyncProperty(zones, units, seconds, async (zone, of, at) => {
        const unit = of("at", zone)
        const [key] = await first(
          `SELECT ${keyExpression(unit, "timestamptz(3)", "t")} FROM (SELECT to_timestamp($1) at) t`,
          [at],
        )
        const { start, end, year, month: m } = bounds(unit, String(key))
        const inside = await first(
          "SELECT to_timestamp($1) >= $2::timestamptz, to_timestamp($1) < $3::timestamptz, extract(year FROM $4::date)::int, extract(month FROM $4::date)::int",
          [at, start, end, start],
        )
        expect(inside).toEqual([true, true, year, m])
      }),
      { numRuns: 1_500 },
    )
  })

  it("changes the key at a boundary, and at no other instant of the days around it", async () => {
    // Every half hour of the days where clocks changed, and of those around them.
    for (const [zone, date] of [
      ["Europe/London", "2011-03-27"],
      ["Europe/London", "2011-10-30"],
      ["America/Havana", "2011-11-13"],
      ["America/Havana", "2026-11-01"],
      ["Atlantic/Azores", "2011-10-30"],
      ["America/Sao_Paulo", "2011-10-16"],
      ["America/Sao_Paulo", "2011-02-20"],
      ["Pacific/Apia", "2011-12-30"],
      ["Australia/Lord_Howe", "2011-04-03"],
    ] as const)
      for (const unit of [day("at", zone), month("at", zone)]) {
        const { rows } = await client.query<{ key: string; at: number }>(
          `SELECT ${keyExpression(unit, "timestamptz", "t")} AS key, extract(epoch FROM at)::float8 AS at
           FROM generate_series($1::date - 2 + time '00:00', $1::date + 2 + time '00:00', '30 minutes') l(local), LATERAL (SELECT local AT TIME ZONE 'UTC' AS at) t`,
          [date],
        )
        expect(new Set(rows.map((row) => row.key)).size).toBeGreaterThan(unit.kind === "day" ? 3 : 0)
        for (const key of new Set(rows.map((row) => row.key))) {
          const { start, end } = bounds(unit, key)
          const [from, to] = await first(
            "SELECT extract(epoch FROM $1::timestamptz)::float8, extract(epoch FROM $2::timestamptz)::float8",
            [start, end],
          )
          const range = rows.filter((row) => row.at >= Number(from) && row.at < Number(to))
          expect(range, `${zone} ${key}`).toEqual(rows.filter((row) => row.key === key))
        }
      }
  })

  it("gives keys as text, and none for NULL and infinity", async () => {
    await client.query(`CREATE TABLE t ("the date" date, at timestamp, z timestamptz, country text, n int);
      INSERT INTO t VALUES ('2011-03-09', '2011-03-31 23:59:59', '2011-03-31 23:30Z', 'it''s', 7), (NULL, 'infinity', '-infinity', NULL, NULL)`)
    const keys = async (unit: Parameters<typeof by>[0], type: string): Promise<unknown[]> => {
      const aliased = await client.query<{ key: unknown }>(
        `SELECT ${keyExpression(unit, type, "s")} AS key FROM t s, t u WHERE u.n = 7 ORDER BY s.n`,
      )
      const plain = await client.query<{ key: unknown }>(`SELECT ${keyExpression(unit, type)} AS key FROM t ORDER BY n`)
      expect(plain.rows).toEqual(aliased.rows)
      return plain.rows.map((row) => row.key)
    }
    expect(await keys(month("the date"), "date")).toEqual(["2011-03", null])
    expect(await keys(day("the date", "Asia/Tokyo"), "DATE")).toEqual(["2011-03-09", null])
    expect(await keys(day("at", "Asia/Tokyo"), "timestamp without time zone")).toEqual(["2011-03-31", null])
    expect(await keys(day("z"), "timestamp(3) with time zone")).toEqual(["2011-03-31", null])
    expect(await keys(month("z", "Europe/London"), "timestamptz")).toEqual(["2011-04", null])
    expect(await keys(value("country"), "text")).toEqual(["it's", null])
    expect(await keys(value("n"), "integer")).toEqual(["7", null])
    expect(await keys(value("n / 2"), "")).toEqual(["3", null])
    expect(await keys(value("CASE WHEN country LIKE 'i%' THEN ')' END"), "")).toEqual([")", null])
    expect(await keys(whole(), "")).toEqual(["all", "all"])
  })
})
