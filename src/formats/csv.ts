import type { Format } from "../core/contracts.ts"
import { SpillwayError } from "../core/errors.ts"
import { DecodeFault } from "../core/records.ts"
import { ChunkedDecoder, DEFAULT_LIMITS, type BatchLimits } from "./chunked-decoder.ts"
import { CsvCutter, type CsvRules } from "./csv-cutter.ts"

export interface CsvOptions {
  /** What separates fields: one ASCII character. Default `,`. */
  delimiter?: string
  /** What quotes a field, doubled inside one: one ASCII character, or `""` when nothing quotes. Default `"`. */
  quote?: string
  /** The first record names the columns. Default true, and false when `columns` is given. */
  header?: boolean
  /** The columns of a file without a header, in order. */
  columns?: readonly string[]
  /** Texts that mean absent, as a blank field does: `["NULL", "\\N"]`. Default none. */
  nulls?: readonly string[]
}

/** Offsets within a batch have 30 bits. */
const LONGEST_RECORD = 1 << 29
const NO_BYTE = 256

/**
 * CSV as RFC 4180 has it and as it occurs: LF and CRLF line ends, mixed; a UTF-8 byte order mark; line ends inside
 * quotes; blank lines (skipped); no line end after the last record. A bare quote inside an unquoted field is data. Values
 * are text; blank ones, quoted or not, are null. A malformed record is a `DecodeFault` with one of the rules
 * `column_count`, `unclosed_quote`, `text_after_quote`, `bare_quote`, `nul`, `utf8`, `too_long`, and costs no other
 * record: after malformed quotes reading goes on at the next physical line. A header that is malformed, has a nameless
 * column or names one twice throws `DECODE` from the decoder, as does UTF-16. Throws `CONFIG` with every fault of the options.
 */
export function csv(options: CsvOptions = {}): Format {
  const rules = checkedRules(options)
  return csvWithin(options, rules, DEFAULT_LIMITS)
}

/** `csv` with batches of another size. */
export function csvInBatches(limits: BatchLimits, options: CsvOptions = {}): Format {
  return csvWithin(options, checkedRules(options), limits)
}

function csvWithin(options: CsvOptions, rules: CsvRules, limits: BatchLimits): Format {
  const { delimiter = ",", quote = '"', columns, nulls = [] } = options
  return {
    name: "csv",
    untyped: true,
    description: { format: "csv", delimiter, quote, columns: columns ? [...columns] : "header", nulls: [...nulls] },
    decoder(decoding) {
      const maxRecordBytes = Math.min(decoding.maxRecordBytes, LONGEST_RECORD)
      return new ChunkedDecoder(
        new CsvCutter(rules, limits, { ...decoding, maxRecordBytes }),
        limits.bytes,
        maxRecordBytes,
      )
    },
    record(raw, names, decoding) {
      const position = { offset: 0, line: 1, columns: [...(names ?? columns ?? [])] }
      const decoder = this.decoder({ ...decoding, position })
      const batches = [...decoder.push(Buffer.concat([raw, LINE_FEED])), ...decoder.end()]
      const [only] = batches
      const records = batches.reduce((sum, batch) => sum + batch.length, 0)
      if (only === undefined || records !== 1) return notOne(records)
      return only.record(0)
    },
  }
}

const LINE_FEED = Uint8Array.of(10)

/** The fault of a text that should be one record and is not. */
const notOne = (records: number): DecodeFault =>
  new DecodeFault("record_count", `expected one record, got ${records === 0 ? "none" : records}`, {
    expected: "one record",
  })

function checkedRules(options: CsvOptions): CsvRules {
  const { delimiter = ",", quote = '"', columns, nulls = [] } = options
  const faults: string[] = []
  if (!isSeparator(delimiter)) faults.push(`delimiter: ${JSON.stringify(delimiter)} is not one ASCII character`)
  if (quote !== "" && !isSeparator(quote))
    faults.push(`quote: ${JSON.stringify(quote)} is neither one ASCII character nor ""`)
  if (quote === delimiter) faults.push("quote: the same as delimiter")
  if (options.header === true && columns !== undefined)
    faults.push("columns: the header names them; give columns or a header")
  if (options.header === false && columns === undefined) faults.push("columns: without a header they must be named")
  if (columns?.length === 0) faults.push("columns: none are named")
  const twice = columns?.find((name, i) => columns.indexOf(name) !== i)
  if (twice !== undefined) faults.push(`columns: "${twice}" is named twice`)
  if (faults.length > 0)
    throw new SpillwayError(
      "CONFIG",
      `csv() is not well configured:\n${faults.map((fault) => `  - ${fault}`).join("\n")}`,
      {
        hint: "mend what is listed",
      },
    )
  return {
    delimiter: delimiter.charCodeAt(0),
    quote: quote === "" ? NO_BYTE : quote.charCodeAt(0),
    columns,
    nulls: new Set(nulls),
  }
}

const isSeparator = (text: string): boolean =>
  text.length === 1 && text > "\0" && text <= "\x7f" && text !== "\n" && text !== "\r"
