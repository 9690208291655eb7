import { describe, expect, it } from "vitest"
import { Folder, messages } from "./folder.ts"

const HEADER = "id,name,price,quantity,ts"
const good = (id: string): string => `${id},Desk,1,1,`

/** Lines of a CSV, and the letters they make; every `good` row has to come out. */
const CSV: readonly (readonly [string, readonly string[], readonly string[]])[] = [
  ["a field too many", [good("a"), "b,Desk,1,1,,x", good("c")], ["3: expected 5 columns, got 6"]],
  ["a field too few", ["b,Desk,1", good("c")], ["2: expected 5 columns, got 3"]],
  ["a quote that is not closed", ['b,"Desk,1,1,', good("c"), good("d")], ["2: a quoted field is not closed"]],
  ["text behind a closing quote", ['b,"Desk"x,1,1,', good("c")], ["2: text follows the quote that closes a field"]],
  ["a NUL", ["b,De\0sk,1,1,", good("c")], ["2: the record holds a NUL byte, which PostgreSQL text cannot"]],
  ["blank lines", [good("a"), "", "\r", good("b")], []],
  [
    "a line end inside quotes",
    ['b,"De\nsk",x,1,', 'c,"De\nsk",1,1,', "d,Desk,y,1,"],
    ['2: price: expected a number ≥ 0, got "x"', '6: price: expected a number ≥ 0, got "y"'],
  ],
  ["Windows line ends", [`${good("a")}\r`, "b,,1,1,\r"], ["3: name: expected text, got nothing"]],
  ["a carriage return in a field", ["b,De\rsk,x,1,"], ['2: price: expected a number ≥ 0, got "x"']],
  [
    "the header again",
    [good("a"), HEADER],
    [
      '3: price: expected a number ≥ 0, got "price"; quantity: expected an integer ≥ 0, got "quantity"; ts: expected a date and time such as 2010-12-31 23:59:00, got "ts"',
    ],
  ],
  ["a summary at the end", [good("a"), "total: 1"], ["3: expected 5 columns, got 1"]],
]

const row = (id: string): string => `{"id":"${id}","name":"Desk","price":1,"quantity":1}`

const JSONL: readonly (readonly [string, readonly string[], readonly (string | RegExp)[]])[] = [
  ["no JSON", [row("a"), '{"id":}', row("c")], [/^2: the line is not JSON: Unexpected token/]],
  ["single quotes", ["{'id':'b'}", row("c")], [/^1: the line is not JSON/]],
  ["a line cut short", [row("a"), '{"id":"b","na'], [/^2: the line is not JSON: Unterminated string/]],
  ["a list", ["[]", row("c")], ["1: expected a JSON object, got an array"]],
  [
    "a bare value",
    ["5", "null", row("c")],
    ["1: expected a JSON object, got a number", "2: expected a JSON object, got null"],
  ],
  [
    "two objects on a line",
    [`${row("a")}${row("b")}`, row("c")],
    [/^1: the line is not JSON: Unexpected non-whitespace/],
  ],
  ["a NUL", ['{"id":"\\u0000"}', row("c")], ["1: the record holds a NUL character, which PostgreSQL text cannot"]],
  ["blank lines", ["", row("a"), "  ", row("b")], []],
]

describe("validate", () => {
  it.each(CSV)("sets aside a CSV line with %s, and no other", async (_name, lines, expected) => {
    await using folder = await Folder.of({ "in.csv": `${HEADER}\n${lines.join("\n")}\n` })
    const { letters, good, report } = await folder.validate("in.csv")
    expect(messages(letters)).toEqual(expected)
    const goodRows = lines.map((line) => line.replace(/\r$/, "")).filter((line) => /^.,Desk,1,1,$/.test(line))
    for (const line of goodRows) expect(good).toContain(`\n${line}\n`)
    expect(report.read).toBe(report.good + letters.length)
  })

  it.each(JSONL)("sets aside a JSON line with %s, and no other", async (_name, lines, expected) => {
    await using folder = await Folder.of({ "in.jsonl": lines.join("\n") })
    const { letters, good } = await folder.validate("in.jsonl", { goodOut: "good.jsonl" })
    expect(messages(letters)).toEqual(
      expected.map((text) => (typeof text === "string" ? text : (expect.stringMatching(text) as string))),
    )
    expect(good).toBe(
      lines
        .filter((line) => /^\{"id":"."[^}]*\}$/.test(line) && line.includes("Desk"))
        .map((line) => `${line}\n`)
        .join(""),
    )
  })

  it("keeps what is not UTF-8 byte for byte", async () => {
    const bytes = Buffer.concat([
      Buffer.from(`${HEADER}\nb,Caf`),
      Buffer.of(0xe9),
      Buffer.from(`,1,1,\n${good("c")}\n`),
    ])
    await using folder = await Folder.of({ "in.csv": bytes })
    const { letters } = await folder.validate("in.csv")
    expect(letters).toMatchObject([{ error_code: "DECODE", rule: "utf8", record: null, raw_encoding: "base64" }])
    expect(Buffer.from(letters[0]?.raw ?? "", "base64")).toEqual(
      bytes.subarray(HEADER.length + 1, -good("c").length - 2),
    )
  })

  it("keeps head, length and hash of a record that is too long", async () => {
    await using folder = await Folder.of({ "in.csv": `${HEADER}\nb,${"x".repeat(500)},1,1,\n${good("c")}\n` })
    const { letters, good: rows } = await folder.validate("in.csv", { maxRecordBytes: 200 })
    expect(letters).toMatchObject([{ rule: "too_long", oversize: { bytes: 507 } }])
    expect(rows).toBe(`${HEADER}\n${good("c")}\n`)
  })

  it("reads a JSON array, and sets aside single elements of it", async () => {
    const text = `[\n  ${row("a")},\n  {"id":"b","name":"Desk","price":1,"quantity":1,\n  ${row("c")},\n  7\n]\n`
    await using folder = await Folder.of({ "in.json": text })
    const { letters, good } = await folder.validate("in.json", { goodOut: "good.jsonl" })
    expect(good).toBe(`${row("a")}\n${row("c")}\n`)
    expect(messages(letters)).toEqual([
      expect.stringMatching(/^3: the element is not JSON: Expected/) as string,
      "5: expected a JSON object, got a number",
    ])
  })

  it.each([
    ["a column that is missing", "id,name,price\np1,Desk,1\n", "SCHEMA_DRIFT", /lacks the column "quantity"/],
    ["a header that names a column twice", "id,id\n1,2\n", "DECODE", /names "id" twice/],
    ["UTF-16", Buffer.from(`\ufeff${HEADER}\n`, "utf16le"), "DECODE", /UTF-16/],
  ])("stops at %s and leaves no output", async (_name, content, code, message) => {
    await using folder = await Folder.of({ "in.csv": content })
    await expect(folder.validate("in.csv")).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message) as string,
    })
    expect(await folder.list()).toEqual(["in.csv"])
  })
})
