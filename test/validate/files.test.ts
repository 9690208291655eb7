import { parse } from "csv-parse/sync"
import fc from "fast-check"
import { link, symlink, mkdir } from "node:fs/promises"
import { join } from "node:path"
import { Readable } from "node:stream"
import { gzipSync, zstdCompressSync } from "node:zlib"
import * as v from "valibot"
import { describe, expect, it } from "vitest"
import { z } from "zod"
import { SpillwayError } from "../../src/core/errors.ts"
import { systemPorts } from "../../src/core/ports.ts"
import { toRecordSchema } from "../../src/schema/adapter.ts"
import { AnyRecord, EventRecord, ProductRecord } from "../../src/schema/builtins.ts"
import { decimal, timestamp } from "../../src/schema/exact.ts"
import { validateFiles } from "../../src/validate/validate-files.ts"
import { Folder, messages, unsynced } from "./folder.ts"

const plain = (directory: string) => ({
  input: "in.csv",
  schema: toRecordSchema(ProductRecord),
  directory,
  ports: systemPorts,
  signal: new AbortController().signal,
  stdin: Readable.from([]),
  stdout: () => Promise.resolve(),
})

const HEADER = "id,name,price,quantity,ts\n"
const good = (id: string): string => `${id},Desk,1,1,\n`
const bad = (id: string): string => `${id},Desk,x,1,\n`

describe("inputs", () => {
  it("reads gzip and zstd", async () => {
    await using folder = await Folder.of({
      "a.csv.gz": gzipSync(HEADER + good("a") + bad("b")),
      "c.csv.zst": zstdCompressSync(HEADER + good("c")),
    })
    const { good: rows, letters, report } = await folder.validate("*.csv.*")
    expect(rows).toBe(HEADER + good("a") + good("c"))
    expect(letters.map(({ source }) => [source.file, source.line])).toEqual([["a.csv.gz", 3]])
    expect(report.files).toEqual([
      { file: "a.csv.gz", read: 2, good: 1, bad: 1 },
      { file: "c.csv.zst", read: 1, good: 1, bad: 0 },
    ])
  })

  it.each([
    ["CSV", HEADER + good("a") + bad("b"), "csv"],
    ["JSON lines", '\n {"id":"a","name":"Desk","price":1,"quantity":1}\n{}\n', "jsonl"],
    ["a JSON array", ' [{"id":"a","name":"Desk","price":1,"quantity":1},{}]', "json"],
  ] as const)("tells %s on standard input by its first byte, or is told", async (_name, text, format) => {
    await using folder = await Folder.of()
    const pieces = (): Readable => Readable.from([...text].map((letter) => Buffer.from(letter)))
    for (const given of [undefined, format]) {
      const { report, letters } = await folder.validate("-", { stdin: pieces(), format: given })
      expect(report).toMatchObject({ read: 2, good: 1, bad: 1 })
      expect(letters[0]?.source.file).toBe("-")
    }
  })

  it("takes an empty standard input for no records, and says so", async () => {
    await using folder = await Folder.of()
    const { report, warnings, good: rows } = await folder.validate("-")
    expect(report).toMatchObject({ read: 0, passRate: null, passed: true })
    expect(warnings).toEqual(["- has no records"])
    expect(rows).toBe(HEADER)
  })

  it("refuses a compressed standard input, which cannot be checked to its end", async () => {
    await using folder = await Folder.of()
    const stdin = Readable.from([gzipSync(HEADER)])
    await expect(folder.validate("-", { stdin })).rejects.toMatchObject({
      code: "DECODE",
      hint: expect.stringContaining("gzip -dc") as string,
    })
    expect(await folder.list()).toEqual([])
  })

  it.each([
    ["nothing.csv", /there is no file/],
    ["*.csv", /no file matches/],
    ["in.dat", /does not tell its format/],
  ])("refuses %s", async (input, message) => {
    await using folder = await Folder.of({ "in.dat": HEADER })
    await expect(folder.validate(input)).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringMatching(message) as string,
    })
    expect(await folder.list()).toEqual(["in.dat"])
  })

  it("goes by --format where the name says nothing", async () => {
    await using folder = await Folder.of({ "in.dat": HEADER + good("a") })
    expect((await folder.validate("in.dat", { format: "csv" })).report).toMatchObject({ read: 1, good: 1 })
  })

  it("stops at the limit", async () => {
    await using folder = await Folder.of({
      "a.csv": HEADER + good("a") + bad("b") + good("c"),
      "b.csv": HEADER + good("d"),
    })
    expect((await folder.validate("?.csv", { limit: 2 })).report).toMatchObject({
      read: 2,
      good: 1,
      bad: 1,
      limited: true,
    })
  })

  it("names columns that the schema does not know", async () => {
    await using folder = await Folder.of({ "in.csv": "id,name,price,quantity,colour\na,Desk,1,1,red\n" })
    const { warnings, good: rows } = await folder.validate("in.csv")
    expect(warnings).toEqual(['in.csv: the column "colour" is not in the schema'])
    expect(rows).toBe(`${HEADER}a,Desk,1,1,\n`)
  })
})

describe("outputs", () => {
  it("replaces a file as a whole, and only when all is read", async () => {
    await using folder = await Folder.of({ "in.csv": HEADER + good("a"), "good.csv": "old\n" })
    let seen: string | undefined
    await folder.validate("in.csv", { on: () => void folder.read("good.csv").then((text) => (seen = text)) })
    expect(seen ?? "old\n").toBe("old\n")
    expect(await folder.read("good.csv")).toBe(HEADER + good("a"))
    expect((await folder.list()).sort()).toEqual(["bad.jsonl", "good.csv", "in.csv"])
  })

  it("is never written over an input, by whatever name", async () => {
    await using folder = await Folder.of({ "in.csv": HEADER + good("a") })
    await link(join(folder.path, "in.csv"), join(folder.path, "hard.csv"))
    await symlink("in.csv", join(folder.path, "soft.csv"))
    for (const name of ["in.csv", "./in.csv", "hard.csv", "soft.csv"])
      for (const output of [{ goodOut: name }, { goodOut: undefined, deadLetter: name }])
        await expect(folder.validate("in.csv", output)).rejects.toMatchObject({
          code: "CONFIG",
          message: "the output is one of the inputs",
        })
    expect(await folder.read("in.csv")).toBe(HEADER + good("a"))
    expect((await folder.list()).sort()).toEqual(["hard.csv", "in.csv", "soft.csv"])
  })

  it.each([
    [{ goodOut: "x.csv", deadLetter: "./x.csv" }, "CONFIG"],
    [{ goodOut: "x.parquet" }, "CONFIG"],
    [{ goodOut: "folder.csv" }, "CONFIG"],
    [{ goodOut: "not/there.csv" }, "RESOURCE"],
  ])("refuses %j", async (output, code) => {
    await using folder = await Folder.of({ "in.csv": HEADER + good("a") })
    await mkdir(join(folder.path, "folder.csv"))
    await expect(folder.validate("in.csv", output)).rejects.toMatchObject({ code })
    expect((await folder.list()).sort()).toEqual(["folder.csv", "in.csv"])
  })

  it("goes nowhere where none is named, and to /dev/null", async () => {
    await using folder = await Folder.of({ "in.csv": HEADER + good("a") + bad("b") })
    const none = await folder.validate("in.csv", { goodOut: undefined, deadLetter: undefined })
    expect(none.report).toMatchObject({ read: 2, bad: 1, goodOut: null, deadLetter: null })
    await validateFiles({ ...plain(folder.path), goodOut: "/dev/null", deadLetter: "/dev/null" })
    expect((await folder.list()).sort()).toEqual(["in.csv"])
    expect((await folder.validate("in.csv", { goodOut: undefined, deadLetter: "bad.jsonl" })).letters).toHaveLength(1)
    expect((await folder.list()).sort()).toEqual(["bad.jsonl", "in.csv"])
  })

  it("goes to standard output, in the input's kind of format", async () => {
    await using folder = await Folder.of({
      "in.csv": HEADER + good("ä"),
      "in.jsonl": '{"id":"a","name":"D","price":1,"quantity":1}',
    })
    expect((await folder.validate("in.csv", { goodOut: "-" })).stdout).toBe(HEADER + good("ä"))
    expect((await folder.validate("in.jsonl", { goodOut: "-" })).stdout).toBe(
      '{"id":"a","name":"D","price":1,"quantity":1}\n',
    )
    await folder.write({ "in.csv": HEADER + bad("b") })
    expect((await folder.validate("in.csv", { deadLetter: "-" })).stdout).toMatch(
      /^\{"ts":"[^"]+","error_code":"VALIDATION","error_msg":"price: .*","record":\{"id":"b".*\}\n$/,
    )
  })

  it("leaves nothing behind when it is stopped in the middle of an endless input", async () => {
    await using folder = await Folder.of()
    const controller = new AbortController()
    const rows = Buffer.from((good("a") + bad("b")).repeat(50_000))
    const endless = Readable.from(
      (function* () {
        yield Buffer.from(HEADER)
        for (;;) yield rows
      })(),
    )
    let batches = 0
    const reason = new SpillwayError("CANCELLED", "stop", { hint: "none" })
    const work = folder.validate("-", {
      stdin: endless,
      signal: controller.signal,
      on: () => {
        if (++batches === 5) controller.abort(reason)
      },
    })
    await expect(work).rejects.toBe(reason)
    expect(await folder.list()).toEqual([])
  })

  it("leaves nothing behind when the input breaks", async () => {
    const whole = gzipSync(HEADER + good("a").repeat(1000))
    await using folder = await Folder.of({ "in.csv.gz": whole.subarray(0, whole.length - 20) })
    await expect(folder.validate("in.csv.gz")).rejects.toMatchObject({ code: "DECODE" })
    expect(await folder.list()).toEqual(["in.csv.gz"])
  })
})

describe("good records as CSV", () => {
  it("have the schema's columns, whatever the input's order", async () => {
    await using folder = await Folder.of({ "in.csv": "quantity,price,name,id\n1,2,Desk,a\n" })
    expect((await folder.validate("in.csv")).good).toBe(`${HEADER}a,Desk,2,1,\n`)
  })

  it("have the input's columns where the schema names none, or the first record's", async () => {
    await using folder = await Folder.of({
      "in.csv": "b,a\n1,\n,\n",
      "in.jsonl": '{"b":1,"a":{"x":[1]}}\n{"a":true}\n',
      "more.jsonl": '{"b":1}\n{"c":1}\n',
    })
    expect((await folder.validate("in.csv", { schema: AnyRecord })).good).toBe("b,a\n1,\n,\n")
    expect((await folder.validate("in.jsonl", { schema: AnyRecord })).good).toBe('b,a\n1,"{""x"":[1]}"\n,true\n')
    await expect(folder.validate("more.jsonl", { schema: AnyRecord })).rejects.toThrow(/no column for "c"/)
  })

  it("leave out what has no column, and say so", async () => {
    await using folder = await Folder.of({ "in.jsonl": '{"id":"a","x":1}\n{"id":"b","x":2}\n' })
    const schema = { type: "object", properties: { id: { type: "string" } }, required: ["id"] }
    const { good: rows, warnings } = await folder.validate("in.jsonl", { schema })
    expect(rows).toBe("id\na\nb\n")
    expect(warnings).toEqual(['"x" is not in the schema and is left out of the CSV'])
  })

  it("never make a line that is no record", async () => {
    await using folder = await Folder.of({ "in.jsonl": '{"a":"x"}\n{}\n{"a":""}\n' })
    const { good: rows } = await folder.validate("in.jsonl", { schema: z.object({ a: z.string().optional() }) })
    expect(rows).toBe('a\nx\n""\n""\n')
  })
})

describe("rows that are sure by their bytes", () => {
  const columns = {
    text: z.string(),
    short: z.string().min(2).max(5).optional(),
    kind: z.enum(["a", "b,c", 'd"e']),
    whole: z.int(),
    small: z.int32().min(-5).max(500).nullable(),
    number: z.number(),
    exact: decimal({ min: 0 }),
    at: timestamp({ zone: "UTC" }).optional(),
  }
  const Fast = z.object(columns)
  // A refinement makes the schema one that only the library can judge: every row goes the long way.
  const Slow = z.object(columns).refine(() => true)
  const value = fc.oneof(
    fc.constantFrom(
      "",
      "0",
      "-0",
      "12",
      "1.5",
      "1.50",
      "-3",
      "007",
      "1e21",
      "1e-7",
      "abc",
      "a",
      "b,c",
      'd"e',
      'x"y',
      "a\\b",
      "\t",
      "\n",
      "\r",
      "é",
      "2026-02-28 10:00:00",
      "2026-02-28T10:00:00Z",
      "2026-02-30 10:00:00",
      "9007199254740993",
      "501",
      " x ",
      "\u007f",
    ),
    fc.string({ maxLength: 8 }),
    fc.integer().map(String),
    fc.double().map(String),
  )
  const quote = (text: string, always: boolean): string =>
    always || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text

  it.each(["good.csv", "good.jsonl"])("come out as all others do, in %s", async (goodOut) => {
    await using folder = await Folder.of()
    const names = Object.keys(columns)
    const row = fc.array(fc.tuple(value, fc.boolean()), { minLength: names.length, maxLength: names.length })
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 40 }), async (rows) => {
        const lines = rows.map((fields) => fields.map(([text, always]) => quote(text, always)).join(","))
        await folder.write({ "in.csv": `${names.join(",")}\n${lines.join("\n")}\n` })
        const fast = await folder.validate("in.csv", { schema: Fast, goodOut, ports: unsynced })
        const slow = await folder.validate("in.csv", { schema: Slow, goodOut, ports: unsynced })
        expect(fast.good).toBe(slow.good)
        expect(messages(fast.letters)).toEqual(messages(slow.letters))
        expect(fast.report.read).toBe(fast.report.good + fast.letters.length)
      }),
      { numRuns: 150 },
    )
  })

  it("come out as what other readers read", async () => {
    await using folder = await Folder.of()
    const texts = fc.array(fc.tuple(fc.string({ unit: "grapheme-ascii", minLength: 1 }), fc.string({ minLength: 1 })), {
      minLength: 1,
    })
    await fc.assert(
      fc.asyncProperty(texts, async (rows) => {
        await folder.write({
          "in.csv": `a,b\n${rows.map((row) => row.map((text) => quote(text, true)).join(",")).join("\n")}\n`,
        })
        const { good: written } = await folder.validate("in.csv", {
          schema: z.object({ a: z.string(), b: z.string() }),
          ports: unsynced,
        })
        expect(parse(written, { from: 2 })).toEqual(rows)
      }),
      { numRuns: 150 },
    )
  })
})

describe("schemas", () => {
  it("may judge asynchronously", async () => {
    const schema = v.objectAsync({
      id: v.pipeAsync(
        v.string(),
        v.checkAsync((id) => Promise.resolve(id !== "b"), "is taken"),
      ),
    })
    await using folder = await Folder.of({ "in.jsonl": '{"id":"a"}\n{"id":"b"}\n' })
    const { good: rows, letters } = await folder.validate("in.jsonl", { schema, goodOut: "good.jsonl" })
    expect(rows).toBe('{"id":"a"}\n')
    expect(messages(letters)).toEqual(['2: id: is taken, got "b"'])
  })

  it("EventRecord takes events as JSON lines and as CSV", async () => {
    await using folder = await Folder.of({
      "in.csv":
        'user_id,event,timestamp,properties\nu,click,2026-10-03T08:15:00Z,"{""x"":1}"\n,click,2026-10-03T08:15:00Z,\n',
    })
    const { good: rows, letters } = await folder.validate("in.csv", { schema: EventRecord, goodOut: "good.jsonl" })
    expect(rows).toBe('{"user_id":"u","event":"click","timestamp":"2026-10-03T08:15:00Z","properties":{"x":1}}\n')
    expect(messages(letters)).toEqual(["3: user_id: expected text, got nothing"])
  })
})

describe("dead letters", () => {
  it("have the keys of an export, in its order, and the same id for the same record", async () => {
    await using folder = await Folder.of({ "in.csv": HEADER + bad("a") })
    const first = await folder.validate("in.csv")
    const again = await folder.validate("in.csv")
    expect(Object.keys(first.letters[0] ?? {}).join(" ")).toBe(
      "ts error_code error_msg record id fingerprint pipeline_name run_id correlation_id step rule path expected actual_type source raw " +
        "attempts first_seen last_seen status replay_of schema_version",
    )
    expect(first.letters[0]).toMatchObject({
      raw: "a,Desk,x,1,",
      source: { file: "in.csv", line: 2, offset: HEADER.length },
      record: { price: "x" },
      status: "pending",
    })
    expect(again.letters[0]?.id).toBe(first.letters[0]?.id)
  })
})

describe("the report", () => {
  it("counts records by code and faults by field and rule", async () => {
    await using folder = await Folder.of({ "in.csv": HEADER + good("a") + bad("b") + "c,,x,1,\n" + "d\n" })
    const { report } = await folder.validate("in.csv", { minPassRate: 0.25 })
    expect(report).toMatchObject({
      read: 4,
      good: 1,
      bad: 3,
      passRate: 0.25,
      passed: true,
      codes: { VALIDATION: 2, DECODE: 1 },
    })
    expect(report.faults.map(({ path, rule, count }) => [path, rule, count])).toEqual([
      ["price", "invalid_type", 2],
      ["name", "invalid_type", 1],
      ["", "column_count", 1],
    ])
    expect((await folder.validate("in.csv", { minPassRate: 0.26 })).report.passed).toBe(false)
  })
})
