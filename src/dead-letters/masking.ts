import { redact } from "../core/secrets.ts"

/** What is shown in place of a secret. */
export const MASK = "***"

/** Names that say that what they hold is secret, in any spelling: `apiKey`, `API_KEY`, `user_password`. */
const SECRET_NAME =
  /(?:^|_)(?:password|passwd|pwd|passphrase|token|secret|api_?key|private_?key|authorization|credentials?)$/

/** Which fields of a letter are not shown. */
export interface Masking {
  /** Fields that are secret whatever their name says. */
  readonly secret: ReadonlySet<string>
  /** Fields that are shown all the same: the names of keys, or paths such as `user.token`. */
  readonly reveal: ReadonlySet<string>
}

export const masking = (reveal: Iterable<string> = [], secret: Iterable<string> = []): Masking => ({
  secret: new Set(secret),
  reveal: new Set(reveal),
})

/** Whether the value at this path is kept from view: its key, or one above it, is secret and not revealed by name. */
export function isMasked(path: readonly PropertyKey[], { secret, reveal }: Masking): boolean {
  const keys = path.filter((key) => typeof key === "string")
  return keys.some((key, i) => {
    const whole = keys.slice(0, i + 1).join(".")
    return (isSecretName(key) || secret.has(key) || secret.has(whole)) && !reveal.has(key) && !reveal.has(whole)
  })
}

const isSecretName = (key: string): boolean =>
  SECRET_NAME.test(
    key
      .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
      .replace(/[-.\s]/g, "_")
      .toLowerCase(),
  )

/** A plain JSON value with `***` for what is kept from view. Keys stay, `__proto__` too. */
export function masked(value: unknown, rule: Masking, path: readonly PropertyKey[] = []): unknown {
  if (path.length > 0 && isMasked(path, rule)) return value === null ? null : MASK
  if (typeof value === "string") return redact(value)
  if (Array.isArray(value)) return value.map((inner, i) => masked(inner, rule, [...path, i]))
  if (value === null || typeof value !== "object") return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, masked(inner, rule, [...path, key])]))
}

/** A message without what was got, which is the value of a field that is kept from view. */
export const maskedMessage = (message: string, path: readonly PropertyKey[], rule: Masking): string =>
  isMasked(path, rule) ? message.replace(/, got .*$/s, `, got ${MASK}`) : redact(message)

/** Whether a record has anything that is kept from view: then its raw bytes are not shown either. */
export function hidesAnything(value: unknown, rule: Masking, path: readonly PropertyKey[] = []): boolean {
  if (path.length > 0 && isMasked(path, rule)) return true
  if (value === null || typeof value !== "object") return false
  const inner = Array.isArray(value) ? value.entries() : Object.entries(value)
  for (const [key, item] of inner) if (hidesAnything(item, rule, [...path, key])) return true
  return false
}
