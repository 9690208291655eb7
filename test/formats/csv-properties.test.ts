import { parse } from "csv-parse/sync"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { csvInBatches } from "../../src/formats/csv.ts"
import { referenceRecords } from "./csv-reference.ts"
import { decodeAll } from "./decoding.ts"

const limits = { bytes: fc.integer({ min: 1, max: 40 }), records: fc.integer({ min: 1, max: 5 }) }
const small = fc.record(limits)
/** Text in which everything that matters to CSV is frequent. */
const soup = fc
  .array(
    fc.constantFrom(
      "a",
      "b",
      ",",
      ",",
      '"',
      '"',
      '""',
      '","',
      "\n",
      "\n",
      "\r\n",
      "\r",
      "é",
      '",b\n',
      '",a"\n',
      'a,"b\n',
    ),
    {
      maxLength: 40,
    },
  )
  .map((parts) => parts.join(""))
const columns = ["x", "y"]

describe("csv", () => {
  it("reads whatever csv-parse reads of well-formed input, on the right lines", () => {
    const field = fc.string({
      unit: fc.constantFrom("a", "ß", "日", "😀", ",", '"', "\n", "\r\n", " ", "0"),
      maxLength: 6,
    })
    const rows = fc.array(fc.tuple(field, field, field), { minLength: 1, maxLength: 12 })
    const style = fc.record({ end: fc.constantFrom("\n", "\r\n"), last: fc.boolean(), all: fc.boolean() })
    fc.assert(
      fc.property(rows, style, small, fc.integer({ min: 1, max: 64 }), (rows, { end, last, all }, limits, chunk) => {
        const quote = (text: string): string =>
          all || /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
        const lines = ["a,b,c", ...rows.map((row) => row.map(quote).join(","))]
        const text = lines.join(end) + (last ? end : "")
        const expected: Record<string, string>[] = parse(text, { columns: true, record_delimiter: end })
        let line = 2
        const starts = rows.map((_row, i) => {
          const start = line
          line += (lines[i + 1] as string).split("\n").length
          return start
        })
        const reading = decodeAll(csvInBatches(limits), text, { chunk })
        expect(reading.records.map((record) => record.value)).toEqual(
          expected.map((row) => Object.fromEntries(Object.entries(row).map(([key, value]) => [key, value || null]))),
        )
        expect(reading.records.map((record) => record.line)).toEqual(starts)
        expect(reading.records.map((record) => record.raw)).toEqual(
          lines.slice(1).map((row) => Buffer.from(row).toString("latin1")),
        )
      }),
      { numRuns: 400 },
    )
  })

  it("sets aside what is malformed as the plain rules say", () => {
    fc.assert(
      fc.property(soup, small, fc.integer({ min: 1, max: 20 }), (text, limits, chunk) => {
        const reading = decodeAll(csvInBatches(limits, { columns }), text, { chunk })
        const seen = reading.records.map(({ line, offset, value }) => ({
          line,
          offset,
          value: typeof value === "string" ? value : Object.values(value as object),
        }))
        const expected = referenceRecords(text, columns.length).map((record) => ({
          ...record,
          offset: Buffer.byteLength(text.slice(0, record.offset)),
        }))
        expect(seen).toEqual(expected)
      }),
      { numRuns: 3000 },
    )
  })

  it("gives the same whatever the chunks and the batches, also where records are too long", () => {
    const bytes = fc.oneof(
      soup.map((text) => Buffer.from(text)),
      soup.map((text) => Buffer.from(text.replaceAll("b", "\0\u00ff"), "latin1")),
    )
    fc.assert(
      fc.property(bytes, small, fc.integer({ min: 1, max: 30 }), (bytes, limits, maxRecordBytes) => {
        const whole = decodeAll(csvInBatches({ bytes: 1 << 20, records: 1000 }, { columns }), bytes, { maxRecordBytes })
        for (const chunk of [1, 2, 3, 5, 8, 13, 21])
          expect(decodeAll(csvInBatches(limits, { columns }), bytes, { chunk, maxRecordBytes }).records).toEqual(
            whole.records,
          )
      }),
      { numRuns: 1000 },
    )
  })

  it("resumes at every batch as if it had not been interrupted", () => {
    fc.assert(
      fc.property(soup, small, fc.integer({ min: 3, max: 30 }), (text, limits, maxRecordBytes) => {
        const format = csvInBatches(limits)
        const input = `x,y\n${text}`
        const whole = decodeAll(format, input, { maxRecordBytes })
        for (const { position, records } of whole.positions) {
          const stored = JSON.parse(JSON.stringify(position)) as typeof position
          const rest = decodeAll(format, input, { maxRecordBytes, position: stored, chunk: 7 })
          expect(rest.records).toEqual(whole.records.slice(records))
          expect(rest.columns).toEqual(["x", "y"])
        }
      }),
      { numRuns: 1000 },
    )
  })
})
