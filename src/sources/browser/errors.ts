import { SpillwayError, type ErrorCode } from "../../core/errors.ts"

/** What the browser's messages hold, and the code it means. */
const CODES: readonly (readonly [RegExp, ErrorCode])[] = [
  [/ERR_NAME_NOT_RESOLVED|ERR_NAME_RESOLUTION_FAILED/, "DNS"],
  [/ERR_CERT|ERR_SSL/, "TLS"],
  [/ERR_(CONNECTION|ADDRESS|NETWORK|INTERNET|EMPTY_RESPONSE|SOCKET|TUNNEL|PROXY)/, "NETWORK"],
  [/ERR_TIMED_OUT|ERR_CONNECTION_TIMED_OUT|Timeout \d+ms exceeded/, "TIMEOUT"],
]

/** Why a page could not be loaded or left. */
export function pageError(error: unknown, where: string): SpillwayError {
  if (error instanceof SpillwayError) return error
  const message = firstLine(error)
  const code = CODES.find(([pattern]) => pattern.test(message))?.[1] ?? "UNKNOWN"
  return new SpillwayError(code, message, {
    where,
    hint: "open the address in a browser; it may ask for something, or be slow",
    cause: error,
  })
}

/** A page that the server answers with a failure. */
export function statusError(status: number, where: string): SpillwayError {
  const code = status === 429 ? "HTTP_429" : status >= 500 ? "HTTP_5XX" : "HTTP_4XX"
  return new SpillwayError(code, `the page answers with status ${status}`, {
    where,
    hint: status >= 500 || status === 429 ? "the server is in trouble: run again later" : "check the address",
    context: { status },
  })
}

export function launchError(error: unknown): SpillwayError {
  return new SpillwayError("RESOURCE", `the browser cannot be started: ${firstLine(error)}`, {
    where: "browser()",
    hint: 'install Google Chrome, or name a Chromium: launch: { executablePath: "/usr/bin/chromium" }',
    cause: error,
  })
}

/** Without the call log, the colours and the address (which may hold a password) that playwright adds. */
export function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)

  return (message.split("\n")[0] ?? "")
    .replace(/\u001b\[\d+m/g, "")
    .replace(/^\w+\.\w+: /, "")
    .replace(/ at https?:\/\/\S+$/, "")
}
