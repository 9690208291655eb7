import { SpillwayError } from "../core/errors.ts"

/**
 * The names in a header, checked: each has text and stands there once. Throws `DECODE`. A column without a name is
 * refused, as no schema could name it and no table could hold it.
 */
export function checkedHeader(names: readonly (string | null)[], line: number): readonly string[] {
  const seen = new Map<string, number>()
  return names.map((name, i) => {
    if (name === null || name.trim() === "")
      throw headerError(
        `column ${i + 1} of ${names.length} in the header has no name`,
        line,
        "give every column a name in the header",
      )
    if (name.includes("\r"))
      throw headerError("the lines end in a carriage return alone", line, "convert the line ends first: tr '\\r' '\\n'")
    const before = seen.get(name)
    if (before !== undefined)
      throw headerError(
        `the header names "${name}" twice: columns ${before} and ${i + 1}`,
        line,
        "give each column its own name in the header",
      )
    seen.set(name, i + 1)
    return name
  })
}

/** An error that holds the whole file, as without a header no record means anything. */
export function headerError(message: string, line: number, hint: string): SpillwayError {
  return new SpillwayError("DECODE", message, { hint, where: `line ${line}`, context: { line } })
}
