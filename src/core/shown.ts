/** How much of a value a message shows. */
const SHOWN = 80

/** A value as a message shows it: scalars as short JSON, everything else by its kind; never a character that PostgreSQL cannot hold. */
export function shown(value: unknown): string {
  switch (typeof value) {
    case "undefined":
      return "nothing"
    case "string":
      return shorten(JSON.stringify(value.length > SHOWN * 2 ? value.slice(0, SHOWN * 2) : value))
    case "number":
    case "boolean":
    case "bigint":
      return shorten(String(value))
    case "object":
      if (value === null) return "null"
      if (Array.isArray(value)) return "a list"
      return value instanceof Date ? "a date" : "an object"
    case "symbol":
    case "function":
      return `a ${typeof value}`
  }
}

const shorten = (text: string): string => (text.length <= SHOWN ? text : `${printable(text.slice(0, SHOWN - 1))}…`)

/** The kind of a value, for fingerprints. */
export function typeName(value: unknown): string {
  if (value === null) return "null"
  if (Array.isArray(value)) return "array"
  if (value instanceof Date) return "date"
  return typeof value
}

/** Text without what neither PostgreSQL's text nor its jsonb can hold. */
export const printable = (text: string): string => text.toWellFormed().replaceAll("\0", "\u{FFFD}")

/** A path to a field: keys and indices joined as `a.b[0]`; empty for the whole record. */
export function joinPath(path: readonly PropertyKey[]): string {
  let joined = ""
  for (const key of path) {
    if (typeof key === "number") joined += `[${key}]`
    else joined += joined === "" ? String(key) : `.${String(key)}`
  }
  return printable(joined)
}

/** The value at a path; undefined where there is none. */
export function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  let value = root
  for (const key of path) {
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined
    value = (value as Record<PropertyKey, unknown>)[key]
  }
  return value
}
