/** What stands for a NUL, which neither text nor jsonb can hold. */
const NUL_SYMBOL = "␀"

/** `text` as PostgreSQL can store it: no NUL, no half of a surrogate pair. */
export const storableText = (text: string): string => text.toWellFormed().replaceAll("\0", NUL_SYMBOL)

/** At most `limit` characters of it, cut between characters. */
export function storablePrefix(text: string, limit: number): string {
  const clean = storableText(text)
  if (clean.length <= limit) return clean
  return clean.slice(0, limit).replace(/[\uD800-\uDBFF]$/, "")
}

/** What JSON text writes for a NUL or half of a surrogate pair (and, seldom, for a backslash before such letters). */
const UNSTORABLE = /\\u(?:0000|d[89a-f])/i

/** JSON text of a value that PostgreSQL can store as it is; undefined for all that needs a closer look. */
export function plainJson(value: unknown): string | undefined {
  try {
    const text = JSON.stringify(value) as string | undefined
    return text === undefined || UNSTORABLE.test(text) ? undefined : text
  } catch {
    return undefined
  }
}

/** JSON text for a jsonb column. */
export function storableJson(value: unknown): string {
  return plainJson(value) ?? carefulJson(value)
}

function carefulJson(value: unknown): string {
  const clean = (inner: unknown): unknown => {
    if (typeof inner === "string") return storableText(inner)
    if (typeof inner === "bigint") return inner.toString()
    if (Array.isArray(inner)) return inner.map(clean)
    if (inner === null || typeof inner !== "object") return inner
    if ("toJSON" in inner) return clean(JSON.parse(JSON.stringify(inner)))
    return Object.fromEntries(Object.entries(inner).map(([key, item]) => [storableText(key), clean(item)]))
  }
  return JSON.stringify(clean(value) ?? null)
}
