import fc from "fast-check"
import { describe, expect, it } from "vitest"
import type { Column } from "../../src/core/contracts.ts"
import { rowEncoder } from "../../src/schema/encode.ts"
import { decodeCopyRow } from "./copy-text.ts"

const column = (property: string, type: string, zone?: string, nullable = true): Column => ({
  property,
  name: property,
  type,
  nullable,
  zone,
})
const one = (type: string, value: unknown, zone?: string): unknown => {
  const row = rowEncoder([column("x", type, zone)])({ x: value })
  return typeof row === "string" ? row : row.rule
}

describe("rows of COPY text", () => {
  it("come back from an independent decoder as what went in", () => {
    const columns = [
      column("s", "text"),
      column("i", "bigint"),
      column("n", "numeric"),
      column("d", "double precision"),
      column("b", "boolean"),
      column("j", "jsonb"),
      column("t", "timestamptz"),
      column("g", "bigint"),
    ]
    const encode = rowEncoder(columns)
    const text = fc.string({
      unit: fc.oneof(
        fc.constantFrom("\\", "\t", "\n", "\r", "N", "\b", "\f", "\v", "😀", "é", ".", "'", '"'),
        fc.string({ unit: "binary", minLength: 1, maxLength: 1 }).filter((c) => c !== "\0"),
      ),
    })
    const record = fc.record(
      {
        s: fc.option(text),
        i: fc.option(fc.maxSafeInteger()),
        n: fc.option(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }).map((n) => `${n}.5`)),
        d: fc.option(fc.double()),
        b: fc.option(fc.boolean()),
        j: fc.option(fc.dictionary(text, fc.oneof(text, fc.integer(), fc.constant(null)))),
        t: fc.option(
          fc.date({
            min: new Date("0001-01-01T00:00:00Z"),
            max: new Date("9999-12-31T23:59:59Z"),
            noInvalidDate: true,
          }),
        ),
        g: fc.option(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(record, (value) => {
        const row = encode(value)
        if (typeof row !== "string") throw new Error(row.message)
        const [s, i, n, d, b, j, t, g, ...rest] = decodeCopyRow(row)
        expect(rest).toEqual([])
        expect(s).toBe(value.s ?? null)
        expect(i).toBe(value.i == null ? null : `${value.i}`)
        expect(n).toBe(value.n ?? null)
        expect(d == null ? null : Number(d)).toBe(value.d ?? null)
        expect(b).toBe(value.b == null ? null : value.b ? "t" : "f")
        expect(j == null ? null : JSON.stringify(JSON.parse(j))).toBe(value.j == null ? null : JSON.stringify(value.j))
        expect(t == null ? null : new Date(t).getTime()).toBe(value.t?.getTime() ?? null)
        expect(g).toBe(value.g == null ? null : value.g.toString())
      }),
      { numRuns: 2000 },
    )
  })

  it("have no line end, and null apart from the text \\N", () => {
    const encode = rowEncoder([column("a", "text"), column("b", "text"), column("c", "text")])
    expect(encode({ a: null, b: "\\N", c: "" })).toBe("\\N\t\\\\N\t")
    expect(encode({ a: "\\." })).toBe("\\\\.\t\\N\t\\N")
    expect(rowEncoder([])({ a: 1 })).toBe("")
  })
})

describe("values and columns", () => {
  it.each([
    ["text", "a", "a"],
    ["text", 5, "5"],
    ["text", 5n, "5"],
    ["text", false, "false"],
    ["text", { a: 1 }, "type"],
    ["text", ["a"], "type"],
    ["text", "a\0b", "nul"],
    ["text", "a\ud83d", "surrogate"],
    ["text", "a\ude00\ud83d", "surrogate"],
    ["text", "😀", "😀"],
    ["integer", 12, "12"],
    ["integer", -0, "0"],
    ["integer", 1.5, "type"],
    ["integer", NaN, "type"],
    ["integer", 2147483648, "range"],
    ["integer", -2147483648, "-2147483648"],
    ["INTEGER", 2147483647, "2147483647"],
    ["integer", "0012", "0012"],
    ["integer", "12x", "type"],
    ["integer", "99999999999", "range"],
    ["smallint", 32768, "range"],
    ["smallint", "+32767", "32767"],
    ["smallint", "9999", "9999"],
    ["bigint", 2n ** 63n, "range"],
    ["bigint", "9223372036854775807", "9223372036854775807"],
    ["bigint", 2 ** 60, "range"],
    ["numeric", "1.50", "1.50"],
    ["numeric", "1e5", "1e5"],
    ["numeric", "NaN", "type"],
    ["numeric", NaN, "type"],
    ["numeric", 0.1, "0.1"],
    ["numeric", 10n ** 30n, "1000000000000000000000000000000"],
    ["numeric", true, "type"],
    ["numeric(5,2)", "123.45", "123.45"],
    ["numeric(5,2)", "123.450", "123.450"],
    ["numeric(5, 2)", "1.234", "scale"],
    ["numeric(5,2)", "1234", "precision"],
    ["numeric(5,2)", "1e3", "precision"],
    ["numeric(5,2)", "999", "999"],
    ["numeric(3)", "1.5", "scale"],
    ["double precision", Infinity, "Infinity"],
    ["double precision", NaN, "NaN"],
    ["double precision", -0, "-0"],
    ["double precision", "1.5", "1.5"],
    ["double precision", "abc", "type"],
    ["boolean", true, "t"],
    ["boolean", 1, "type"],
    ["boolean", "toString", "type"],
    ["jsonb", "text", '"text"'],
    ["jsonb", { a: ["\n"] }, '{"a":["\\\\n"]}'],
    ["jsonb", { a: "\0" }, "nul"],
    ["jsonb", { a: "\\u0000" }, '{"a":"\\\\\\\\u0000"}'],
    ["jsonb", { a: "\ud800" }, "surrogate"],
    ["jsonb", { a: "😀" }, '{"a":"😀"}'],
    ["jsonb", 5n, "type"],
    ["jsonb", () => 1, "type"],
    ["date", "2010-12-01", "2010-12-01"],
    ["date", "01/12/2010", "type"],
    ["date", "now", "type"],
    ["date", new Date("2010-12-01T23:00:00Z"), "2010-12-01"],
    ["timestamptz", "2010-12-01 08:26:00Z", "2010-12-01 08:26:00Z"],
    ["timestamptz", "2010-12-01 08:26:00", "zone"],
    ["timestamptz", "2010-12-01", "zone"],
    ["timestamptz", "now", "type"],
    ["timestamptz", new Date(Number.NaN), "type"],
    ["timestamptz", new Date(8.64e15), "range"],
    ["timestamptz", 5, "type"],
    ["timestamp", "2010-12-01 08:26:00", "2010-12-01 08:26:00"],
    ["timestamp", "2010-12-01 08:26:00+01", "type"],
    ["timestamp", new Date("2010-12-01T08:26:00Z"), "2010-12-01T08:26:00.000"],
    ["uuid", "6f7b", "6f7b"],
  ])("%s takes %o as %o", (type, value, expected) => {
    expect(one(type, value)).toBe(expected)
  })

  it("a zone is added only to text that carries none", () => {
    expect(one("timestamptz", "2010-12-01 08:26:00", "Europe/London")).toBe("2010-12-01 08:26:00 Europe/London")
    expect(one("timestamptz", "2010-12-01", "UTC")).toBe("2010-12-01 UTC")
    for (const own of [
      "2010-12-01T08:26:00Z",
      "2010-12-01 08:26:00+05:30",
      "2010-12-01 08:26:00.5 -03",
      "2010-12-01 08:26 America/New_York",
    ])
      expect(one("timestamptz", own, "Europe/London")).toBe(own)
  })

  it("a fault names the property, the column and the value, and null in a column that takes none", () => {
    const encode = rowEncoder([
      column("a", "text"),
      { property: "UnitPrice", name: "unit_price", type: "numeric(5,2)", nullable: false, zone: undefined },
    ])
    const fault = encode({ a: "x", UnitPrice: "1.234" })
    expect(fault).toEqual({
      code: "DB_CONSTRAINT",
      step: "load",
      rule: "scale",
      path: "UnitPrice",
      expected: "a number with at most 2 digits behind the point",
      actualType: "string",
      message:
        'UnitPrice: expected a number with at most 2 digits behind the point, got "1.234" (column unit_price numeric(5,2))',
    })
    expect(encode({ a: "x" })).toMatchObject({ rule: "not_null", path: "UnitPrice", actualType: "undefined" })
    expect(encode({ a: "x", UnitPrice: null })).toMatchObject({ rule: "not_null", actualType: "null" })
  })
})
