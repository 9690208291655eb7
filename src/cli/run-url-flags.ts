import { isUtf8 } from "node:buffer"
import { resolve } from "node:path"
import { SpillwayError, systemCode } from "../core/errors.ts"
import { registerSecret } from "../core/secrets.ts"
import { milliseconds } from "../resilience/duration.ts"
import { parseAddress, secretsOf, secretsOfBody } from "../resilience/http-address.ts"
import { usageError } from "./errors.ts"
import type { Host } from "./host.ts"

export interface RunUrlFlags {
  url: string
  method?: string
  header?: string[]
  data?: string
  retries: string
  timeout: string
  maxTime?: string
  maxBytes?: string
  out?: string
  suppress?: string[]
  publicOnly?: boolean
}

/** What the flags ask for. Durations in milliseconds. */
export interface RunUrlSettings {
  readonly url: URL
  readonly method: string
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer | undefined
  readonly attempts: number
  readonly timeoutMs: number
  readonly deadlineMs: number
  readonly maxBytes: number | undefined
  /** Undefined for standard output. */
  readonly out: string | undefined
  readonly publicOnly: boolean
}

const MOST_RETRIES = 1_000

/** The flags, checked, every fault at once; none of the secrets in them is shown from then on. Throws `CONFIG`. */
export async function runUrlSettings(host: Host, flags: RunUrlFlags): Promise<RunUrlSettings> {
  const faults: string[] = []
  const body = flags.data === undefined ? undefined : await dataOf(flags.data, host)
  const given = headersOf(flags.header ?? [], faults)
  hide(secretsOfBody(body?.toString()))
  hide(secretHeaders(given))
  const url = parseAddress(flags.url)
  hide(secretsOf(url, given))
  const timeoutMs = durationOf("--timeout", flags.timeout, faults)
  const deadlineMs = flags.maxTime === undefined ? Infinity : durationOf("--max-time", flags.maxTime, faults)
  const retries = wholeOf("--retries", flags.retries, MOST_RETRIES, faults)
  const maxBytes = flags.maxBytes === undefined ? undefined : wholeOf("--max-bytes", flags.maxBytes, Infinity, faults)
  const out = flags.out === "-" ? undefined : flags.out
  if (out === undefined && host.output.json)
    faults.push("the body and the answer of --json cannot both go to standard output; name a file with --out")
  if (faults.length > 0) throw usageError(faults.join("; "), "see spillway run-url --help")
  return {
    url,
    method: (flags.method ?? (body === undefined ? "GET" : "POST")).toUpperCase(),
    headers: body === undefined ? given : { "content-type": typeOf(body), ...given },
    body,
    attempts: retries + 1,
    timeoutMs,
    deadlineMs,
    maxBytes,
    out,
    publicOnly: flags.publicOnly === true,
  }
}

/** The text itself, or what is in the file after `@`, byte by byte. */
async function dataOf(data: string, { directory, ports }: Host): Promise<Buffer> {
  if (!data.startsWith("@")) return Buffer.from(data)
  const path = resolve(directory, data.slice(1))
  try {
    const chunks: Buffer[] = []
    for await (const chunk of ports.files.chunks(path)) chunks.push(Buffer.from(chunk))
    return Buffer.concat(chunks)
  } catch (error) {
    throw new SpillwayError("CONFIG", `the file of --data cannot be read (${systemCode(error) ?? String(error)})`, {
      where: path,
      cause: error,
      hint: "name a file after @, or give the text itself",
    })
  }
}

/** Values are never repeated in a message: they may be secrets. */
function headersOf(lines: readonly string[], faults: string[]): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const [index, line] of lines.entries()) {
    const [, name, value] = /^([!#$%&'*+.^_`|~\w-]+)\s*:\s*(.*)$/s.exec(line) ?? []
    if (name === undefined || value === undefined) faults.push(`--header no. ${index + 1} does not read Name: value`)
    else if (/[\r\n\0]/.test(value)) faults.push(`--header ${name} has a line break in its value`)
    else headers[name.toLowerCase()] = value.trim()
  }
  return headers
}

/** Whatever else a header is for, its value may be a credential. */
const OPEN_HEADERS =
  /^(?:accept(?:-.*)?|content-(?:type|language|encoding)|user-agent|range|if-.*|cache-control|pragma|origin|host|te|dnt|expect|idempotency-key)$/

const secretHeaders = (headers: Readonly<Record<string, string>>): readonly string[] =>
  Object.entries(headers).flatMap(([name, value]) => (OPEN_HEADERS.test(name) ? [] : [value]))

function hide(secrets: readonly string[]): void {
  for (const secret of secrets) registerSecret(secret)
}

function durationOf(flag: string, text: string, faults: string[]): number {
  try {
    const ms = milliseconds(text, flag)
    if (ms > 0) return ms
  } catch {
    // Told below, in the words of the command line.
  }
  faults.push(`${flag} ${text} is not a duration such as 30s or 2m`)
  return 0
}

function wholeOf(flag: string, text: string, most: number, faults: string[]): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && value <= most && Number.isSafeInteger(value)) return value
  faults.push(`${flag} ${text} is not a whole number${most === Infinity ? "" : ` from 0 to ${most}`}`)
  return 0
}

function typeOf(body: Buffer): string {
  if (!isUtf8(body)) return "application/octet-stream"
  try {
    if (typeof JSON.parse(body.toString()) === "object") return "application/json"
  } catch {
    // A form, then, as other tools take it.
  }
  return "application/x-www-form-urlencoded"
}
