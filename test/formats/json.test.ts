import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { decodeJson } from "./json-decoding.ts"

/** `line: rule or JSON` of each element. */
const outline = (text: string | Uint8Array, options: Parameters<typeof decodeJson>[1] = {}): string[] =>
  decodeJson(text, options).elements.map(
    ({ line, value }) => `${line}: ${typeof value === "string" ? value : JSON.stringify(value)}`,
  )

describe("json", () => {
  it.each<[string, string, string[]]>([
    ["on one line", '[{"a":1},{"a":2}]', ['1: {"a":1}', '1: {"a":2}']],
    ["one per line", '[\n{"a":1},\n{"a":2}\n]\n', ['2: {"a":1}', '3: {"a":2}']],
    ["commas in front", '[\n  {"a":1}\n, {"a":2}\n]', ['2: {"a":1}', '3: {"a":2}']],
    ["indented", '[\n  {\n    "a": 1\n  },\n  {\n    "a": 2\n  }\n]', ['2: {"a":1}', '5: {"a":2}']],
    ["not indented at all", '[\n{\n"a": [\n{\n"b": 1\n}\n]\n},\n{}\n]', ['2: {"a":[{"b":1}]}', "9: {}"]],
    ["with Windows line ends", '[\r\n{"a":1},\r\n{"a":2}\r\n]', ['2: {"a":1}', '3: {"a":2}']],
    [
      "brackets and quotes in text",
      '[{"a":"}],{\\"[\\\\"},{"b":"\\\\\\""}]',
      ['1: {"a":"}],{\\"[\\\\"}', '1: {"b":"\\\\\\""}'],
    ],
    ["without elements", " [ ] ", []],
    ["a byte order mark", "\ufeff[{}]", ["1: {}"]],
    ["missing comma", '[{"a":1} {"a":2}\n{"a":3}]', ['1: {"a":1}', '1: {"a":2}', '2: {"a":3}']],
  ])("reads an array %s", (_name, text, expected) => {
    expect(outline(text)).toEqual(expected)
  })

  it.each<[string, string, string[]]>([
    ["no JSON", '[{"a":},{"b":2}]', ["1: !json", '1: {"b":2}']],
    [
      "no object",
      '[1, "a,b", null, [{"x":1},2], true, {"b":2}]',
      [...Array<string>(5).fill("1: !not_object"), '1: {"b":2}'],
    ],
    ["nothing between commas", '[{"a":1},,{"b":2},]', ['1: {"a":1}', "1: !json", '1: {"b":2}', "1: !json"]],
    ["a text that is not closed", '[{"a":"x},{"b":2}]', ["1: !json"]],
    [
      "a text that is not closed, on a line",
      '[\n{"a":"x},\n{"b":2},\n{"c":3}\n]',
      ["2: !json", '3: {"b":2}', '4: {"c":3}'],
    ],
    ["a quote inside a text", '[{"a":"O"Brien","b":[{"x":1},{"x":2}]},{"b":2}]', ["1: !json", '1: {"b":2}']],
    ["a raw line feed in a text", '[{"a":"x\ny"},{"b":2}]', ["1: !json", '2: {"b":2}']],
    ["a brace that does not close", '[{"a":1,{"b":2},{"c":3}]', ["1: !json", '1: {"b":2}', '1: {"c":3}']],
    [
      "a brace that does not close, on a line",
      '[\n  {"a":1,\n  {"b":2},\n  {"c":3}\n]',
      ["2: !json", '3: {"b":2}', '4: {"c":3}'],
    ],
    ["a list that does not close", '[{"a":[1,2},{"b":2}]', ["1: !json", '1: {"b":2}']],
    [
      "an inner object that does not close, indented",
      '[\n  {\n    "a": {\n      "b": 1\n  },\n  {\n    "c": 3\n  }\n]',
      ["2: !json", '6: {"c":3}'],
    ],
    ["a bracket too many", '[{"a":1}},{"b":2}]', ["1: !json", '1: {"b":2}']],
    ["the last brace missing", '[\n{"a":1},\n{"b":2\n]\n', ['2: {"a":1}', "3: !json"]],
    ["the end missing in an element", '[{"a":1},{"b":', ['1: {"a":1}', "1: !json"]],
    ["the end missing behind an element", '[{"a":1}\n', ['1: {"a":1}', "2: !json"]],
    ["the end missing behind a comma", '[{"a":1},', ['1: {"a":1}', "1: !json"]],
    ["nothing but the beginning", "[", ["1: !json"]],
    ["something behind the end", '[{"a":1}]\n{"b":2}\n', ['1: {"a":1}', "2: !json"]],
    ["two texts side by side", '[{"a":"x" "y"},{"b":2}]', ["1: !json", '1: {"b":2}']],
    ["a word without quotes", "[{a:1},{\"b\":2},{'c':3}]", ["1: !json", '1: {"b":2}', "1: !json"]],
    ["a NUL", '[{"a":"\\u0000"},{"b":2}]', ["1: !nul", '1: {"b":2}']],
  ])("sets aside an element that is %s, and no other", (_name, text, expected) => {
    expect(outline(text)).toEqual(expected)
    for (const chunk of [1, 2, 3, 5])
      expect(outline(text, { chunk, limits: { bytes: 1, records: 1 } })).toEqual(expected)
  })

  it("sets aside what is not UTF-8", () => {
    expect(outline(Buffer.from('[{"a":"\xff"},{"b":2}]', "latin1"))).toEqual(["1: !utf8", '1: {"b":2}'])
  })

  it("keeps head, length and hash of an element that is too long, and goes on behind it", () => {
    const text = `[{"a":1},{"a":"${"x".repeat(300)}"} ,\n{"b":2}]`
    for (const chunk of [1, 7, 64, 1000])
      expect(outline(text, { maxRecordBytes: 100, chunk, limits: { bytes: 64, records: 10 } })).toEqual([
        '1: {"a":1}',
        "1: !too_long",
        '2: {"b":2}',
      ])
  })

  it.each(["", " \n", "{}", '{"a":1}\n{"a":2}', "null", "a,b\n1,2"])("refuses %j, which is no array", (text) => {
    expect(() => decodeJson(text)).toThrow(/not a JSON array/)
  })

  it("refuses UTF-16", () => {
    expect(() => decodeJson(Buffer.from("\ufeff[]", "utf16le"))).toThrow(/UTF-16/)
  })

  it("keeps every digit of exact properties, and __proto__ as a key", () => {
    const [element] = decodeJson('[{"__proto__":12345678901234567890}]', { exact: ["__proto__"] }).elements
    expect(Object.entries(element?.value as object)).toEqual([["__proto__", "12345678901234567890"]])
  })

  it("gives what JSON.parse gives of any array of objects, in any layout and chunks", () => {
    const objects = fc.array(fc.dictionary(fc.string({ unit: "binary" }), fc.jsonValue()), { maxLength: 8 })
    const layout = fc.constantFrom<(rows: readonly object[], indent: number) => string>(
      (rows, indent) => JSON.stringify(rows, null, indent),
      (rows) => `[${rows.map((row) => JSON.stringify(row)).join("\n,")}]`,
      (rows) => `[\n${rows.map((row) => JSON.stringify(row)).join(",\n")}\n]\n`,
    )
    fc.assert(
      fc.property(
        objects,
        layout,
        fc.integer({ min: 0, max: 4 }),
        fc.integer({ min: 1, max: 30 }),
        (rows, lay, indent, chunk) => {
          const text = lay(rows, indent)
          fc.pre(!text.includes("\\u0000"))
          const { elements, bytes } = decodeJson(text, { chunk, limits: { bytes: 20, records: 3 } })
          expect(elements.map(({ value }) => value)).toEqual(JSON.parse(text))
          expect(elements.map(({ ordinal }) => ordinal)).toEqual(rows.map((_row, i) => i + 1))
          expect(elements.map(({ raw }) => JSON.parse(Buffer.from(raw, "latin1").toString()) as unknown)).toEqual(
            JSON.parse(text),
          )
          if (rows.length > 0) expect(bytes).toBeGreaterThan(0)
        },
      ),
      { numRuns: 500 },
    )
  })

  const soup = fc
    .array(
      fc.constantFrom(
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        '"',
        '"a"',
        "1",
        "\n",
        " ",
        '{"a":1}',
        ',\n{"b":2}',
        "\\",
        "x",
        "é",
      ),
      { maxLength: 40 },
    )
    .map((parts) => `[${parts.join("")}`)

  it("gives the same whatever the chunks and batches, also where elements are too long", () => {
    const limits = fc.record({ bytes: fc.integer({ min: 1, max: 40 }), records: fc.integer({ min: 1, max: 4 }) })
    fc.assert(
      fc.property(soup, limits, fc.integer({ min: 1, max: 40 }), (text, limits, maxRecordBytes) => {
        const whole = decodeJson(text, { maxRecordBytes })
        for (const chunk of [1, 2, 3, 5, 8, 13, 21])
          expect(decodeJson(text, { maxRecordBytes, chunk, limits }).elements).toEqual(whole.elements)
      }),
      { numRuns: 2000 },
    )
  })

  it("loses no byte: what lies between elements is space, commas and the brackets of the array", () => {
    fc.assert(
      fc.property(soup, (text) => {
        const bytes = Buffer.from(text)
        let at = 0
        let between = ""
        for (const { offset = 0, raw } of decodeJson(text).elements) {
          expect(offset).toBeGreaterThanOrEqual(at)
          between += bytes.toString("latin1", at, offset)
          expect(bytes.toString("latin1", offset, offset + raw.length)).toBe(raw)
          at = offset + raw.length
        }
        expect(between + bytes.toString("latin1", at)).toMatch(/^\[[\s,]*\]?\s*$/)
      }),
      { numRuns: 2000 },
    )
  })

  it("resumes at every batch as if it had not been interrupted", () => {
    fc.assert(
      fc.property(soup, fc.integer({ min: 3, max: 30 }), (text, maxRecordBytes) => {
        const limits = { bytes: 8, records: 2 }
        const whole = decodeJson(text, { limits, maxRecordBytes })
        for (const { position, elements } of whole.positions) {
          const stored = JSON.parse(JSON.stringify(position)) as typeof position
          expect(decodeJson(text, { limits, maxRecordBytes, position: stored, chunk: 7 }).elements).toEqual(
            whole.elements.slice(elements),
          )
        }
      }),
      { numRuns: 1000 },
    )
  })
})
