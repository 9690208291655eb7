import { redact } from "../core/secrets.ts"

/** What is shown in place of a secret. */
export const MASK = "***"

/** Names that say that what they hold is secret, in any spelling: `apiKey`, `API_KEY`, `user_password`. */
const SECRET_NAME =
  /(?:^|_)(?:password|passwd|pwd|passphrase|token|secret|api_?key|private_?key|authorization|credentials?)$/

/** Which fields of a letter are not shown. */
export interface Masking {
  /** Fields that are secret whatever their name says: paths such as `card`, `user.pin`, `items[].token`. */
  readonly secret: ReadonlySet<string>
  /** Fields that are shown all the same: the names of keys, or paths such as `user.token`. */
  readonly reveal: ReadonlySet<string>
}

export const masking = (reveal: Iterable<string> = [], secret: Iterable<string> = []): Masking => ({
  secret: new Set(secret),
  reveal: new Set(reveal),
})

/** The same with further fields that are secret. */
export const withSecretFields = (rule: Masking, fields: Iterable<string>): Masking => ({
  ...rule,
  secret: new Set([...rule.secret, ...fields]),
})

/** The fields that are secret whatever their name says and not revealed. */
export const hiddenFields = ({ secret, reveal }: Masking): ReadonlySet<string> =>
  new Set([...secret].filter((path) => !reveal.has(path) && !reveal.has(path.split(".").at(-1) ?? path)))

export const hidesFields = (rule: Masking): boolean => hiddenFields(rule).size > 0

/** Whether the value at this path is kept from view: its key, or one above it, is secret and not revealed by name. */
export function isMasked(path: readonly PropertyKey[], { secret, reveal }: Masking): boolean {
  let whole = ""
  let plain = ""
  for (const key of path) {
    if (typeof key === "number") {
      whole += "[]"
      if (secret.has(whole) && !reveal.has(whole)) return true
      continue
    }
    const name = String(key)
    whole += whole === "" ? name : `.${name}`
    plain += plain === "" ? name : `.${name}`
    const isSecret = isSecretName(name) || secret.has(whole) || secret.has(plain)
    if (isSecret && ![name, whole, plain].some((each) => reveal.has(each))) return true
  }
  return false
}

const isSecretName = (key: string): boolean =>
  SECRET_NAME.test(
    key
      .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
      .replace(/[-.\s]/g, "_")
      .toLowerCase(),
  )

/** A value with `***` for what is kept from view. Keys stay, `__proto__` too; a time, say, stays what it is. */
export function masked(value: unknown, rule: Masking, path: readonly PropertyKey[] = []): unknown {
  if (path.length > 0 && isMasked(path, rule)) return value === null ? null : MASK
  if (typeof value === "string") return redact(value)
  if (Array.isArray(value)) return value.map((inner, i) => masked(inner, rule, [...path, i]))
  if (!isPlainObject(value)) return value
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

function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}
