import { SpillwayError } from "../core/errors.ts"

/** PostgreSQL silently cuts longer names (NAMEDATALEN - 1): two columns would become one. */
const MAX_IDENTIFIER_BYTES = 63

/** `name` as a quoted SQL identifier. Throws `CONFIG` when PostgreSQL could not hold it as it is: empty, NUL, above 63 bytes of UTF-8. */
export function quoteIdentifier(name: string): string {
  const fault = faultOf(name)
  if (fault !== undefined)
    throw new SpillwayError("CONFIG", `the name ${JSON.stringify(name)} ${fault}`, {
      hint: `choose a name of 1 to ${MAX_IDENTIFIER_BYTES} bytes`,
    })
  return `"${name.replaceAll('"', '""')}"`
}

/** `schema.name`, both quoted. Throws `CONFIG` as `quoteIdentifier` does. */
export const quoteTable = (schema: string, name: string): string =>
  `${quoteIdentifier(schema)}.${quoteIdentifier(name)}`

/** `text` as a SQL string literal, right under either setting of `standard_conforming_strings`. Throws `CONFIG` on NUL, which PostgreSQL text cannot hold. */
export function quoteLiteral(text: string): string {
  if (text.includes("\0"))
    throw new SpillwayError("CONFIG", "a text for the database contains a NUL character", { hint: "remove it" })
  const doubled = text.replaceAll("'", "''")
  return doubled.includes("\\") ? `E'${doubled.replaceAll("\\", "\\\\")}'` : `'${doubled}'`
}

function faultOf(name: string): string | undefined {
  if (name === "") return "is empty"
  if (name.includes("\0")) return "contains a NUL character"
  if (!name.isWellFormed()) return "is not valid Unicode"
  const bytes = Buffer.byteLength(name)
  if (bytes > MAX_IDENTIFIER_BYTES) return `is ${bytes} bytes long; PostgreSQL keeps at most ${MAX_IDENTIFIER_BYTES}`
  return undefined
}
