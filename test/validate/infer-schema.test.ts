import { writeFile } from "node:fs/promises"
import { Readable } from "node:stream"
import { gzipSync } from "node:zlib"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { registerSecret } from "../../src/core/secrets.ts"
import { systemPorts } from "../../src/core/ports.ts"
import { toRecordSchema, type AnySchema } from "../../src/schema/adapter.ts"
import { inferSchema, type InferSchemaOptions } from "../../src/validate/infer-schema.ts"
import { schemaOf } from "../../src/validate/schema-reference.ts"
import { ZOD } from "../cli/command-line.ts"
import { Folder } from "./folder.ts"

const SCHEMA = new URL("../../src/schema/index.ts", import.meta.url).href

const infer = (folder: Folder, input: string, options: Partial<InferSchemaOptions> = {}) =>
  inferSchema({
    ...{ input, format: undefined, rows: undefined, directory: folder.path, ports: systemPorts },
    ...{ signal: new AbortController().signal, stdin: Readable.from([]), ...options },
  })

/** What is printed, loaded as `--schema` loads it. */
let modules = 0
async function load(folder: Folder, typescript: string): Promise<AnySchema> {
  const name = `schema-${modules++}.ts`
  const text = typescript.replace('"zod"', JSON.stringify(ZOD)).replace('"spillway/schema"', JSON.stringify(SCHEMA))
  await writeFile(`${folder.path}/${name}`, text)
  // Loads, and tells a column for every field that has one type.
  await schemaOf(name, folder.path, systemPorts.files)
  const module = (await import(/* @vite-ignore */ `${folder.path}/${name}`)) as Record<string, AnySchema>
  return Object.values(module)[0] as AnySchema
}

/** Both forms of the inferred schema take every record that can be decoded. */
async function expectToHold(folder: Folder, input: string): Promise<void> {
  const report = await infer(folder, input)
  for (const schema of [
    await load(folder, report.typescript),
    JSON.parse(JSON.stringify(report.jsonSchema)) as AnySchema,
  ]) {
    const { report: judged, letters } = await folder.validate(input, {
      schema,
      goodOut: undefined,
      ports: systemPorts,
    })
    const refused = letters.filter(({ error_code }) => error_code !== "DECODE")
    expect(refused.map(({ error_msg, raw }) => `${error_msg}: ${raw}\n${report.typescript}`)).toEqual([])
    expect(judged.read).toBe(report.records + report.undecodable)
    expect(judged.good).toBe(report.records)
  }
}

const body = (typescript: string): string[] =>
  typescript
    .split("\n")
    .filter((line) => line.startsWith("  ") && !line.startsWith("  //"))
    .map((line) => line.trim().replace(/,$/, ""))
const words = (typescript: string): Record<string, string> =>
  Object.fromEntries(
    [...typescript.matchAll(/^ {2}\/\/ (.*)\n {2}("?[^":]+"?):/gm)].map((match) => [match[2] ?? "", match[1] ?? ""]),
  )

describe("a schema that is inferred", () => {
  it("says of a CSV what each column is, with evidence", async () => {
    const rows = Array.from({ length: 24 }, (_, i) =>
      [
        `a${i}`,
        `00${i + 100}`,
        i === 3 ? "" : i - 5,
        i === 7 ? "-0.125" : `${i}.50`,
        i % 2 ? "true" : "FALSE",
        `2026-01-${String(i + 1).padStart(2, "0")}`,
        "2026-01-31T10:00:00Z",
        "2026-01-31 10:00:00",
        i % 2 ? "new" : "old",
        "",
        `400012341234123${i + 100}`,
        `sk_live_${i % 2}`,
      ].join(","),
    )
    await using folder = await Folder.of({
      "raw_orders.csv.gz": gzipSync(
        `id,zip,qty,price,ok,day,at,local time,status,empty,card,api_key\n${rows.join("\n")}\nshort,row\n`,
      ),
    })
    const report = await infer(folder, "raw_orders.csv.gz")
    expect(report).toMatchObject({ name: "RawOrders", records: 24, undecodable: 1, sampled: false })
    expect(report.typescript).toMatch(
      /^import \{ decimal, timestamp \} from "spillway\/schema"\nimport \{ z \} from "zod"\n\n\/\*\* Inferred from raw_orders.csv.gz: 24 records, .* \*\/\nexport const RawOrders = z\.object\(\{\n/,
    )
    expect(body(report.typescript)).toEqual([
      "id: z.string()",
      "zip: z.string()",
      "qty: z.int().optional()",
      "price: decimal()",
      "ok: z.boolean()",
      "day: z.iso.date()",
      'at: timestamp({ zone: "in text" })',
      '"local time": timestamp({ zone: "UTC" })',
      'status: z.enum(["new", "old"])',
      "empty: z.string().optional()",
      "card: decimal({ scale: 0 })",
      "api_key: z.string()",
    ])
    expect(words(report.typescript)).toEqual({
      id: '2 to 3 characters; such as "a0", "a1", "a2"',
      zip: '5 characters; digits that are no number as they stand; such as "00100", "00101", "00102"',
      qty: "4.2 % blank; -5 to 18",
      price: "-0.125 to 23.5; up to 3 digits behind the point",
      day: "2026-01-01 to 2026-01-24",
      at: "2026-01-31T10:00:00Z to 2026-01-31T10:00:00Z",
      '"local time"': "2026-01-31 10:00:00 to 2026-01-31 10:00:00; the text names no zone: UTC is a guess",
      status: "2 values: any other would be refused",
      empty: "never a value: text is a guess",
      card: "400012341234123100 to 400012341234123123",
      api_key: "looks secret: nothing of it is shown",
    })
    expect(JSON.stringify(report)).not.toContain("sk_live")
    await expectToHold(folder, "raw_orders.csv.gz")
  })

  it("says of JSON what JSON tells, also within", async () => {
    const records = [
      {
        id: 1,
        n: 1,
        price: 1.5,
        text: "12",
        money: "1.50",
        flag: true,
        mixed: 1,
        o: { a: 1, b: [1, null] },
        at: "2026-01-31T10:00:00+02:00",
        gone: null,
      },
      {
        id: 2,
        n: 2.5,
        price: 2,
        text: "0012",
        money: "10.00",
        flag: false,
        mixed: "x",
        o: { a: 2.5, c: { d: true } },
        at: null,
        wild: { x: 1 },
        gone: null,
      },
      {
        id: 12345678901234567,
        n: 3,
        price: 3,
        text: "7",
        money: "0.05",
        flag: true,
        mixed: true,
        o: { a: 3, b: [] },
        at: "2026-01-31T10:00:00Z",
        wild: 3,
        gone: null,
      },
    ]
    await using folder = await Folder.of({
      "events.jsonl": records.map((record) => JSON.stringify(record)).join("\n"),
      "events.json": JSON.stringify(records),
    })
    const report = await infer(folder, "events.jsonl")
    expect(body(report.typescript)).toEqual([
      "id: decimal({ scale: 0 })",
      "n: decimal()",
      "price: decimal()",
      "text: z.string()",
      "money: decimal()",
      "flag: z.boolean()",
      "mixed: z.union([z.boolean(), z.number(), z.string()])",
      "o: z.looseObject({ a: z.number(), b: z.array(z.int().nullable()).optional(), c: z.looseObject({ d: z.boolean() }).optional() })",
      'at: timestamp({ zone: "in text" }).nullable()',
      "gone: z.string().nullable()",
      "wild: z.unknown().optional()",
    ])
    expect(words(report.typescript)).toMatchObject({
      at: expect.stringMatching(/^33.3 % null; /) as string,
      wild: expect.stringMatching(/^33.3 % absent; /) as string,
    })
    await expectToHold(folder, "events.jsonl")
    await expectToHold(folder, "events.json")
    expect(body((await infer(folder, "events.json")).typescript)).toEqual(body(report.typescript))
  })

  it("gives columns a pipeline can load: exact numbers, instants, no floating point", async () => {
    await using folder = await Folder.of({
      "o.csv": "id,price,day,at\n1,1.10,2026-01-01,2026-01-01T00:00:00Z\n2,2,2026-01-02,2026-01-01T00:00:00Z\n",
    })
    const report = await infer(folder, "o.csv")
    for (const schema of [await load(folder, report.typescript), report.jsonSchema as AnySchema])
      expect(toRecordSchema(schema).columns?.map(({ name, type }) => `${name} ${type}`)).toEqual([
        "id bigint",
        "price numeric",
        "day date",
        "at timestamptz",
      ])
  })

  it("is of a part of the records when asked, and says so", async () => {
    await using folder = await Folder.of({ "a.csv": `n\n${"1\n".repeat(50)}x\n` })
    const sample = await infer(folder, "a.csv", { rows: 50 })
    expect(sample).toMatchObject({ records: 50, sampled: true })
    expect(sample.typescript).toContain("the first 50 records")
    expect(body(sample.typescript)).toEqual(["n: z.int()"])
    expect(body((await infer(folder, "a.csv")).typescript)).toEqual(["n: z.string()"])
  })

  it("is of several files together: what one of them lacks is optional", async () => {
    await using folder = await Folder.of({ "1.csv": "id,a\n1,x\n", "2.csv": "id,b\n2,y\n" })
    const report = await infer(folder, "*.csv")
    expect(body(report.typescript)).toEqual(["id: z.int()", "a: z.string().optional()", "b: z.string().optional()"])
  })

  it("shows no registered secret, and nothing that would end a comment or a string", async () => {
    const forget = registerSecret("hunter22")
    await using folder = await Folder.of({
      "x.jsonl": `${JSON.stringify({ 'a"\u2028b': "*/ hunter22 \u2028 \n// x", "${x}": "`${process}`" })}\n`,
    })
    const report = await infer(folder, "x.jsonl")
    forget()
    expect(JSON.stringify(report)).not.toContain("hunter22")
    expect(report.typescript.split(/[\n\u2028\u2029]/)).toHaveLength(10)
    await expectToHold(folder, "x.jsonl")
  })

  it("is refused where there is nothing, or where keys are data", async () => {
    const keys = Object.fromEntries(Array.from({ length: 1601 }, (_, i) => [`k${i}`, i]))
    await using folder = await Folder.of({
      "empty.jsonl": "",
      "bad.jsonl": "{\n}\n",
      "keys.jsonl": JSON.stringify(keys),
      "head.csv": "a,b\n",
    })
    await expect(infer(folder, "empty.jsonl")).rejects.toMatchObject({ code: "CONFIG", hint: /nothing to infer/ })
    await expect(infer(folder, "bad.jsonl")).rejects.toMatchObject({ code: "CONFIG", hint: /2 cannot be decoded/ })
    await expect(infer(folder, "keys.jsonl")).rejects.toMatchObject({ code: "CONFIG", message: /1600 different keys/ })
    await expect(infer(folder, "none.csv")).rejects.toMatchObject({ code: "CONFIG" })
    expect(body((await infer(folder, "head.csv")).typescript)).toEqual([
      "a: z.string().optional()",
      "b: z.string().optional()",
    ])
  })

  it("takes objects whose keys are data as they are", async () => {
    const line = (from: number) =>
      JSON.stringify({ id: 1, by: Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`k${from + i}`, i])) })
    await using folder = await Folder.of({ "m.jsonl": `${line(0)}\n${line(40)}\n` })
    expect(body((await infer(folder, "m.jsonl")).typescript)[1]).toBe("by: z.record(z.string(), z.unknown())")
    await expectToHold(folder, "m.jsonl")
  })
})

const texts = fc.constantFrom(
  ...[
    "",
    "x",
    "Å",
    "🙂",
    "a,b",
    'say "hi"',
    "two\nlines",
    " pad ",
    "0",
    "1",
    "-7",
    "007",
    "+1",
    "1.0",
    "1.50",
    "-0",
    "-0.0",
    ".5",
    "5.",
    "1e5",
    "1e400",
  ],
  ...[
    "9007199254740993",
    "123456789012345678",
    "1234567890123456789",
    "0.1000000000000000055",
    "true",
    "FALSE",
    "T",
    "null",
    "NaN",
    "Infinity",
  ],
  ...[
    "2026-01-31",
    "2026-02-30",
    "0000-01-01",
    "2024-02-29",
    "2026-01-31 10:00",
    "2026-01-31T10:00:00.123456Z",
    "2026-01-31T10:00:00.1234567Z",
  ],
  ...[
    "2026-01-31 10:00:00 +01:00",
    "2026-01-31T24:00:00Z",
    "constructor",
    "__proto__",
    "toString",
    "*/",
    "${x}",
    "\\N",
    "\u2028",
  ],
)
/** A column mostly of one kind, as columns are. */
const column = fc
  .oneof(
    fc.constantFrom(
      ["1", "-7", "0"],
      ["1.50", "20", "-0.125"],
      ["true", "FALSE"],
      ["2026-01-31", "2024-02-29"],
      ["new", "old"],
    ),
    fc.constantFrom(
      ["9007199254740993", "123456789012345678"],
      ["2026-01-31 10:00", "2026-01-31T10:00:00Z"],
      ["007", "008"],
    ),
    fc.array(texts, { minLength: 1, maxLength: 4 }),
  )
  .chain((pool) =>
    fc.array(
      fc.oneof(
        { weight: 20, arbitrary: fc.constantFrom(...pool) },
        { weight: 2, arbitrary: fc.constant("") },
        { weight: 1, arbitrary: texts },
      ),
      { minLength: 30, maxLength: 30 },
    ),
  )
const names = fc.uniqueArray(
  fc.constantFrom(
    "id",
    "Unit Price",
    "naïve",
    "constructor",
    "toString",
    "a-b",
    "1st",
    "class",
    "*/",
    "x\u2028y",
    "password",
    "$ref",
    "__proto__",
  ),
  { minLength: 1, maxLength: 4 },
)
const quote = (text: string): string =>
  /[",\r\n]/.test(text) || text.trim() !== text ? `"${text.replaceAll('"', '""')}"` : text

describe("every record of the file that a schema was inferred from is valid", () => {
  it("of a CSV", async () => {
    await using folder = await Folder.of()
    await fc.assert(
      fc.asyncProperty(names, fc.array(column, { minLength: 4, maxLength: 4 }), async (header, columns) => {
        const lines = Array.from({ length: 30 }, (_, row) =>
          header.map((_name, c) => quote(columns[c]?.[row] ?? "")).join(","),
        )
        await folder.write({ "p.csv": `${header.map(quote).join(",")}\n${lines.join("\n")}\n` })
        await expectToHold(folder, "p.csv")
      }),
      { numRuns: 60 },
    )
  })

  // Of an absent property zod takes what every object inherits under that name, so such names are never absent here.
  it("of JSON lines", async () => {
    await using folder = await Folder.of()
    const value = fc.oneof(
      { weight: 6, arbitrary: texts },
      {
        weight: 6,
        arbitrary: fc.oneof(fc.integer(), fc.double({ noNaN: true, noDefaultInfinity: true }), fc.maxSafeInteger()),
      },
      { weight: 2, arbitrary: fc.constantFrom(true, false, null, 0, -0, 1e21, 12345678901234567890, [], {}) },
      { weight: 2, arbitrary: fc.jsonValue({ maxDepth: 7 }) },
    )
    const likely = fc
      .array(value, { minLength: 1, maxLength: 3 })
      .chain((pool) => fc.array(fc.constantFrom(...pool), { minLength: 25, maxLength: 25 }))
    const raw = fc.constantFrom("0.1000000000000000055", "12345678901234567890", "1E5", "1.0", "-0.0", "1e-7")
    await fc.assert(
      fc.asyncProperty(
        names,
        fc.array(likely, { minLength: 4, maxLength: 4 }),
        fc.array(raw, { maxLength: 3 }),
        async (keys, columns, numbers) => {
          const lines = Array.from({ length: 25 }, (_, row) => {
            const pairs = keys.flatMap((key, c) =>
              !(key in Object.prototype) && (row * 7 + c) % 11 === 0
                ? []
                : [`${JSON.stringify(key)}:${JSON.stringify(columns[c]?.[row])}`],
            )
            const number = numbers[row % 4]
            return `{${[...pairs, ...(number === undefined ? [] : [`"raw":${number}`])].join(",")}}`
          })
          await folder.write({ "p.jsonl": lines.join("\n") })
          await expectToHold(folder, "p.jsonl")
        },
      ),
      { numRuns: 60 },
    )
  })
})
