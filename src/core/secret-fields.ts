import type { Fault } from "./records.ts"

/**
 * Paths of fields whose values are not shown: keys joined by dots, places in lists as `[]`, such as `card`, `user.pin`, `items[].token`.
 */
export type SecretFields = ReadonlySet<string>

const MASK = "***"

/** Shorter texts may be part of ordinary words; of them only what a message says it got is left out. */
const SHORTEST_FOUND = 4
/** A message shows no more than the beginning of a long text. */
const SHOWN_BEGINNING = 40

/** Whether the value at a path such as `items[3].token` is secret: the field is, or one that it lies in. */
export function isSecretField(path: string, secrets: SecretFields): boolean {
  if (secrets.size === 0) return false
  const field = path.replace(/\[\d+\]/g, "[]")
  for (
    let end = field.length;
    end > 0;
    end = Math.max(field.lastIndexOf(".", end - 1), field.lastIndexOf("[", end - 1))
  )
    if (secrets.has(field.slice(0, end))) return true
  return false
}

/** What was found wrong with a record, without the values of its secret fields. `record` as it was judged, or as it was decoded. */
export function withoutSecrets(fault: Fault, record: unknown, secrets: SecretFields): Fault {
  if (secrets.size === 0) return fault
  const message = cleanMessage(fault, record, secrets)
  return message === fault.message ? fault : { ...fault, message }
}

function cleanMessage({ message, path = "", step }: Fault, record: unknown, secrets: SecretFields): string {
  // Nobody can tell which part of a text that is not JSON is secret.
  if (step === "decode") return message.replace(JSON_SNIPPET, "")
  const isOwn = isSecretField(path, secrets)
  let clean = isOwn ? message.replace(/, got [^]*$/, `, got ${MASK}`) : message
  for (const text of secretTexts(record, secrets)) {
    if (!clean.includes(text.slice(0, SHOWN_BEGINNING))) continue
    // A sentence about the field, or one that shows the value in part, may quote it in any way: none of it is kept.
    if (isOwn || !clean.includes(text)) return `${path === "" ? "record" : path}: is not valid, got ${MASK}`
    clean = clean.replaceAll(text, MASK)
  }
  return clean
}

/** What JSON.parse quotes of a text. */
const JSON_SNIPPET = /,? *(?:\.\.\.)?"[^]*(?= is not valid JSON)/

/** How the secret values of a record may stand in a message: as they are, and as JSON; the longest first. */
function secretTexts(record: unknown, secrets: SecretFields): string[] {
  const texts = new Set<string>()
  const walk = (value: unknown, path: string, isSecret: boolean): void => {
    if (Array.isArray(value)) value.forEach((item) => walk(item, `${path}[]`, isSecret || secrets.has(`${path}[]`)))
    else if (typeof value === "object" && value !== null)
      for (const [key, inner] of Object.entries(value)) {
        const field = path === "" ? key : `${path}.${key}`
        walk(inner, field, isSecret || secrets.has(field))
      }
    else if (isSecret && (typeof value === "string" || typeof value === "number" || typeof value === "bigint"))
      for (const form of [String(value), JSON.stringify(String(value)).slice(1, -1)]) texts.add(form)
  }
  walk(record, "", false)
  return [...texts].filter((text) => text.length >= SHORTEST_FOUND).sort((a, b) => b.length - a.length)
}
