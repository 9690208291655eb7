import { SpillwayError } from "../core/errors.ts"
import { redact } from "../core/secrets.ts"

const SECRET_PARAMETER = /token|key|secret|passw|pwd|signature|^sig$|^auth|credential|^code$|session/i

/** What a query has to hold before the names in it are looked at one by one: part of a suspicious name, or what may be one written otherwise. */
const SUSPICIOUS_QUERY = new RegExp(`${SECRET_PARAMETER.source.replaceAll(/[$^]/g, "")}|[%+]`, "i")

const MASK = "***"

/** Absolute, over http or https. Throws `CONFIG`; its message never shows what a password in the address could be. */
export function parseAddress(text: string, base?: URL): URL {
  // No cause: the parser's error carries the whole input.
  const url = URL.parse(text, base)
  if (url === null)
    throw new SpillwayError("CONFIG", "the address cannot be read", {
      where: redact(text.replace(/\/\/[^/?#]*@/, `//${MASK}@`).replace(/[?#].*$/s, "")),
      hint: "write it as https://host/path",
    })
  if (url.protocol === "http:" || url.protocol === "https:") return url
  throw new SpillwayError("CONFIG", `addresses that begin with ${url.protocol} cannot be fetched`, {
    where: shownAddress(url),
    hint: "use an http: or https: address",
  })
}

/** An address for messages: without user and password, without the values of parameters that may be secret. */
export function shownAddress(url: URL): string {
  const hasSecrets = url.username !== "" || url.password !== "" || hasSecretParameter(url)
  if (!hasSecrets && url.hash === "") return masked(url.href)
  const shown = new URL(url)
  shown.username = ""
  shown.password = ""
  shown.hash = ""
  for (const name of new Set(shown.searchParams.keys()))
    if (SECRET_PARAMETER.test(name)) shown.searchParams.set(name, MASK)
  return masked(shown.href)
}

const masked = (href: string): string => redact(href.includes("%2A") ? href.replaceAll("%2A%2A%2A", MASK) : href)

function hasSecretParameter(url: URL): boolean {
  if (!SUSPICIOUS_QUERY.test(url.search)) return false
  for (const name of url.searchParams.keys()) if (SECRET_PARAMETER.test(name)) return true
  return false
}

const SECRET_HEADER =
  /^(?:authorization|proxy-authorization|cookie)$|token|key|secret|passw|signature|credential|session/i

/** Shorter values are not masked: they would blot out ordinary words. */
const SHORTEST_SECRET = 4

/** The secrets a request carries, in every form in which a server might send them back. */
export function secretsOf(url: URL, headers: Readonly<Record<string, string>>): readonly string[] {
  const found: string[] = [url.username, url.password, decoded(url.username), decoded(url.password)]
  for (const [name, value] of url.searchParams)
    if (SECRET_PARAMETER.test(name)) found.push(value, encodeURIComponent(value))
  for (const [name, value] of Object.entries(headers)) {
    if (!SECRET_HEADER.test(name)) continue
    const [scheme = "", ...rest] = value.split(" ")
    const credentials = rest.join(" ")
    found.push(value, credentials)
    if (/^basic$/i.test(scheme)) found.push(...Buffer.from(credentials, "base64").toString("utf8").split(":"))
  }
  return longestFirst(found)
}

/** The secrets in a body that is JSON or a form, by the names of its fields. */
export function secretsOfBody(body: string | Uint8Array | undefined): readonly string[] {
  if (typeof body !== "string") return []
  const found: string[] = []
  const look = (name: string, value: unknown): void => {
    if (typeof value === "string" && SECRET_PARAMETER.test(name)) found.push(value, encodeURIComponent(value))
  }
  try {
    JSON.parse(body, look)
  } catch {
    for (const [name, value] of new URLSearchParams(body)) look(name, value)
  }
  return longestFirst(found)
}

const longestFirst = (secrets: readonly string[]): readonly string[] =>
  secrets.filter((secret) => secret.length >= SHORTEST_SECRET).sort((a, b) => b.length - a.length)

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** `text` without these secrets, nor any that is registered or looks like one. */
export function withoutSecrets(text: string, secrets: readonly string[]): string {
  let clean = text
  for (const secret of secrets) clean = clean.replaceAll(secret, MASK)
  return redact(clean)
}
