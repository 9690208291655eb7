import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { FIELD_OFFSET, FIELD_QUOTED, type Batch } from "../../src/core/records.ts"
import { csv, csvInBatches } from "../../src/formats/csv.ts"
import { takeLate } from "./decoding.ts"

const whole = { position: undefined, exact: new Set<string>(), maxRecordBytes: 200 }

/** The fields of whole records that stand without quotes, from the bytes alone. */
function unquotedFields(batch: Batch): string[] {
  const { fields } = batch
  if (fields === undefined) throw new Error("the batch has no fields")
  const { bytes, starts, ends, columns, isWhole } = fields
  const found: string[] = []
  for (let i = 0; i < batch.length; i++) {
    if (!isWhole(i)) continue
    let from = starts[i] as number
    for (let column = 0; column < columns.length; column++) {
      const end = ends[i * columns.length + column] as number
      if (end < FIELD_QUOTED) found.push(bytes.toString("latin1", from, end))
      from = (end & FIELD_OFFSET) + 1
    }
  }
  return found
}

/** Of one batch. */
function isPlain(text: string, options: Parameters<typeof csv>[0] = {}): boolean {
  const decoder = csv(options).decoder(whole)
  const [batch] = [...decoder.push(Buffer.from(text)), ...decoder.end()]
  return batch?.fields?.isPlain() ?? false
}

describe("the plain text of a CSV batch", () => {
  it("is never said of a field that COPY, CSV or JSON would write in another way", () => {
    const piece = fc.constantFrom(
      ...["a", "b,c\n", "b,c\r\n", '"q,""\n",d\n', ",", ";", "\n", "\r\n", "x", " ", "0"],
      ...['"', "\\", "\t", "\r", "é", "'", "\u0001", '",b\n', 'a"b,c\n', "d;e,f;g\n"],
    )
    // Most texts are plain, or few would be said to be.
    const text = fc
      .array(fc.oneof({ weight: 12, arbitrary: fc.constantFrom("a", "b,c\n", "d,e\r\n", '"q",r\n') }, piece), {
        maxLength: 40,
      })
      .map((pieces) => pieces.join(""))
    const dialect = fc.constantFrom({}, { delimiter: ";" }, { quote: "'" }, { quote: "" }, { delimiter: "\t" })
    const seen = { plain: 0, odd: 0 }
    fc.assert(
      fc.property(
        text,
        dialect,
        fc.record({ bytes: fc.integer({ min: 1, max: 200 }), records: fc.integer({ min: 1, max: 20 }) }),
        fc.integer({ min: 1, max: 60 }),
        (input, options, limits, chunk) => {
          const bytes = Buffer.from(input)
          const decoder = csvInBatches(limits, { columns: ["x", "y"], ...options }).decoder(whole)
          const look = (batches: readonly Batch[]): void => {
            for (const batch of batches) {
              const plain = batch.fields?.isPlain() ?? false
              seen[plain ? "plain" : "odd"]++
              if (plain) for (const field of unquotedFields(batch)) expect(field).toMatch(/^[ !#-+\--[\]-\x7f]*$/)
            }
          }
          takeLate(decoder, bytes, chunk, look)
        },
      ),
      { numRuns: 3_000 },
    )
    expect(seen.plain).toBeGreaterThan(1_000)
    expect(seen.odd).toBeGreaterThan(1_000)
  })

  it("is said of ordinary files: quoted fields and line ends do not matter, nor records that are set aside", () => {
    expect(isPlain("a,b\n1,two words\n2,x\n")).toBe(true)
    expect(isPlain("a,b\r\n1,x\r\n2,y\r\n")).toBe(true)
    expect(isPlain('a,b\n1,"said ""yes"", twice"\n2,"two\nlines"\n')).toBe(true)
    expect(isPlain('a,b\n1,"x\ny",3\n2,y\n')).toBe(true)
    expect(isPlain("a;b\n1;x\n", { delimiter: ";" })).toBe(true)
  })

  it.each([
    ["a backslash", "a,b\n1,x\\y\n", {}],
    ["a tab", "a,b\n1,x\ty\n", {}],
    ["a carriage return within a line", "a,b\n1,x\ry\n", {}],
    ["a quote inside a field", 'a,b\n1,x"y\n', {}],
    ["a letter beyond ASCII", "a,b\n1,é\n", {}],
    ["a comma where another character delimits", "a;b\n1;x,y\n", { delimiter: ";" }],
    ["a double quote where another character quotes", "a,b\n1,x\"y\n2,'z'\n", { quote: "'" }],
  ])("is not said of %s", (_what, text, options) => {
    expect(isPlain(text, options)).toBe(false)
  })
})
