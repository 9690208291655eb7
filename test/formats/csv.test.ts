import { createHash } from "node:crypto"
import { describe, expect, it } from "vitest"
import type { SpillwayError } from "../../src/core/errors.ts"
import { DecodeFault, type Batch } from "../../src/core/records.ts"
import { csv, csvInBatches, type CsvOptions } from "../../src/formats/csv.ts"
import { decodeAll, outline } from "./decoding.ts"

/** What a file of `text` gives, the same for every size of chunk. */
function read(text: string | Uint8Array, options: CsvOptions = {}, maxRecordBytes?: number): string[] {
  const limited = maxRecordBytes === undefined ? {} : { maxRecordBytes }
  const whole = outline(decodeAll(csv(options), text, limited))
  for (let chunk = 1; chunk <= text.length; chunk++) {
    const format = csvInBatches({ bytes: 1 + (chunk % 11), records: 3 }, options)
    expect(outline(decodeAll(format, text, { chunk, ...limited })), `chunks of ${chunk}`).toEqual(whole)
  }
  return whole
}

function failure(task: () => unknown): SpillwayError {
  try {
    task()
  } catch (error) {
    return error as SpillwayError
  }
  throw new Error("nothing was thrown")
}

const latin1 = (text: string): Buffer => Buffer.from(text, "latin1")

describe("what occurs in CSV", () => {
  it.each<[string, string | Uint8Array, string[]]>([
    ["LF", "a,b\n1,2\n3,4\n", ['2: ["1","2"]', '3: ["3","4"]']],
    ["CRLF", "a,b\r\n1,2\r\n3,4\r\n", ['2: ["1","2"]', '3: ["3","4"]']],
    ["mixed line ends", 'a,b\r\n1,2\n"3",4\r\n5,"6"\r\n', ['2: ["1","2"]', '3: ["3","4"]', '4: ["5","6"]']],
    ["no line end at the end", "a,b\n1,2", ['2: ["1","2"]']],
    ["a carriage return at the end", 'a,b\n1,2\n3,"4"\r', ['2: ["1","2"]', '3: ["3","4"]']],
    ["a byte order mark", "\ufeffa,b\n1,2\n", ['2: ["1","2"]']],
    ["quoted newlines", 'a,b\n"1\n1\r\n1",2\n3,4\n', ['2: ["1\\n1\\r\\n1","2"]', '5: ["3","4"]']],
    ["doubled quotes", 'a,b\n"say ""hi""",""""\n', ['2: ["say \\"hi\\"","\\""]']],
    ["quoted delimiters", 'a,b\n"1,2","3"\n', ['2: ["1,2","3"]']],
    ["blanks, quoted or not", 'a,b\n,""\n"",\n', ["2: [null,null]", "3: [null,null]"]],
    ["blank lines", "\n\r\na,b\n\n1,2\n\r\n\n3,4\n\n", ['5: ["1","2"]', '8: ["3","4"]']],
    ["a bare quote", 'a,b\n5" pipe,x"y"\n', ['2: ["5\\" pipe","x\\"y\\""]']],
    ["spaces kept", "a,b\n 1 , 2\n", ['2: [" 1 "," 2"]']],
    ["more than ASCII", "a,ü\nß,日本\nx,y\n", ['2: ["ß","日本"]', '3: ["x","y"]']],
    ["more than ASCII in quotes", 'a,b\n"ß ""日""",x\n', ['2: ["ß \\"日\\"","x"]']],
    ["a header alone", "a,b\n", []],
    ["a header without a line end", "a,b", []],
    ["an empty file", "", []],
    ["blank lines alone", "\n\r\n\n", []],
    ["a byte order mark alone", "\ufeff", []],
    ["one column", 'a\n1\n""\n2\n', ['2: ["1"]', "3: [null]", '4: ["2"]']],
    ["a quoted header", '"a ""b""","c\nd"\n1,2\n', ['3: ["1","2"]']],
    ["too few fields", "a,b,c\n1,2,3\n1,2\n4,5,6\n", ['2: ["1","2","3"]', "3: !column_count", '4: ["4","5","6"]']],
    ["too many fields", "a,b\n1,2,3\n4,5\n", ["2: !column_count", '3: ["4","5"]']],
    ["a NUL byte", "a,b\n1,\0\n3,4\n", ["2: !nul", '3: ["3","4"]']],
    ["invalid UTF-8", latin1("a,b\n1,\u00ff\n3,4\n"), ["2: !utf8", '3: ["3","4"]']],
    ["a character cut short by the line end", latin1("a,b\n1,\u00c3\n\u00a9,4\n"), ["2: !utf8", "3: !utf8"]],
  ])("%s", (_name, text, expected) => {
    expect(read(text)).toEqual(expected)
  })

  it.each<[string, string, string[]]>([
    ["an unclosed quote on the last line", 'a,b\n1,2\n3,"4\n', ['2: ["1","2"]', "3: !unclosed_quote"]],
    [
      "an unclosed quote far from the next one",
      'a,b\n1,"2\n3,4\n5,6\n7,"8"\n9,0\n',
      ["2: !unclosed_quote", '3: ["3","4"]', '4: ["5","6"]', '5: ["7","8"]', '6: ["9","0"]'],
    ],
    [
      "an unclosed quote without another in the file",
      'a,b\n1,"2\n3,4\n5,6',
      ["2: !unclosed_quote", '3: ["3","4"]', '4: ["5","6"]'],
    ],
    ["text after a quote", 'a,b\n"1"x,2\n3,4\n', ["2: !text_after_quote", '3: ["3","4"]']],
    ["a quote that is not doubled", 'a,b\n"5" pipe",2\n3,4\n', ["2: !text_after_quote", '3: ["3","4"]']],
    [
      "the tail of a broken record is no record",
      'a,b\n1,"x\ny"z,2\n3,4\n',
      ["2: !unclosed_quote", "3: !bare_quote", '4: ["3","4"]'],
    ],
    [
      "nor is it after a violation on its first line",
      'a,b\n1,"x "y"\nz",2\n3,4\n',
      ["2: !text_after_quote", "3: !bare_quote", '4: ["3","4"]'],
    ],
    [
      "an unclosed quote that a later one closes: what it swallowed are records",
      'a,b\n1,"2\n3,",x"\n5,6\n',
      ["2: !unclosed_quote", '3: ["3",",x"]', '4: ["5","6"]'],
    ],
    [
      "the same with a line that is no record by itself",
      'a,b\n1,"2\n7\n3,",x"\n5,6\n',
      ["2: !column_count", '5: ["5","6"]'],
    ],
    [
      "a record over several lines with a column too many is one ragged record",
      'a,b\n1,"x\ny",2\n3,4\n',
      ["2: !column_count", '4: ["3","4"]'],
    ],
  ])("malformed quotes: %s", (_name, text, expected) => {
    expect(read(text)).toEqual(expected)
  })

  it("gives a record that grows too long over several lines back line by line", () => {
    const text = 'a,b\n1,"x\n3,4\n5,6\n7,8\n"\n9,0\n'
    expect(read(text, {}, 12)).toEqual([
      "2: !unclosed_quote",
      '3: ["3","4"]',
      '4: ["5","6"]',
      '5: ["7","8"]',
      "6: !unclosed_quote",
      '7: ["9","0"]',
    ])
    expect(read(text, {}, 20)).toEqual(['2: ["1","x\\n3,4\\n5,6\\n7,8\\n"]', '7: ["9","0"]'])
  })

  it("keeps head, length and hash of a line that is too long, and reads on after it", () => {
    const long = `1,${"x".repeat(70_000)}`
    for (const end of ["\n", "\r\n"]) {
      const text = `a,b${end}${long}${end}3,4${end}`
      for (const chunk of [1000, 65_536, 65_537, text.length]) {
        const batches: Batch[] = []
        const decoder = csvInBatches({ bytes: 100, records: 10 }).decoder({ exact: new Set(), maxRecordBytes: 66_000 })
        for (let at = 0; at < text.length; at += chunk)
          batches.push(...decoder.push(Buffer.from(text.slice(at, at + chunk))))
        batches.push(...decoder.end())
        const [batch, next] = batches as [Batch, Batch]
        const fault = batch.record(0) as DecodeFault
        expect(fault).toBeInstanceOf(DecodeFault)
        expect(fault.fault.rule).toBe("too_long")
        expect(fault.oversize).toEqual({ bytes: 70_002, sha256: createHash("sha256").update(long).digest("hex") })
        expect(Buffer.from(batch.raw(0)).toString()).toBe(long.slice(0, 65_536))
        expect(next.record(0)).toEqual({ a: "3", b: "4" })
        expect(next.place(0)).toEqual({ line: 3, offset: 3 + 70_002 + 2 * end.length })
      }
    }
  })

  it("counts carriage returns inside a line that is too long, wherever the chunks end", () => {
    const long = "1\r,2\r\r3\r"
    const expected = { bytes: long.length - 1, sha256: createHash("sha256").update(long.slice(0, -1)).digest("hex") }
    for (let chunk = 1; chunk < 12; chunk++) {
      const decoder = csvInBatches({ bytes: 1, records: 1 }, { columns: ["a"] }).decoder({
        exact: new Set(),
        maxRecordBytes: 2,
      })
      const batches: Batch[] = []
      for (let at = 0; at <= long.length; at += chunk)
        batches.push(...decoder.push(Buffer.from(`${long}\n`.slice(at, at + chunk))))
      batches.push(...decoder.end())
      expect((batches[0]?.record(0) as DecodeFault).oversize, `chunks of ${chunk}`).toEqual(expected)
    }
  })

  it("holds a line of exactly the longest length, and not one byte more", () => {
    expect(read("a,b\n123,567\n1,2", {}, 7)).toEqual(['2: ["123","567"]', '3: ["1","2"]'])
    expect(read("a,b\r\n123,567\r\n1,2", {}, 7)).toEqual(['2: ["123","567"]', '3: ["1","2"]'])
    expect(read("a,b\n123,5678\n1,2", {}, 7)).toEqual(["2: !too_long", '3: ["1","2"]'])
    expect(read("a,b\n1,2\n123,5678", {}, 7)).toEqual(['2: ["1","2"]', "3: !too_long"])
  })

  it("says what was expected and got, in words without values where letters are grouped", () => {
    const batch = csv().decoder({ exact: new Set(), maxRecordBytes: 100 })
    const [only] = [...batch.push(Buffer.from("a,b,c\n1,2\n")), ...batch.end()]
    expect((only?.record(0) as DecodeFault).fault).toEqual({
      code: "DECODE",
      step: "decode",
      rule: "column_count",
      message: "expected 3 columns, got 2",
      expected: "3 columns",
    })
  })

  it("gives place, offset and exact bytes; the batches' bytes are those of the file", () => {
    const text = '\ufeffa,b\r\n"1\r\n",2\r\n\r\nß,4'
    const reading = decodeAll(csv(), text)
    expect(reading.records.map(({ line, offset }) => ({ line, offset }))).toEqual([
      { line: 2, offset: 8 },
      { line: 5, offset: 19 },
    ])
    expect(reading.records.map(({ raw }) => Buffer.from(raw, "latin1").toString())).toEqual(['"1\r\n",2', "ß,4"])
    expect(reading.columns).toEqual(["a", "b"])
  })
})

describe("options", () => {
  it("reads other delimiters and quotes, and none", () => {
    expect(read("a;b\n'1;''1';2\n", { delimiter: ";", quote: "'" })).toEqual(['2: ["1;\'1","2"]'])
    expect(read('a\tb\n"1\t2"\n', { delimiter: "\t", quote: "" })).toEqual(['2: ["\\"1","2\\""]'])
  })

  it("takes columns where there is no header", () => {
    expect(read("1,2\n3,4\n", { columns: ["a", "b"] })).toEqual(['1: ["1","2"]', '2: ["3","4"]'])
    expect(decodeAll(csv({ columns: ["a", "b"] }), "1,2\n").records[0]?.value).toEqual({ a: "1", b: "2" })
  })

  it("takes texts that mean absent", () => {
    expect(read('a,b\nNULL,\\N\n"NULL",NULLS\n', { nulls: ["NULL", "\\N"] })).toEqual([
      "2: [null,null]",
      '3: [null,"NULLS"]',
    ])
  })

  it("refuses what cannot be, all at once", () => {
    const error = failure(() => csv({ delimiter: "::", quote: "\n", header: false }))
    expect(error.code).toBe("CONFIG")
    expect(error.message.match(/^ {2}- \w+/gm)).toEqual(["  - delimiter", "  - quote", "  - columns"])
  })

  it("tells them in its description", () => {
    expect(csv().description).not.toEqual(csv({ nulls: ["x"] }).description)
    expect(csv().description).not.toEqual(csv({ delimiter: ";" }).description)
    expect(csv().description).not.toEqual(csv({ quote: "" }).description)
    expect(csv().description).not.toEqual(csv({ columns: ["a"] }).description)
  })
})

describe("what holds the whole file", () => {
  it.each<[string, string | Uint8Array, RegExp]>([
    ["a column named twice", "a,b,a\n1,2,3\n", /"a" twice: columns 1 and 3/],
    ["a column without a name", "a,,c\n1,2,3\n", /column 2 of 3 .* no name/],
    ["a broken header", 'a,"b"x\n1,2\n', /quotes in the header/],
    ["a header that is never closed", 'a,"b\n1,2\n', /quotes in the header/],
    ["carriage returns alone", "a,b\r1,2\r", /carriage return/],
    ["a NUL in the header", "a,\0b\n1,2\n", /NUL/],
    ["a header that is no UTF-8", latin1("a,\u00ff\n1,2\n"), /UTF-8/],
    ["UTF-16, little end first", Buffer.from("\ufeffa,b\n1,2\n", "utf16le"), /UTF-16/],
    ["UTF-16, big end first", Buffer.from("\ufeffa,b\n1,2\n", "utf16le").swap16(), /UTF-16/],
    ["a header too long", `${"a,b".repeat(40)}\n1,2\n`, /120 bytes long/],
  ])("%s", (_name, text, message) => {
    for (let chunk = 1; chunk < 12; chunk++) {
      const error = failure(() =>
        decodeAll(csvInBatches({ bytes: 4, records: 2 }), text, { chunk, maxRecordBytes: 100 }),
      )
      expect(error).toMatchObject({ code: "DECODE", name: "SpillwayError" })
      expect(error.message).toMatch(message)
      expect(error.hint).toMatch(/\w+ \w+/)
    }
  })
})

describe("records", () => {
  it("have the columns as own keys in the order of the header, __proto__ like any other", () => {
    const [plain] = decodeAll(csv(), "b,a\n1,2\n").records
    expect(Object.keys(plain?.value as object)).toEqual(["b", "a"])
    const [odd] = decodeAll(csv(), "b,__proto__,constructor\n1,2,3\n").records
    expect(Object.entries(odd?.value as object)).toEqual([
      ["b", "1"],
      ["__proto__", "2"],
      ["constructor", "3"],
    ])
    expect(({} as Record<string, unknown>)["2"]).toBeUndefined()
  })

  it("are fresh on each call", () => {
    const decoder = csv().decoder({ exact: new Set(), maxRecordBytes: 100 })
    const [batch] = [...decoder.push(Buffer.from("a\n1\n")), ...decoder.end()] as [Batch]
    const record = batch.record(0) as Record<string, unknown>
    record["a"] = "changed"
    expect(batch.record(0)).toEqual({ a: "1" })
  })
})

it("refuses a position that is none", () => {
  for (const position of [{}, { offset: 3 }, { offset: 3, line: 1 }, { offset: -1, line: 1, columns: ["a"] }])
    expect(failure(() => csv().decoder({ position, exact: new Set(), maxRecordBytes: 100 }))).toMatchObject({
      code: "CHECKPOINT",
    })
})

it("reads a line of 64 MB in little memory", () => {
  const chunk = Buffer.alloc(1 << 20, "x")
  const decoder = csv().decoder({ exact: new Set(), maxRecordBytes: 16 << 20 })
  const before = process.memoryUsage().rss
  let peak = 0
  const records: unknown[] = []
  const take = (batches: readonly Batch[]): void => {
    for (const batch of batches) records.push(batch.record(0))
  }
  take(decoder.push(Buffer.from("a,b\n1,")))
  for (let i = 0; i < 64; i++) {
    take(decoder.push(chunk))
    peak = Math.max(peak, process.memoryUsage().rss - before)
  }
  take(decoder.push(Buffer.from("\n1,2\n")))
  take(decoder.end())
  expect(records).toEqual([expect.any(DecodeFault), { a: "1", b: "2" }])
  expect((records[0] as DecodeFault).oversize?.bytes).toBe(64 * (1 << 20) + 2)
  expect(peak).toBeLessThan(80 << 20)
})
