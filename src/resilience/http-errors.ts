import { SpillwayError, systemCode, type ErrorClass, type ErrorCode } from "../core/errors.ts"
import { printable } from "../core/shown.ts"
import { httpDate, retryAfterMs } from "./retry-after.ts"

interface Meaning {
  readonly code: ErrorCode
  readonly message: string
  readonly hint: string
  /** Nothing of the request was sent: it may be repeated whatever its method. */
  readonly unsent?: boolean
  readonly class?: ErrorClass
}

const DNS_CODES = new Set(["ENOTFOUND", "EAI_AGAIN", "EAI_NODATA", "EAI_NONAME", "EAI_FAIL", "ENODATA", "ESERVFAIL"])
const TLS_CODES = new Set([
  "CERT_HAS_EXPIRED",
  "CERT_NOT_YET_VALID",
  "CERT_REVOKED",
  "CERT_REJECTED",
  "CERT_UNTRUSTED",
  "CERT_SIGNATURE_FAILURE",
  "CERT_CHAIN_TOO_LONG",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "INVALID_CA",
  "INVALID_PURPOSE",
  "HOSTNAME_MISMATCH",
  "EPROTO",
])
const UNREACHABLE_CODES = new Set([
  "ECONNREFUSED",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENETDOWN",
  "EHOSTDOWN",
  "EADDRNOTAVAIL",
])

const UNREACHABLE_HINT = "check that host and port are right and reachable from this machine (firewall, VPN, proxy)"
const SLOW_HINT = "the server is slow or overloaded; raise the time-out only when slow answers are normal there"
const CUT_HINT = "the server or something on the way closes connections early; if it stays so, ask who runs it"

/** What went wrong below HTTP, as a SpillwayError with the original as `cause`. `where` is the address as it may be shown. */
export function transportError(thrown: unknown, where: string): SpillwayError {
  const ours = [...causes(thrown)].find((error) => error instanceof SpillwayError)
  if (ours !== undefined) return ours
  const { code, message, hint, unsent = false, class: as } = meaningOf(thrown)
  return new SpillwayError(code, message, { class: as, where, hint, cause: thrown, context: { unsent } })
}

function meaningOf(thrown: unknown): Meaning {
  for (const error of causes(thrown)) {
    const found = meaningOfCode(systemCode(error) ?? "", error)
    if (found !== undefined) return found
  }
  const said = thrown instanceof Error ? thrown.message : String(thrown)
  return { code: "NETWORK", message: `the exchange failed: ${said}`, hint: UNREACHABLE_HINT }
}

/** An error and what lies under it; of several addresses that were tried, each. */
function* causes(thrown: unknown): Generator<unknown> {
  for (let error = thrown, depth = 0; error !== undefined && depth < 10; depth++) {
    yield error
    if (error instanceof AggregateError) yield* error.errors
    error = error instanceof Error ? error.cause : undefined
  }
}

function meaningOfCode(code: string, error: unknown): Meaning | undefined {
  if (DNS_CODES.has(code))
    return {
      code: "DNS",
      message: `the host name could not be resolved (${code})`,
      hint: "check the spelling of the host name, and the name service of this machine",
      unsent: true,
    }
  if (TLS_CODES.has(code) || code.startsWith("ERR_TLS_") || code.startsWith("ERR_SSL_"))
    return {
      code: "TLS",
      message: `no trusted encrypted connection: ${error instanceof Error ? error.message.split("\n")[0] : code} (${code})`,
      hint: "check the certificate's dates, names and issuer, and this machine's clock; for a private authority set NODE_EXTRA_CA_CERTS",
      unsent: true,
    }
  if (UNREACHABLE_CODES.has(code))
    return { code: "NETWORK", message: `no connection (${code})`, hint: UNREACHABLE_HINT, unsent: true }
  if (code === "UND_ERR_CONNECT_TIMEOUT" || code === "ETIMEDOUT")
    return { code: "TIMEOUT", message: "no connection in time", hint: UNREACHABLE_HINT, unsent: code !== "ETIMEDOUT" }
  if (code === "UND_ERR_HEADERS_TIMEOUT") return { code: "TIMEOUT", message: "no answer in time", hint: SLOW_HINT }
  if (code === "UND_ERR_BODY_TIMEOUT") return { code: "TIMEOUT", message: "the body stopped coming", hint: SLOW_HINT }
  if (code === "UND_ERR_RES_CONTENT_LENGTH_MISMATCH" || code === "Z_BUF_ERROR")
    return { code: "NETWORK", message: "the body was cut short", hint: CUT_HINT }
  if (code === "UND_ERR_HEADERS_OVERFLOW")
    return {
      code: "RESOURCE",
      message: "the headers are too large",
      hint: "ask who runs the server; headers end at 16 KiB",
    }
  if (code.startsWith("HPE_"))
    return { code: "NETWORK", message: `the answer is not HTTP as it should be (${code})`, hint: CUT_HINT }
  if (code === "ECONNRESET" || code === "EPIPE" || code === "ECONNABORTED" || code === "UND_ERR_SOCKET")
    return { code: "NETWORK", message: `the connection broke (${code})`, hint: CUT_HINT }
  if (
    code.startsWith("Z_") ||
    code === "ERR__ERROR_FORMAT_PADDING_1" ||
    code.startsWith("ERR_BROTLI") ||
    code.startsWith("ERR__ERROR_") ||
    code.startsWith("ZSTD_")
  )
    return {
      code: "DECODE",
      class: "terminal",
      message: `the compressed body is damaged (${code})`,
      hint: "the server sends something else than its Content-Encoding says; ask who runs it",
    }
  if (code === "EMFILE" || code === "ENFILE" || code === "ENOMEM" || code === "ENOBUFS")
    return {
      code: "RESOURCE",
      message: `this machine has no room for one more connection (${code})`,
      hint: "look at `ulimit -n`, and make fewer calls at once",
    }
  if (code === "UND_ERR_INVALID_ARG" || code === "ERR_INVALID_CHAR" || code === "ERR_INVALID_ARG_TYPE")
    return {
      code: "CONFIG",
      message: `the request cannot be sent: ${error instanceof Error ? error.message : code}`,
      hint: "correct the method or the headers of the request",
    }
  return undefined
}

/** How much of an answer a message shows. */
export const EXCERPT_BYTES = 200

export interface RefusedAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** The beginning of the body. */
  readonly excerpt: string
  readonly where: string
  /** Milliseconds since the epoch here. */
  readonly now: number
}

/** An answer with a status of 400 or more, as an error. Transient and throttled ones have the asked-for pause in `context.retryAfterMs`. */
export function statusError(answer: RefusedAnswer): SpillwayError {
  const { status, headers, where } = answer
  const { code, hint, class: as } = meaningOfStatus(status, headers["retry-after"] !== undefined)
  // A terminal must not be told what to do by a server.
  const excerpt = printable(answer.excerpt.replace(/[\s\p{Cc}]+/gu, " ").trim()).slice(0, EXCERPT_BYTES)
  const asked =
    headers["retry-after"] === undefined ? undefined : retryAfterMs(headers["retry-after"], serverTime(answer))
  return new SpillwayError(code, `the server answered ${status}${excerpt === "" ? "" : `: ${excerpt}`}`, {
    class: as,
    where,
    hint,
    context: { status, ...(asked === undefined ? {} : { retryAfterMs: asked }) },
  })
}

/** A date in `Retry-After` is on the server's clock. */
const serverTime = (answer: RefusedAnswer): number => httpDate(answer.headers["date"] ?? "") ?? answer.now

function meaningOfStatus(status: number, asksForPause: boolean): { code: ErrorCode; hint: string; class?: ErrorClass } {
  if (status === 429) return { code: "HTTP_429", hint: "call less often, or ask for a larger quota" }
  if (status === 401 || status === 407)
    return { code: "AUTH", hint: "check the credentials that are sent, and whether they expired" }
  if (status === 403) return { code: "AUTH", hint: "check that these credentials may read this address" }
  if (status === 408 || status === 425)
    return { code: "HTTP_4XX", hint: "the server did not take the request now; try again", class: "transient" }
  if (status < 500) return { code: "HTTP_4XX", hint: "check the address, the parameters and the version of the API" }
  if (asksForPause)
    return { code: "HTTP_5XX", hint: "the server asks for a pause; call again later", class: "throttled" }
  return { code: "HTTP_5XX", hint: "the trouble is on the server's side; call again later, or ask who runs it" }
}
