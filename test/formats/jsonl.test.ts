import fc from "fast-check"
import { describe, expect, it } from "vitest"
import type { DecodeFault } from "../../src/core/records.ts"
import { jsonl, jsonlInBatches } from "../../src/formats/jsonl.ts"
import { decodeAll } from "./decoding.ts"

const values = (text: string | Uint8Array, exact: readonly string[] = []): unknown[] =>
  decodeAll(jsonl(), text, { exact }).records.map(({ line, value }) => [line, value])

describe("jsonl", () => {
  it("reads objects and skips blank lines", () => {
    expect(values('\ufeff{"a":1}\r\n\n \t\n{"b":[1,null]}')).toEqual([
      [1, { a: 1 }],
      [4, { b: [1, null] }],
    ])
    expect(values("")).toEqual([])
  })

  it.each<[string, string | Uint8Array, string]>([
    ["no JSON", '{"a":}', "!json"],
    ["cut short", '{"a":1', "!json"],
    ["two on a line", '{"a":1}{"a":2}', "!json"],
    ["an array", "[1]", "!not_object"],
    ["a string", '"x"', "!not_object"],
    ["null", "null", "!not_object"],
    ["a NUL byte", '{"a":"\0"}', "!json"],
    ["an escaped NUL in a value", '{"a":[{"b":"\\u0000"}]}', "!nul"],
    ["an escaped NUL in a key", '{"\\u0000":1}', "!nul"],
    ["invalid UTF-8", Buffer.from('{"a":"\u00ff"}', "latin1"), "!utf8"],
  ])("sets aside %s", (_name, line, expected) => {
    const text = Buffer.concat([Buffer.from("{}\n"), Buffer.from(line as Uint8Array), Buffer.from("\n{}")])
    expect(values(text)).toEqual([
      [1, {}],
      [2, expected],
      [3, {}],
    ])
  })

  it("keeps an escaped backslash before u0000", () => {
    expect(values('{"a":"\\\\u0000"}')).toEqual([[1, { a: "\\u0000" }]])
  })

  it("tells the parser's reason", () => {
    const decoder = jsonl().decoder({ exact: new Set(), maxRecordBytes: 100 })
    const [batch] = [...decoder.push(Buffer.from('{"a":x}')), ...decoder.end()]
    expect((batch?.record(0) as DecodeFault).fault.message).toMatch(/not JSON: Unexpected token/)
  })

  it("keeps every digit of exact properties at the top level", () => {
    const line = '{"a":12345678901234567890.10,"b":12345678901234567890,"c":{"a":0.1234567890123456789},"s":"x"}'
    expect(values(line, ["a", "s"])).toEqual([
      [1, { a: "12345678901234567890.10", b: 12345678901234567000, c: { a: 0.12345678901234568 }, s: "x" }],
    ])
    expect(values('{"a":1e400}', ["a"])).toEqual([[1, { a: "1e400" }]])
    expect(values('{"a":1.5}', ["a"])).toEqual([[1, { a: 1.5 }]])
    expect(values('{"a":0.0000000000000000001,"a":7}', ["a"])).toEqual([[1, { a: "7" }]])
  })

  it("gives a number as text or as a double that prints as it was written", () => {
    const numeral = fc.tuple(fc.bigInt({ min: 0n, max: 10n ** 25n }), fc.integer({ min: 0, max: 20 }))
    fc.assert(
      fc.property(numeral, ([digits, places]) => {
        const text = digits.toString().padStart(places + 1, "0")
        const written = places === 0 ? text : `${text.slice(0, -places)}.${text.slice(-places)}`
        const [[, record]] = values(`{"a":${written}}`, ["a"]) as [[number, { a: unknown }]]
        const given = typeof record.a === "number" ? BigInt(Math.round(record.a * 10 ** places)) : undefined
        if (given === undefined) expect(record.a).toBe(written)
        else expect(Number(written)).toBe(record.a)
        if (given !== undefined) expect(written.replace(".", "").length).toBeLessThanOrEqual(15)
      }),
    )
  })

  it("keeps __proto__ as a key", () => {
    const [record] = decodeAll(jsonl(), '{"__proto__":12345678901234567890}', { exact: ["__proto__"] }).records
    expect(Object.entries(record?.value as object)).toEqual([["__proto__", "12345678901234567890"]])
  })

  it("refuses UTF-16", () => {
    expect(() => decodeAll(jsonl(), Buffer.from("\ufeff{}", "utf16le"))).toThrow(/UTF-16/)
  })

  it("gives the same whatever the chunks and batches, and resumes at each", () => {
    const line = fc.constantFrom('{"a":1}', "", " ", "[]", "{", '{"a":"é"}', `{"a":"${"x".repeat(30)}"}`, "\r", "{}\r")
    const limits = fc.record({ bytes: fc.integer({ min: 1, max: 40 }), records: fc.integer({ min: 1, max: 4 }) })
    fc.assert(
      fc.property(fc.array(line), fc.boolean(), limits, fc.integer({ min: 1, max: 50 }), (lines, last, limits, max) => {
        const text = lines.join("\n") + (last ? "\n" : "")
        const options = { maxRecordBytes: max }
        const whole = decodeAll(jsonlInBatches({ bytes: 1 << 20, records: 1000 }), text, options)
        const present = lines.flatMap((line, i) => (/^[ \r]*$/.test(line) && line.length <= max + 1 ? [] : [i + 1]))
        expect(whole.records.map((record) => record.line)).toEqual(present)
        for (const chunk of [1, 2, 3, 7, 19])
          expect(decodeAll(jsonlInBatches(limits), text, { ...options, chunk }).records).toEqual(whole.records)
        const parts = decodeAll(jsonlInBatches(limits), text, options)
        for (const { position, records } of parts.positions)
          expect(decodeAll(jsonlInBatches(limits), text, { ...options, position }).records).toEqual(
            whole.records.slice(records),
          )
      }),
    )
  })
})
