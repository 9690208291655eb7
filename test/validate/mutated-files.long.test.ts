import { readdirSync, readFileSync } from "node:fs"
import { isDeepStrictEqual } from "node:util"
import { gunzipSync } from "node:zlib"
import { parse } from "csv-parse/sync"
import { describe, expect, it } from "vitest"
import { z } from "zod"
import { toRecordSchema } from "../../src/schema/adapter.ts"
import { ProductRecord } from "../../src/schema/builtins.ts"
import { decimal, timestamp } from "../../src/schema/index.ts"
import { validated, type Validated } from "./both-ways.ts"
import { Draw } from "./generated-values.ts"

const SAMPLE = new URL("../../sample/data.csv", import.meta.url)
/** The data set beside the checkout, where there is one. */
const RETAIL = new URL("../../../shared/data/online-retail/", import.meta.url)

const Sale = z.object({
  InvoiceNo: z.string().min(6),
  StockCode: z.string(),
  Description: z.string().optional(),
  Quantity: z.int(),
  InvoiceDate: timestamp({ zone: "Europe/London" }),
  UnitPrice: decimal({ min: 0 }),
  CustomerID: z
    .string()
    .regex(/^\d{5}(\.0)?$/)
    .optional(),
  Country: z.string(),
})

/** CI reads 50,000. */
const STRINGS = Number(process.env["SPILLWAY_STRINGS"] ?? 10_000)
/** On a machine that is busy with much else. */
const LONGEST_MS = 300_000
const AT_ONCE = 1_000
const LINES = 2
/** What hurts a CSV. */
const BYTES = [0x22, 0x22, 0x2c, 0x0a, 0x0d, 0x00, 0xff, 0xc3, 0xa9, 0x2d, 0x30, 0x39, 0x2e, 0x20, 0x41]

interface Source {
  readonly header: Buffer
  readonly lines: readonly Buffer[]
}

function sourceOf(content: Buffer): Source {
  const [header = "", ...lines] = content.toString("latin1").split(/(?<=\n)/)
  return { header: Buffer.from(header, "latin1"), lines: lines.map((line) => Buffer.from(line, "latin1")) }
}

function retailSources(): readonly Source[] {
  try {
    return readdirSync(RETAIL)
      .filter((name, n) => name.endsWith(".csv.gz") && n % 60 === 0)
      .map((name) => sourceOf(gunzipSync(readFileSync(new URL(name, RETAIL)))))
  } catch {
    return []
  }
}

/** A few lines of a file with bytes changed, put in, taken out and doubled. */
function mutated({ header, lines }: Source, draw: Draw): Buffer {
  const first = draw.below(lines.length)
  let bytes = [...Buffer.concat(lines.slice(first, first + LINES))]
  for (let n = draw.below(5); n > 0; n--) {
    const at = draw.below(bytes.length + 1)
    const way = draw.below(4)
    if (way === 0) bytes[at] = draw.of(BYTES)
    else if (way === 1) bytes.splice(at, 0, draw.of(BYTES))
    else if (way === 2) bytes.splice(at, draw.below(draw.chance(0.1) ? 80 : 3))
    else bytes = [...bytes.slice(0, at), ...bytes.slice(at - draw.below(30), at), ...bytes.slice(at)]
  }
  return Buffer.concat([header, Buffer.from(bytes)])
}

const told = ({ good, letters, report, warnings }: Validated) => ({
  good: good.toString("latin1"),
  letters: letters.toString("latin1"),
  report,
  warnings,
})

interface Place {
  readonly source: { readonly file: string; readonly line: number; readonly offset: number }
  readonly raw: string
  readonly raw_encoding?: string
}

/** Letters stand where they say, none on top of another; and what they leave of the input are the good rows. */
function expectEachLineOnce(contents: readonly Buffer[], { good, letters, report }: Validated): void {
  const rest = contents.map((content) => Buffer.from(content))
  const behind = contents.map(() => 0)
  for (const line of letters.toString().split("\n").slice(0, -1)) {
    const { source, raw, raw_encoding } = JSON.parse(line) as Place
    const n = Number(/\d+/.exec(source.file)?.[0])
    const content = contents[n] as Buffer
    const bytes = Buffer.from(raw, raw_encoding === "base64" ? "base64" : "utf8")
    const { offset } = source
    expect(content.subarray(offset, offset + bytes.length).equals(bytes)).toBe(true)
    expect(source.line).toBe(content.subarray(0, offset).toString("latin1").split("\n").length)
    expect(offset).toBeGreaterThanOrEqual(behind[n] ?? 0)
    behind[n] = offset + bytes.length
    // A line end is left over, which makes a blank line.
    rest[n]?.fill(0x0a, offset, offset + bytes.length)
  }
  const options = { columns: false, relax_column_count: true, relax_quotes: true, skip_empty_lines: true } as const
  const [, ...goodRows] = parse(good, options)
  const left = rest.flatMap((content) =>
    parse(content, options)
      .slice(1)
      .filter((row) => row.length > 1),
  )
  expect(goodRows.length).toBe(report.good)
  expect(left.map(([first]) => first)).toEqual(goodRows.map(([first]) => first))
}

describe("mutated files", () => {
  const files: readonly (readonly [string, z.ZodType, readonly Source[]])[] = [
    ["sample", ProductRecord, [sourceOf(readFileSync(SAMPLE))]],
    ["retail", Sale, retailSources()],
  ]
  it.each(files.filter(([, , sources]) => sources.length > 0))(
    "of %s are judged alike both ways, and each line is in one output",
    async (_name, zod, sources) => {
      const schema = toRecordSchema(zod)
      expect(schema.byteChecks).toBeDefined()
      let sure = 0
      for (let first = 0; first < STRINGS / 2; first += AT_ONCE) {
        const contents = Array.from({ length: AT_ONCE }, (_, n) => {
          const draw = new Draw(first + n)
          return mutated(draw.of(sources), draw)
        })
        const ways = { input: "csv", output: "csv" } as const
        const quick = await validated(schema, contents, { ...ways, general: false })
        const long = await validated(schema, contents, { ...ways, general: true })
        if (!isDeepStrictEqual(told(quick), told(long)))
          for (const content of contents) {
            const one = await validated(schema, [content], { ...ways, general: false })
            const other = await validated(schema, [content], { ...ways, general: true })
            expect({ content: content.toString("latin1"), ...told(one) }).toEqual({
              content: content.toString("latin1"),
              ...told(other),
            })
          }
        // Reading it all with another parser takes its time.
        if (first % (5 * AT_ONCE) === 0) expectEachLineOnce(contents, quick)
        sure += quick.sure
      }
      // Otherwise this compares the general path with itself.
      expect(sure).toBeGreaterThan(STRINGS / 2)
    },
    LONGEST_MS,
  )
})
