import { SpillwayError } from "../core/errors.ts"

/** PostgreSQL cuts longer names short without an error. */
const MAX_NAME_BYTES = 63

/** What is neither letter, digit nor underscore, at either end. */
const OUTER_NOISE = /^[^\p{L}\p{M}\p{Nd}_]+|[^\p{L}\p{M}\p{Nd}_]+$/gu

/**
 * The column name of a property: `InvoiceNo` → `invoice_no`, `HTTPServer` → `http_server`, `userId2` → `user_id2`,
 * `Unit Price` → `unit_price`. Throws `CONFIG` when nothing is left of it or it is longer than 63 bytes.
 */
export function snakeCase(property: string): string {
  const name = property
    .replace(OUTER_NOISE, "")
    .replace(/([\p{Ll}\p{Nd}])(\p{Lu})/gu, "$1_$2")
    .replace(/(\p{Lu})(\p{Lu}\p{Ll})/gu, "$1_$2")
    .toLowerCase()
    .replace(/[^\p{L}\p{M}\p{Nd}_]+/gu, "_")
  return checkedName(property, name)
}

/** `name` when it can be a column's name. Throws `CONFIG`. */
export function checkedName(property: string, name: string): string {
  const what = `the column name ${JSON.stringify(name)} of the property ${JSON.stringify(property)}`
  const hint = `give it one: columns: { ${JSON.stringify(property)}: { name: "…" } }`
  if (name === "") throw new SpillwayError("CONFIG", `${what} is empty`, { hint })
  if (name.includes("\0") || !name.isWellFormed())
    throw new SpillwayError("CONFIG", `${what} holds a character that PostgreSQL cannot`, { hint })
  if (Buffer.byteLength(name) > MAX_NAME_BYTES)
    throw new SpillwayError("CONFIG", `${what} is longer than ${MAX_NAME_BYTES} bytes`, { hint })
  return name
}
