import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { z } from "zod"
import type { Batch } from "../../src/core/records.ts"
import { pipeline, table, type PipelineOptions } from "../../src/engine/definition.ts"
import { batchEncoder, type EncodedBatch } from "../../src/engine/pipeline/encode-batch.ts"
import { recordPath } from "../../src/engine/pipeline/record-path.ts"
import { csv } from "../../src/formats/csv.ts"
import { decimal, timestamp } from "../../src/schema/index.ts"
import { recordsSource } from "../../src/testing/index.ts"

const schema = z.object({
  id: z.string().min(1),
  n: z.int().min(-5).max(1_000_000),
  small: z.int32().nullable(),
  f: z.number().optional(),
  status: z.enum(["new", "back\\slash", "über"]),
  price: decimal({ min: 0 }),
  rate: decimal({ precision: 5, scale: 2 }).optional(),
  at: timestamp({ zone: "Europe/London" }),
  zoned: timestamp({ zone: "in text" }).optional(),
  note: z.string().max(12).optional(),
  missing: z.string().optional(),
})
const COLUMNS = ["note", "id", "n", "small", "f", "status", "price", "rate", "at", "zoned"] as const

const items = (sink: PipelineOptions["sink"]) =>
  pipeline({ name: "items", source: { ...recordsSource(() => ({})), untyped: true }, schema, sink })

/** The same batch without its byte ranges: every record then goes the long way. */
const slowly = (batch: Batch): Batch =>
  new Proxy(batch, { get: (of, name) => (name === "fields" ? undefined : bound(of, name)) })
function bound(of: Batch, name: string | symbol): unknown {
  const value: unknown = Reflect.get(of, name, of)
  return typeof value === "function" ? (value as () => unknown).bind(of) : value
}

async function encode(
  text: string,
  sink: PipelineOptions["sink"],
  way: (batch: Batch) => Batch,
  { delimiter = ",", copied = "\t" } = {},
): Promise<{ encoded: EncodedBatch[]; fields: (string | null)[][]; fast: number }> {
  const one = items(sink)
  const path = recordPath(one, "f.csv", () => undefined)
  let slow = 0
  const counted = { ...path, process: (batch: Batch, i: number) => (slow++, path.process(batch, i)) }
  const origin = { pipeline: "items", partition: "f.csv", unit: "file" as const }
  const encoder = batchEncoder({ pipeline: one, origin, seq: 7, turn: () => Promise.resolve() }, counted)
  const decoder = csv({ delimiter }).decoder({ exact: one.schema.exact, maxRecordBytes: 1 << 20 })
  const batches = [...decoder.push(Buffer.from(text)), ...decoder.end()]
  path.meetColumns(decoder.columns)
  const encoded: EncodedBatch[] = []
  const fields: (string | null)[][] = []
  for (const batch of batches.map(way)) {
    const encoding = encoder(batch)
    const one = await encoding.encode(() => undefined)
    encoded.push(one)
    expect(encoding.delimiter).toBe(batch.fields === undefined ? "\t" : copied)
    fields.push(...copyFields(one.lines.toString(), encoding.delimiter))
  }
  return { encoded, fields, fast: batches.reduce((sum, batch) => sum + batch.length, 0) - slow }
}

/** The fields of COPY text by the rules of its manual; null for `\N`. */
function copyFields(lines: string, delimiter: string): (string | null)[][] {
  const rows: (string | null)[][] = []
  let row: (string | null)[] = []
  let field: string | null = ""
  for (let at = 0; at < lines.length; at++) {
    const char = lines[at] as string
    if (char === delimiter || char === "\n") {
      row.push(field)
      field = ""
      if (char === "\n") {
        rows.push(row)
        row = []
      }
    } else if (char === "\\") {
      const next = lines[++at] as string
      if (next === "N" && field === "" && [delimiter, "\n"].includes(lines[at + 1] as string)) field = null
      else field += { t: "\t", n: "\n", r: "\r" }[next] ?? next
    } else field += char
  }
  return rows
}

const plain = (encoded: EncodedBatch[]) =>
  encoded.map(({ lines, lineRecords, letters, tally }) => ({ lines: lines.toString(), lineRecords, letters, tally }))

const value = (good: readonly string[], odd: readonly string[]) =>
  fc.oneof(
    { weight: 15, arbitrary: fc.constantFrom(...good) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(...odd, "", '""', "NULL", " ", "é", "\\N", "a\tb", "0x1", "1e5", "-0", "+1", "00"),
    },
  )
/** A field between other delimiters. */
const within = (field: string, delimiter: string): string =>
  field.includes(delimiter) && !field.startsWith('"') ? `"${field}"` : field
const row = fc.tuple(
  value(
    ["", "hello", '"quoted, text"', '"a;b|c"', "0123456789ab"],
    ['"say ""hi"""', '"two\nlines"', "0123456789abc", "\u0001", "back\\slash"],
  ),
  value(["a", "b-1", "id 3"], []),
  value(["0", "-5", "12", "1000000"], ["-6", "1000001", "012", "12.0", "9999999999999999", "1_0"]),
  value(["", "7", "-2147483648", "2147483647"], ["2147483648"]),
  value(["", "1.5", "-0.25", "3"], ["1.50", "1e400", "NaN", "0.1000000000000000055", ".5"]),
  value(["new"], ["back\\slash", "über", "old", '"new"']),
  value(["0", "2.50", "0.001", "99999999999999999999.5"], ["-1", ".5", "5.", "1e3", "1.2.3"]),
  value(["", "999.99", "1.5"], ["1000", "1.555", "-2.25", "0001.5"]),
  value(
    ["2010-12-01 08:26:00", "2010-12-31T23:59:59Z"],
    ["2010-02-29 00:00:00", "2012-02-29 00:00:00", "2010-12-01", "2010-12-01 24:00:00", "2010-12-01 08:26:00+01:00"],
  ),
  value(["", "2010-12-31T23:59:59Z"], ["2010-12-31 23:59:59", "2010-12-31T23:59:59.5Z"]),
)

describe("rows that go from bytes to COPY", () => {
  it.each([
    ["upsert", table("t", { key: ["id"] })],
    ["append", table("t", { mode: "append" })],
  ])("are the same as those of the record path: lines, letters and counts (%s)", async (_mode, sink) => {
    let fast = 0
    let slow = 0
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 30 }), async (rows) => {
        const text = `${COLUMNS.join(",")}\n${rows.map((fields) => fields.join(",")).join("\n")}\n`
        const quick = await encode(text, sink, (batch) => batch)
        const long = await encode(text, sink, slowly)
        expect(long.fast).toBe(0)
        expect(plain(quick.encoded)).toEqual(plain(long.encoded))
        fast += quick.fast
        slow += rows.length - quick.fast
      }),
      { numRuns: 400 },
    )
    // Both ways have to be taken often for this to say anything.
    expect(fast).toBeGreaterThan(1000)
    expect(slow).toBeGreaterThan(1000)
  })

  it.each([
    [",", table("t", { key: ["id"] })],
    [",", table("t", { mode: "append" })],
    [";", table("t", { key: ["id"] })],
    ["|", table("t", { key: ["id"] })],
    ["\t", table("t", { mode: "append" })],
  ])("are the same when they are copied whole, between %j", async (delimiter, sink) => {
    let fast = 0
    let slow = 0
    const shown = (fields: readonly string[]): string => {
      const [note = "", ...others] = fields
      const missing = note.startsWith('"') ? note : ""
      return [...others, note, missing].map((field) => within(field, delimiter)).join(delimiter)
    }
    const header = [...COLUMNS.slice(1), "note", "missing"].join(delimiter)
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 30 }), async (rows) => {
        const text = `${header}\n${rows.map(shown).join("\n")}\n`
        const ways = { delimiter, copied: delimiter }
        const quick = await encode(text, sink, (batch) => batch, ways)
        const long = await encode(text, sink, slowly, ways)
        expect(long.fast).toBe(0)
        expect(quick.fields).toEqual(long.fields)
        const rest = (of: typeof quick) => plain(of.encoded).map(({ lines: _, ...others }) => others)
        expect(rest(quick)).toEqual(rest(long))
        fast += quick.fast
        slow += rows.length - quick.fast
      }),
      { numRuns: 200 },
    )
    expect(fast).toBeGreaterThan(500)
    expect(slow).toBeGreaterThan(500)
  })

  it("leave every record to the record path where something else looks at it", async () => {
    const text = `${COLUMNS.join(",")}\n,a,1,,,new,1,,2010-12-01 08:26:00,\n`
    const sink = table("t", { key: ["id"] })
    expect((await encode(text, sink, (batch) => batch)).fast).toBe(1)
    for (const extra of [
      { transform: (r: object) => r as Record<string, unknown> },
      { prepare: (r: object) => r as Record<string, unknown> },
    ]) {
      const one = pipeline({
        name: "items",
        source: { ...recordsSource(() => ({})), untyped: true },
        schema,
        sink,
        ...extra,
      })
      const path = recordPath(one, "f.csv", () => undefined)
      const { fastRows } = await import("../../src/engine/pipeline/fast-rows.ts")
      const decoder = csv().decoder({ exact: one.schema.exact, maxRecordBytes: 1 << 20 })
      const [batch] = [...decoder.push(Buffer.from(text)), ...decoder.end()]
      path.meetColumns(decoder.columns)
      expect(fastRows(one, batch as Batch, path, { head: "", append: false, seqOf: (n) => n })).toBeUndefined()
    }
  })
})
