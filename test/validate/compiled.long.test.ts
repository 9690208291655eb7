import { isDeepStrictEqual } from "node:util"
import { describe, expect, it } from "vitest"
import { z } from "zod"
import { toRecordSchema, type AnySchema } from "../../src/schema/adapter.ts"
import { decimal, timestamp } from "../../src/schema/index.ts"
import { validated, type LineFormat, type Validated } from "./both-ways.ts"
import { csvRow, jsonRow, type ValueName } from "./generated-values.ts"

/** Properties p0, p1 … of a schema, and what their values come near to. */
interface Family {
  readonly schemas: readonly AnySchema[]
  readonly values: readonly ValueName[]
}

const objectOf = (properties: readonly z.ZodType[]): AnySchema =>
  z.object(Object.fromEntries(properties.map((property, n) => [`p${n}`, property])))

const jsonOf = (properties: readonly object[], optional: readonly number[] = []): AnySchema => ({
  type: "object",
  properties: Object.fromEntries(properties.map((property, n) => [`p${n}`, property])),
  required: properties.flatMap((_, n) => (optional.includes(n) ? [] : [`p${n}`])),
})

const FAMILIES: Readonly<Record<string, Family>> = {
  numbers: {
    schemas: [
      objectOf([
        z.number(),
        z.number().min(-5).lt(1000).optional(),
        decimal({ min: 0 }),
        decimal({ precision: 6, scale: 2 }),
      ]),
      jsonOf(
        [
          { type: "number" },
          { type: "number", minimum: -5, exclusiveMaximum: 1000 },
          { type: "number" },
          { type: "string" },
        ],
        [1],
      ),
    ],
    values: ["numeral", "numeral", "numeral", "numeral"],
  },
  integers: {
    schemas: [
      objectOf([z.int(), z.int32().nullable(), z.int().min(0).max(99), z.int().optional()]),
      jsonOf(
        [
          { type: "integer" },
          { type: ["integer", "null"] },
          { type: "integer", minimum: 0, maximum: 99 },
          { type: "integer" },
        ],
        [3],
      ),
    ],
    values: ["whole", "numeral", "whole", "whole"],
  },
  enums: {
    schemas: [
      objectOf([
        z.enum(["new", "paid"]),
        z.enum(["two words", "a,b", 'say "x"', "über"]).optional(),
        z.boolean().optional(),
      ]),
      jsonOf(
        [
          { type: "string", enum: ["new", "paid"] },
          { type: "string", enum: ["a,b", 'say "x"', "über"] },
          { type: "boolean" },
        ],
        [1, 2],
      ),
    ],
    values: ["word", "word", "flag"],
  },
  patterns: {
    schemas: [
      objectOf([
        z.string().regex(/^[A-Z]{2}-\d{3,5}$/),
        z
          .string()
          .regex(/colou?r$|^gr[ae]y|^AB/)
          .optional(),
        z.uuid(),
      ]),
      jsonOf(
        [
          { type: "string", pattern: "^(?:AB|XY)-[^5]+$", maxLength: 8 },
          { type: "string", pattern: "colou?r|gr[ae]y" },
          { type: "string", format: "uuid" },
        ],
        [1],
      ),
    ],
    values: ["code", "code", "identifier"],
  },
  dates: {
    schemas: [
      objectOf([
        timestamp({ zone: "UTC" }),
        timestamp({ zone: "in text" }).optional(),
        z.iso.date(),
        z.iso.datetime().nullable(),
      ]),
      jsonOf(
        [
          { type: "string", format: "date-time" },
          { type: "string", format: "date-time" },
          { type: "string", format: "date" },
          { type: "string" },
        ],
        [1, 3],
      ),
    ],
    values: ["moment", "moment", "day", "moment"],
  },
  lengths: {
    schemas: [
      objectOf([z.string(), z.string().min(2).max(4), z.string().length(3).optional()]),
      jsonOf(
        [{ type: "string" }, { type: "string", minLength: 2, maxLength: 4 }, { type: "string", maxLength: 3 }],
        [2],
      ),
    ],
    values: ["text", "text", "text"],
  },
  nulls: {
    schemas: [
      objectOf([
        z.string().nullable(),
        z.number().optional(),
        z.int().nullable(),
        z.enum(["new"]).nullable(),
        z.string(),
      ]),
      jsonOf(
        [
          { type: ["string", "null"] },
          { type: "number" },
          { type: ["integer", "null"] },
          { type: "boolean" },
          { type: "string" },
        ],
        [1, 3],
      ),
    ],
    values: ["text", "numeral", "whole", "word", "text"],
  },
}

/** Of each family, in each format. */
const RECORDS = Number(process.env["SPILLWAY_RECORDS"] ?? 5_000)
/** Records at a time. */
const ROWS = 4_000

type Row = (seed: number, values: readonly ValueName[]) => string
const ROW: Readonly<Record<LineFormat, Row>> = { csv: csvRow, jsonl: jsonRow }

const contentOf = (rows: readonly string[], values: readonly ValueName[], format: LineFormat): Buffer =>
  Buffer.from((format === "csv" ? `${values.map((_, n) => `p${n}`).join(",")}\n` : "") + rows.join(""))

const told = ({ good, letters, report, warnings }: Validated) => ({
  good: good.toString("latin1"),
  letters: letters.toString("latin1"),
  report,
  warnings,
})

/** The shortest text, found by leaving out pieces, that still disagrees. */
async function shrunk(row: string, disagrees: (row: string) => Promise<boolean>): Promise<string> {
  let shortest = row
  for (let piece = Math.ceil(row.length / 2); piece >= 1; piece = Math.floor(piece / 2))
    for (let at = 0; at < shortest.length;) {
      const without = shortest.slice(0, at) + shortest.slice(at + piece)
      if (await disagrees(without)) shortest = without
      else at += piece
    }
  return shortest
}

describe("checks on bytes say what the schema says", () => {
  it.each(
    Object.keys(FAMILIES).flatMap((family) => (["csv", "jsonl"] as const).map((format) => [family, format] as const)),
  )(
    "for generated %s in %s",
    async (name, input) => {
      const { schemas, values } = FAMILIES[name] as Family
      const prepared = schemas.map((schema) => toRecordSchema(schema))
      for (const schema of prepared) expect(schema.byteChecks).toBeDefined()
      let sure = 0
      let good = 0
      for (let first = 0; first < RECORDS; first += ROWS) {
        const turn = first / ROWS
        const schema = prepared[turn % prepared.length] as (typeof prepared)[number]
        const output = turn % 4 < 2 ? "csv" : "jsonl"
        const both = async (rows: readonly string[], chunk: number): Promise<readonly [Validated, Validated]> => {
          const content = [contentOf(rows, values, input)]
          return [
            await validated(schema, content, { input, output, general: false, chunk }),
            await validated(schema, content, { input, output, general: true, chunk }),
          ]
        }
        const disagree = async (row: string): Promise<boolean> => {
          const [quick, long] = await both([row], 1 << 20)
          return !isDeepStrictEqual(told(quick), told(long))
        }
        const rows = Array.from({ length: ROWS }, (_, n) => ROW[input](first + n, values))
        const [quick, long] = await both(rows, turn % 3 === 0 ? 5_000 : 1 << 20)
        if (!isDeepStrictEqual(told(quick), told(long))) {
          let suspects = rows
          while (suspects.length > 1) {
            const half = suspects.slice(0, Math.ceil(suspects.length / 2))
            suspects = (await disagree(half.join(""))) ? half : suspects.slice(half.length)
          }
          const record = await shrunk(suspects[0] ?? "", disagree)
          const [one, other] = await both([record], 1 << 20)
          expect({ record, ...told(one) }).toEqual({ record, ...told(other) })
          expect(told(quick)).toEqual(told(long))
        }
        sure += quick.sure
        good += quick.report.good
      }
      // Both ways have to be taken often for this to say anything.
      expect(good).toBeGreaterThan(RECORDS / 200)
      expect(sure).toBeGreaterThan(good / 4)
      expect(RECORDS - sure).toBeGreaterThan(1_000)
    },
    300_000,
  )
})
