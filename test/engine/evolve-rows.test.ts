import fc from "fast-check"
import { expect, it } from "vitest"
import { z } from "zod"
import type { Column } from "../../src/core/contracts.ts"
import type { Batch } from "../../src/core/records.ts"
import { pipeline, table } from "../../src/engine/definition.ts"
import { batchEncoder } from "../../src/engine/pipeline/encode-batch.ts"
import { NewColumnMet, NewColumns } from "../../src/engine/pipeline/new-columns.ts"
import { recordPath } from "../../src/engine/pipeline/record-path.ts"
import { csv } from "../../src/formats/csv.ts"
import { recordsSource } from "../../src/testing/index.ts"

const items = pipeline({
  name: "items",
  source: { ...recordsSource(() => ({})), untyped: true },
  schema: z.object({ id: z.string(), note: z.string().optional() }),
  sink: table("t", { key: ["id"] }),
  onNewColumn: "evolve",
})
const column = (property: string, type: string): Column => ({
  property,
  name: property.toLowerCase(),
  type,
  nullable: true,
})
const KNOWN = [
  column("price", "numeric"),
  column("day", "date"),
  column("at", "timestamptz"),
  column("ok", "boolean"),
  column("text", "text"),
  column("elsewhere", "text"),
]

/** The same batch without its byte ranges: every record then goes the long way. */
const slowly = (batch: Batch): Batch =>
  new Proxy(batch, {
    get(of, name) {
      if (name === "fields") return undefined
      const value: unknown = Reflect.get(of, name, of)
      return typeof value === "function" ? (value as () => unknown).bind(of) : value
    },
  })

async function encode(text: string, way: (batch: Batch) => Batch) {
  const newColumns = new NewColumns(KNOWN)
  const path = recordPath(items, "f.csv", () => undefined, newColumns)
  let slow = 0
  const counted = { ...path, process: (batch: Batch, i: number) => (slow++, path.process(batch, i)) }
  const origin = { pipeline: "items", partition: "f.csv", unit: "file" as const }
  const encoder = batchEncoder({ pipeline: items, origin, seq: 7, turn: () => Promise.resolve(), newColumns }, counted)
  const decoder = csv().decoder({ exact: items.schema.exact, maxRecordBytes: 1 << 20 })
  const batches = [...decoder.push(Buffer.from(text)), ...decoder.end()]
  path.meetColumns(decoder.columns)
  let lines = ""
  const letters: unknown[] = []
  for (const batch of batches) {
    const encoded = await encoder(way(batch)).encode(() => undefined)
    lines += encoded.lines.toString()
    letters.push(encoded.letters, encoded.lineRecords, encoded.tally)
  }
  return { lines, letters, slow }
}

const field = (...values: string[]) =>
  fc.oneof(
    { weight: 12, arbitrary: fc.constantFrom(...values) },
    { weight: 1, arbitrary: fc.constantFrom("", '""', '"a,b"', "é", "\\N", '"say ""x"""', "-1", "007", "1e3", " 1") },
  )
const row = fc.tuple(
  field("1", "2.50", "0.001", "99999999999999999999.5", ""),
  field("a", "b"),
  field("2026-01-31", "2026-02-31", ""),
  field("2026-01-31T10:00:00Z", "2026-01-31 10:00:00+02:00", ""),
  field("", "", "", "", "true", "FALSE"),
  field("", "", "a b", "back\\slash", '"two\nlines"'),
  field("n", ""),
)

it("new columns go from bytes to COPY as the record path writes them: lines, letters and counts", async () => {
  let fast = 0
  let slow = 0
  await fc.assert(
    fc.asyncProperty(fc.array(row, { minLength: 1, maxLength: 20 }), async (rows) => {
      const text = `price,id,day,at,ok,text,note\n${rows.map((fields) => fields.join(",")).join("\n")}\n`
      const quick = await encode(text, (batch) => batch)
      const long = await encode(text, slowly)
      expect(quick.lines).toBe(long.lines)
      expect(quick.letters).toEqual(long.letters)
      slow += quick.slow
      fast += long.slow - quick.slow
    }),
    { numRuns: 400 },
  )
  // Both ways have to be taken often for this to say anything.
  expect(fast).toBeGreaterThan(500)
  expect(slow).toBeGreaterThan(500)
})

it("a column that nobody knows yet goes the fast way while it is blank, and is met at its first value", async () => {
  const blank = 'id,later,price\na,,1\nb,"",2\nc,,\n'
  expect(await encode(blank, (batch) => batch)).toMatchObject({
    slow: 0,
    lines: ["a", "b", "c"]
      .map(
        (id, i) =>
          `${id}\t\\N\t${["1", "2", "\\N"][i]}\t\\N\t\\N\t\\N\t\\N\t\\N\tf.csv\t${i + 2}\t${7 * 2 ** 32 + i + 2}\n`,
      )
      .join(""),
  })
  await expect(encode(`${blank}d,"x",1\n`, (batch) => batch)).rejects.toThrow(NewColumnMet)
})
