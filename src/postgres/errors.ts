import { SpillwayError, systemCode, type ErrorCode } from "../core/errors.ts"

interface ServerError {
  readonly code?: string
  readonly message: string
  readonly detail?: string
  readonly hint?: string
  readonly where?: string
  readonly table?: string
  readonly column?: string
  readonly constraint?: string
}

const SOCKET_CODES = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ECONNABORTED",
])

/** SQLSTATEs (PostgreSQL, appendix A) of a server that is going down, starting up, or has no room for one more. */
const UNAVAILABLE_STATES = new Set(["57P01", "57P02", "57P03", "57P05", "53300"])

function codeOf(error: ServerError): ErrorCode {
  const state = error.code
  if (state === undefined)
    return /connection|timeout|terminated|socket|not queryable/i.test(error.message) ? "DB_UNAVAILABLE" : "UNKNOWN"
  if (SOCKET_CODES.has(state)) return "DB_UNAVAILABLE"
  if (state === "ENOTFOUND" || state === "EAI_AGAIN") return "DB_UNAVAILABLE"
  if (UNAVAILABLE_STATES.has(state)) return "DB_UNAVAILABLE"
  if (state.length !== 5) return "UNKNOWN"
  if (state.startsWith("08")) return "DB_UNAVAILABLE"
  if (state.startsWith("40") || state === "55P03") return "DB_SERIALIZATION"
  if (state.startsWith("22") || state.startsWith("23") || state.startsWith("54")) return "DB_CONSTRAINT"
  if (state.startsWith("53") || state === "58030") return "RESOURCE"
  if (state.startsWith("28") || state === "42501") return "AUTH"
  if (state.startsWith("3D") || state.startsWith("42") || state.startsWith("3F")) return "CONFIG"
  return "UNKNOWN"
}

const HINTS: Partial<Record<ErrorCode, string>> = {
  DB_UNAVAILABLE: "check that the database is up and reachable: spillway db status",
  AUTH: "check the user, its password and its rights on the schemas that are written to",
  RESOURCE: "make room on the database's disk, then run the same command again: it continues where it stopped",
  DB_CONSTRAINT: "the database refuses this value; correct the record or the column",
}

/** What the server or the connection said, as a SpillwayError with the original as `cause`. */
export function classifyDatabaseError(error: unknown): SpillwayError {
  if (error instanceof SpillwayError) return error
  const server: ServerError =
    error instanceof AggregateError && error.errors[0] instanceof Error ? error.errors[0] : (error as ServerError)
  const code = codeOf(server)
  const message = server.message || systemCode(error) || "the database connection failed"
  return new SpillwayError(code, server.detail ? `${message} (${server.detail})` : message, {
    cause: error,
    hint: server.hint ?? HINTS[code],
    where: server.where ?? (server.table ? `table ${server.table}` : undefined),
    context: { sqlState: server.code, constraint: server.constraint, column: server.column },
  })
}

/** The line (from 1) of the COPY data that the server refused, or undefined when the error names none. */
export function refusedCopyLine(error: SpillwayError): number | undefined {
  const match = /^COPY [^]*?, line (\d+)/.exec(error.where ?? "")
  return match?.[1] === undefined ? undefined : Number(match[1])
}
