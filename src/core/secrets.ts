/**
 * Values that must never surface. Process-wide on purpose: whoever learns a secret registers it, and every writer of
 * logs, letters and errors asks here, without the two knowing of one another.
 */
const registered = new Set<string>()

const MASK = "***"

/** Shorter values are not masked: they would blot out ordinary words. */
const SHORTEST_SECRET = 4

/**
 * From now on `value` is shown as `***` wherever text goes through `redact`, until the returned function is called.
 * Values under 4 characters are left alone.
 */
export function registerSecret(value: string): () => void {
  if (value.length >= SHORTEST_SECRET) registered.add(value)
  return () => registered.delete(value)
}

// user:password@ in an address. "host:8080/path@x" is an address with a port, not a password.
const ADDRESS_PASSWORD = /(:\/\/[^\s:@/]*:)(?!\d{1,5}(?:\/|$))[^\s"'<>]*@/g
const NAMED_SECRET =
  /\b((?:password|passwd|pwd|access_token|refresh_token|token|api[_-]?key|client_secret|secret)=)[^&\s"']+/gi
const BEARER = /\b(Bearer\s+)[\w.~+/-]{4,}=*/gi

/** `text` without registered secrets, passwords in addresses, bearer tokens and `password=` pairs. */
export function redact(text: string): string {
  let clean = text
  for (const secret of registered) clean = clean.replaceAll(secret, MASK)
  return clean.replace(ADDRESS_PASSWORD, `$1${MASK}@`).replace(NAMED_SECRET, `$1${MASK}`).replace(BEARER, `$1${MASK}`)
}

/** The same for every string inside a plain JSON value; keys stay. */
export function redactValue(value: unknown): unknown {
  if (typeof value === "string") return redact(value)
  if (Array.isArray(value)) return value.map(redactValue)
  if (value === null || typeof value !== "object") return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, redactValue(inner)]))
}
