import { SpillwayError } from "../core/errors.ts"

/** A value that a check compares with: text, an integer that a double holds exactly, or a truth value. Fractions are written as text. */
export type Comparable = string | number | boolean

/**
 * A value as a quoted SQL literal without a type, so that it takes the type of the column it is compared with. Throws `CONFIG` for what no
 * column could equal exactly.
 */
export function literal(check: string, value: Comparable): string {
  if (typeof value === "number" && !Number.isSafeInteger(value))
    throw new SpillwayError("CONFIG", `${check}: ${value} is not a whole number that is held exactly`, {
      hint: 'write it as text: "0.01"',
    })
  const text = String(value)
  if (text.includes("\0") || !text.isWellFormed())
    throw new SpillwayError("CONFIG", `${check}: ${JSON.stringify(text)} holds a character that PostgreSQL cannot`, {
      hint: "leave it out",
    })
  const quoted = `'${text.replaceAll("'", "''").replaceAll("\\", "\\\\")}'`
  // A backslash means the same under every server setting only in the E'' form.
  return text.includes("\\") ? `E${quoted}` : quoted
}
