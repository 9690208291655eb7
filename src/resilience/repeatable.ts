import { SpillwayError } from "../core/errors.ts"
import { isRetryable } from "./retryable.ts"

export interface RepeatedRequest {
  /** In capitals. */
  readonly method: string
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>
}

const REPEATABLE = new Set(["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])

/** Whether a request may be sent twice: by its method, or because it carries an `idempotency-key`. */
export const isRepeatable = ({ method, headers }: RepeatedRequest): boolean =>
  REPEATABLE.has(method) || headers["idempotency-key"] !== undefined

/** The server cannot have acted on it: nothing was sent, or it said that it is too busy to look. */
export function isRefusedUnread(thrown: unknown): boolean {
  if (!isRetryable(thrown) || !(thrown instanceof SpillwayError)) return false
  return thrown.context["unsent"] === true || thrown.code === "HTTP_429" || thrown.code === "CIRCUIT_OPEN"
}
