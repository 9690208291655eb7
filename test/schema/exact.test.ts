import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { compareDecimals, decimalText, numberText, parseDecimal } from "../../src/core/decimal.ts"
import { toRecordSchema } from "../../src/schema/adapter.ts"
import { decimal, timestamp } from "../../src/schema/exact.ts"
import { z } from "zod"
import { faultsOf } from "./judged.ts"

/** The oracle: numerals made from integers, compared as integers on a common scale. */
const numeral = fc.record({
  units: fc.bigInt({ min: -(10n ** 40n), max: 10n ** 40n }),
  scale: fc.integer({ min: 0, max: 30 }),
  padding: fc.integer({ min: 0, max: 3 }),
})
type Numeral = { units: bigint; scale: number; padding: number }
const COMMON = 40
const scaled = ({ units, scale }: Numeral): bigint => units * 10n ** BigInt(COMMON - scale)

function written({ units, scale, padding }: Numeral): string {
  const digits = (units < 0n ? -units : units).toString().padStart(scale + 1, "0")
  const point = digits.length - scale
  const fraction = digits.slice(point) + "0".repeat(padding)
  return `${units < 0n ? "-" : ""}${digits.slice(0, point)}${fraction === "" ? "" : `.${fraction}`}`
}

const passes = (schema: z.ZodString, text: unknown): boolean => schema.safeParse(text).success
const rules = (schema: z.ZodType, text: unknown): (string | undefined)[] =>
  faultsOf(toRecordSchema(z.object({ x: schema })), { x: text }).map((fault) => fault.rule)

describe("decimals", () => {
  it("compare as integers on a common scale do", () => {
    fc.assert(
      fc.property(numeral, numeral, (a, b) => {
        const [left, right] = [parseDecimal(written(a)), parseDecimal(written(b))]
        const order = scaled(a) < scaled(b) ? -1 : scaled(a) > scaled(b) ? 1 : 0
        expect(Math.sign(compareDecimals(left!, right!))).toBe(order)
      }),
      { numRuns: 2000 },
    )
  })

  it("compare equal in every way of writing them", () => {
    for (const text of ["1", "1.0", "+1", "001", "1e0", "10e-1", ".1e1", "0.001E3", "1."]) {
      expect(decimalText(parseDecimal(text)!), text).toBe("1")
    }
    expect(decimalText(parseDecimal("-0.00")!)).toBe("0")
    expect(decimalText(parseDecimal("-12.50e-3")!)).toBe("-0.0125")
  })

  it("a number's text reads back as the same number and has no exponent", () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, noDefaultInfinity: true }), (number) => {
        const text = numberText(number)
        expect(text).toMatch(/^-?\d+(\.\d+)?$/)
        expect(Number(text)).toBe(number === 0 ? 0 : number)
      }),
    )
    expect(numberText(1e-7)).toBe("0.0000001")
    expect(numberText(1.5e21)).toBe("1500000000000000000000")
  })

  it("bounds hold digit by digit", () => {
    fc.assert(
      fc.property(numeral, numeral, (value, bound) => {
        const [v, b] = [scaled(value), scaled(bound)]
        const text = written(value)
        const limit = written(bound)
        expect(passes(decimal({ min: limit }), text)).toBe(v >= b)
        expect(passes(decimal({ max: limit }), text)).toBe(v <= b)
        expect(passes(decimal({ exclusiveMin: limit }), text)).toBe(v > b)
        expect(passes(decimal({ exclusiveMax: limit }), text)).toBe(v < b)
      }),
      { numRuns: 300 },
    )
    expect(passes(decimal({ max: "0.1" }), "0.1000000000000000055511151231257827")).toBe(false)
  })

  it("output is the text as it came", () => {
    expect(decimal().parse("0.0010")).toBe("0.0010")
  })

  it.each([
    "",
    " ",
    " 1",
    "1 ",
    "NaN",
    "Infinity",
    "-Infinity",
    "1,5",
    "1e1000",
    "--1",
    ".",
    "+",
    "e5",
    "0x10",
    "1_000",
    "１",
    null,
    undefined,
    1,
  ])("refuses %j", (text) => {
    expect(passes(decimal(), text)).toBe(false)
  })

  it("never rounds: too many digits are a fault", () => {
    const price = decimal({ precision: 5, scale: 2 })
    expect(rules(price, "123.45")).toEqual([])
    expect(rules(price, "1.500")).toEqual([])
    expect(rules(price, "1.234")).toEqual(["scale"])
    expect(rules(price, "1234.5")).toEqual(["precision"])
    expect(rules(price, "1234.567")).toEqual(["scale", "precision"])
    expect(rules(decimal({ scale: 2 }), "123456789.12")).toEqual([])
    expect(rules(decimal({ precision: 3 }), "1.5")).toEqual(["scale"])
  })

  it("faults say rule, expectation and what came instead", () => {
    const schema = toRecordSchema(z.object({ UnitPrice: decimal({ min: 0 }) }))
    expect(faultsOf(schema, { UnitPrice: "-11062.06" })).toEqual([
      {
        code: "VALIDATION",
        step: "validate",
        rule: "min",
        path: "UnitPrice",
        expected: "a number ≥ 0",
        actualType: "string",
        message: 'UnitPrice: expected a number ≥ 0, got "-11062.06"',
      },
    ])
    expect(faultsOf(schema, { UnitPrice: "abc" })[0]).toMatchObject({
      rule: "decimal",
      message: 'UnitPrice: expected a number ≥ 0, got "abc"',
    })
    expect(faultsOf(schema, {})[0]).toMatchObject({
      rule: "invalid_type",
      actualType: "undefined",
      message: "UnitPrice: expected a number ≥ 0, got nothing",
    })
  })

  it("refuses declarations that make no sense", () => {
    for (const options of [
      { precision: 0 },
      { precision: 2, scale: 3 },
      { min: 0.1 },
      { max: "ten" },
      { exclusiveMin: 2 ** 53 },
      { scale: 1.5 },
    ])
      expect(() => decimal(options), JSON.stringify(options)).toThrowError(expect.objectContaining({ code: "CONFIG" }))
  })

  it("tell their column", () => {
    const schema = toRecordSchema(
      z.object({ a: decimal(), b: decimal({ precision: 12, scale: 3 }).optional(), c: decimal().nullable() }),
    )
    expect(schema.columns?.map(({ type, nullable }) => [type, nullable])).toEqual([
      ["numeric", false],
      ["numeric(12,3)", true],
      ["numeric", true],
    ])
    expect([...schema.exact]).toEqual(["a", "b", "c"])
  })
})

describe("timestamps", () => {
  const two = (n: number): string => String(n).padStart(2, "0")

  it("exist exactly when the calendar brings them back unchanged", () => {
    const schema = timestamp({ zone: "UTC" })
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9999 }),
        fc.integer({ min: 0, max: 14 }),
        fc.integer({ min: 0, max: 33 }),
        fc.integer({ min: 0, max: 25 }),
        fc.integer({ min: 0, max: 61 }),
        fc.integer({ min: 0, max: 61 }),
        (year, month, day, hour, minute, second) => {
          const text = `${String(year).padStart(4, "0")}-${two(month)}-${two(day)} ${two(hour)}:${two(minute)}:${two(second)}`
          const instant = new Date(0)
          instant.setUTCFullYear(year, month - 1, day)
          instant.setUTCHours(hour, minute, second)
          const back = [
            instant.getUTCFullYear(),
            instant.getUTCMonth() + 1,
            instant.getUTCDate(),
            instant.getUTCHours(),
            instant.getUTCMinutes(),
            instant.getUTCSeconds(),
          ]
          const exists = JSON.stringify(back) === JSON.stringify([year, month, day, hour, minute, second])
          expect(passes(schema, text), text).toBe(exists)
        },
      ),
      { numRuns: 3000 },
    )
  })

  it.each([
    ["2012-02-29 00:00", []],
    ["1900-02-29 00:00", ["calendar"]],
    ["2000-02-29 00:00", []],
    ["2010-02-30 10:00", ["calendar"]],
    ["2010-12-01 24:00", ["calendar"]],
    ["2010-12-01T08:26:00.123456Z", []],
    ["2010-12-01T08:26:00.1234567Z", ["precision"]],
    ["2010-12-01 08:26:00 +0530", []],
    ["2010-12-01 08:26:00+16:00", ["calendar"]],
    ["2010-12-01T08:26:00", []],
    ["2010-12-01", ["timestamp"]],
    ["2010-12-0: 08:26:00", ["timestamp"]],
    ["2010-12-01 08:26:/9", ["timestamp"]],
    ["2010-12-01_08:26:00", ["timestamp"]],
    ["2010.12.01 08:26:00", ["timestamp"]],
    ["2010-12-01 08.26.00", ["timestamp"]],
    ["01/12/2010 08:26", ["timestamp"]],
    ["2010-12-01 08:26:00 Europe/London", ["timestamp"]],
    ["0000-01-01 00:00", ["calendar"]],
    ["", ["timestamp"]],
  ])("%s", (text, expected) => {
    expect(rules(timestamp({ zone: "Europe/London" }), text)).toEqual(expected)
  })

  it('"in text" asks every text for its zone', () => {
    const schema = timestamp({ zone: "in text" })
    expect(rules(schema, "2010-12-01 08:26:00")).toEqual(["zone"])
    expect(rules(schema, "2010-12-01 08:26:00Z")).toEqual([])
    expect(rules(schema, "2010-12-01 08:26-03")).toEqual([])
  })

  it("a zone is mandatory and must exist", () => {
    expect(() => timestamp({ zone: "Europe/Atlantis" })).toThrowError(/not a time zone/)
    expect(() => timestamp(undefined as unknown as { zone: string })).toThrowError(/needs a zone/)
    expect(() => timestamp({ zone: "+01:00" })).toThrowError(/not a time zone/)
  })

  it("tell their column and zone", () => {
    const schema = toRecordSchema(
      z.object({ a: timestamp({ zone: "Europe/London" }), b: timestamp({ zone: "in text" }).optional() }),
    )
    expect(schema.columns).toEqual([
      { property: "a", name: "a", type: "timestamptz", nullable: false, zone: "Europe/London" },
      { property: "b", name: "b", type: "timestamptz", nullable: true, zone: undefined },
    ])
  })
})
