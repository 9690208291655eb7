import { SpillwayError } from "../core/errors.ts"
import type { SuppressionRule } from "./suppression.ts"

/** An answer with a status below 400. */
export interface HttpHead {
  readonly kind: "response"
  readonly status: number
  /** Names in lower case; several of one name are joined by a comma. */
  readonly headers: Readonly<Record<string, string>>
  /** Where it came from in the end, after redirects. May carry secrets of the request. */
  readonly url: URL
  /** Tries it took. */
  readonly attempts: number
}

export interface HttpResponse extends HttpHead {
  /** Decompressed. */
  readonly body: Buffer
  /** The body as UTF-8. Throws `DECODE` when it is not. */
  text(): string
  /** The body as JSON. Throws `DECODE`. */
  json(): unknown
}

export interface HttpStream extends HttpHead {
  /** Decompressed, to be read once. Failures while reading have the same codes, and are not retried. */
  readonly body: AsyncIterable<Uint8Array>
  /** Closes the connection when the body is not wanted. */
  discard(): void
}

/** A failure that a suppression rule expects. */
export interface SuppressedFailure {
  readonly kind: "suppressed"
  readonly rule: SuppressionRule
  readonly error: SpillwayError
}

export function response(head: HttpHead, body: Buffer, where: string): HttpResponse {
  const text = (): string => decodeText(body, where)
  return { ...head, body, text, json: () => parseJson(text(), where) }
}

function decodeText(body: Buffer, where: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body)
  } catch (error) {
    throw new SpillwayError("DECODE", "the body is not UTF-8", {
      class: "terminal",
      where,
      cause: error,
      hint: "ask the server for UTF-8, or take the bytes of the body",
    })
  }
}

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch (error) {
    // The parser's message quotes the body, which may hold anything.
    const [place] =
      /at position \d+(?: \(line \d+ column \d+\))?/.exec(error instanceof Error ? error.message : "") ?? []
    throw new SpillwayError("DECODE", `the body is not JSON${place === undefined ? "" : ` ${place}`}`, {
      class: "terminal",
      where,
      hint: "see what the address returns; ask who runs the server if it should be JSON",
    })
  }
}

/** Media types that an answer may have. `json`: `application/json`, or any type that ends in `+json`. */
export type ExpectedType = "json" | readonly string[]

/** Throws `DECODE` when the answer names another type. One that names none passes. */
export function requireType(
  expected: ExpectedType | undefined,
  headers: Readonly<Record<string, string>>,
  where: string,
): void {
  const type = (headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase() ?? ""
  if (expected === undefined || type === "") return
  const fits = expected === "json" ? /^(?:application|text)\/(?:[\w.+-]+\+)?json$/.test(type) : expected.includes(type)
  if (fits) return
  throw new SpillwayError(
    "DECODE",
    `the answer is ${JSON.stringify(type.slice(0, 80))}, not ${expected === "json" ? "JSON" : expected.join(" or ")}`,
    {
      class: "terminal",
      where,
      hint: "a page for people in place of data often means a wrong address or a login that is missing",
    },
  )
}
