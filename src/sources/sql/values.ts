import { exactNumber, parseJsonExactly } from "../../core/exact-number.ts"
import { quoteIdentifier } from "../../postgres/quote.ts"

/** A column of the query's result. */
export interface QueryColumn {
  readonly name: string
  /** As `format_type` writes it. */
  readonly type: string
  /** The server's own text is an array or a row, which JSON says better. */
  readonly structured: boolean
}

/** How the server writes values down, whatever its settings: so that text means one thing. */
export const TEXT_SETTINGS = [
  "SET LOCAL TimeZone = 'UTC'",
  "SET LOCAL DateStyle = 'ISO, YMD'",
  "SET LOCAL IntervalStyle = 'iso_8601'",
  "SET LOCAL bytea_output = 'hex'",
  "SET LOCAL extra_float_digits = 1",
].join("; ")

/** The column of `q`, as the text that `valueOf` reads. */
export function asText({ name, structured }: QueryColumn): string {
  const column = `q.${quoteIdentifier(name)}`
  return structured ? `to_json(${column})::text` : `${column}::text`
}

/**
 * What a record carries for a value: numbers where they lose no digit and `exact` does not want text, `true` and `false`, parsed JSON (also of
 * arrays and rows), ISO 8601 for dates and times (with `Z` where the type has a zone), the server's text for all else.
 */
export function valueOf(text: string | null, { type, structured }: QueryColumn, exact: boolean): unknown {
  if (text === null) return null
  if (structured) return parseJsonExactly(text)
  switch (type.replace(/\(.*\)/, "")) {
    case "boolean":
      return text === "true"
    case "smallint":
    case "integer":
    case "oid":
    case "bigint":
    case "numeric":
    case "real":
    case "double precision":
      return finite(text) ? exactNumber(text, exact) : text
    case "json":
    case "jsonb":
      return parseJsonExactly(text)
    case "timestamp without time zone":
      return text.replace(LOCAL, "$1T$2")
    case "timestamp with time zone":
      return text.replace(IN_UTC, "$1T$2Z")
    default:
      return text
  }
}

const LOCAL = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)$/
const IN_UTC = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d+)?)\+00$/

const finite = (text: string): boolean => text !== "NaN" && !text.endsWith("Infinity")
