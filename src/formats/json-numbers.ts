/**
 * Up to 15 significant digits pass through a double unchanged, as long as the exponent has at most two. The pattern also
 * hits some strings, which costs a slower parse and nothing else.
 */
const LONG_NUMBER = /\d[\d.]{15}|\d[eE][-+]?\d{3}/

/** Whether `text` may hold a number that a double cannot carry exactly. */
export const hasLongNumber = (text: string): boolean => LONG_NUMBER.test(text)

/** What a reviver is told besides key and value. */
interface ReviverContext {
  readonly source?: string
}

type Reviver = (this: unknown, key: string, value: unknown, context: ReviverContext) => unknown

/** As `JSON.parse`, but numbers of the top-level properties in `exact` come as the text they are written as. */
export function parseExactly(text: string, exact: ReadonlySet<string>): unknown {
  const numbers: { holder: unknown; key: string; source: string }[] = []
  const note: Reviver = function (key, value, { source }) {
    if (typeof value === "number" && source !== undefined && exact.has(key)) numbers.push({ holder: this, key, source })
    return value
  }
  const root: unknown = JSON.parse(text, note as (key: string, value: unknown) => unknown)
  if (typeof root !== "object" || root === null) return root
  for (const { holder, key, source } of numbers)
    if (holder === root)
      Object.defineProperty(root, key, { value: source, writable: true, enumerable: true, configurable: true })
  return root
}
