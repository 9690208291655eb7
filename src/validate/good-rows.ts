import { SpillwayError } from "../core/errors.ts"
import type { RecordObject } from "../core/records.ts"

export type GoodFormat = "csv" | "jsonl"

/** Writes valid records as lines, each with its line end. */
export interface GoodRows {
  readonly format: GoodFormat
  /** The columns of a CSV, once they are known. */
  readonly columns: readonly string[] | undefined
  /** Names the columns where the schema did not; the first call counts. */
  meetColumns(columns: readonly string[]): void
  /** What stands before the first row: the header of a CSV, once; otherwise nothing. */
  header(): string
  line(record: RecordObject): string
}

/** Digits are kept where a number would lose them. */
const plainValue = (_key: string, value: unknown): unknown => (typeof value === "bigint" ? value.toString() : value)

export const jsonlRows: GoodRows = {
  format: "jsonl",
  columns: undefined,
  meetColumns: () => undefined,
  header: () => "",
  line: (record) => `${JSON.stringify(record, plainValue)}\n`,
}

/**
 * CSV as RFC 4180 has it, with `\n`; a field is in quotes where it has to be. Absent is blank, lists and objects are JSON. The columns are
 * `known`, or those of the first input that names its own, or the properties of the first record. A property without a column is left
 * out when the columns are `known` (`leftOut` is told, once for each); otherwise it throws `CONFIG`, as there the record is all there is to go by.
 */
export function csvRows(known: readonly string[] | undefined, leftOut: (property: string) => void): GoodRows {
  let columns = known
  let headed = false
  let inColumns = new Set(columns)
  const told = new Set<string>()

  const setColumns = (names: readonly string[]): void => {
    columns = names
    inColumns = new Set(names)
  }
  const surplus = (property: string): void => {
    if (told.has(property)) return
    if (known === undefined)
      throw new SpillwayError(
        "CONFIG",
        `the CSV has no column for ${JSON.stringify(property)}, which a later record has`,
        {
          hint: "write JSON lines: --good-out FILE.jsonl",
        },
      )
    told.add(property)
    leftOut(property)
  }
  return {
    format: "csv",
    get columns() {
      return columns
    },
    meetColumns(names) {
      if (columns === undefined) setColumns(names)
    },
    header() {
      if (headed || columns === undefined) return ""
      headed = true
      return csvLine(columns)
    },
    line(record) {
      let head = ""
      if (columns === undefined) {
        setColumns(Object.keys(record))
        head = this.header()
      }
      for (const property in record) if (!inColumns.has(property) && record[property] !== undefined) surplus(property)
      return head + csvLine((columns ?? []).map((column) => fieldText(record[column])))
    },
  }
}

const NEEDS_QUOTES = /[",\r\n]/

const quoted = (text: string): string => (NEEDS_QUOTES.test(text) ? `"${text.replaceAll('"', '""')}"` : text)

/** A line that is wholly empty would be no record. */
const csvLine = (fields: readonly string[]): string => `${fields.map(quoted).join(",") || '""'}\n`

function fieldText(value: unknown): string {
  switch (typeof value) {
    case "string":
      return value
    case "number":
    case "bigint":
    case "boolean":
      return String(value)
    case "object":
      if (value === null) return ""
      return value instanceof Date ? value.toISOString() : JSON.stringify(value, plainValue)
    case "undefined":
    case "symbol":
    case "function":
      return ""
  }
}
