import { SpillwayError, systemCode, type ErrorCode } from "../core/errors.ts"

/** One try that failed. */
export interface FailedAttempt {
  /** From 1. */
  readonly attempt: number
  /** The code of a SpillwayError, the operating system's code (`ECONNRESET`), or `UNKNOWN`. */
  readonly error_code: string
  readonly message: string
  /** When the try began, in milliseconds since the epoch. */
  readonly time: number
  readonly durationMs: number
  /** What was thrown. */
  readonly cause: unknown
}

/** Why no further try was made: tries or time used up, the budget drained, or the server asked for a longer pause than we sit out. */
export type GiveUpReason = "attempts" | "deadline" | "budget" | "retry-after"

/**
 * What `retry` throws when it gives up. `cause` is the last failure; `attempts` are all of them (the last 100). `context` has the same as plain
 * JSON: `reason`, `attempts`, and `retryAt` (ISO 8601) where the server said when to come back.
 */
export class RetryError extends SpillwayError {
  readonly attempts: readonly FailedAttempt[]
  readonly reason: GiveUpReason

  constructor(
    code: ErrorCode,
    message: string,
    details: {
      readonly reason: GiveUpReason
      readonly attempts: readonly FailedAttempt[]
      readonly last: SpillwayError
      readonly cause: unknown
      readonly class: SpillwayError["class"]
      readonly hint: string
      readonly where: string
      readonly retryAt: number | undefined
    },
  ) {
    super(code, message, {
      class: details.class,
      cause: details.cause,
      hint: details.hint,
      where: details.where,
      context: {
        ...details.last.context,
        reason: details.reason,
        attempts: details.attempts.map(({ attempt, error_code, message: said, time, durationMs }) => ({
          attempt,
          error_code,
          message: said,
          time: new Date(time).toISOString(),
          duration_ms: Math.round(durationMs),
        })),
        ...(details.retryAt === undefined ? {} : { retryAt: new Date(details.retryAt).toISOString() }),
      },
    })
    this.name = "RetryError"
    this.attempts = details.attempts
    this.reason = details.reason
  }
}

const earlier = new WeakMap<Error, readonly FailedAttempt[]>()

/** Notes what failed before `error` came, which is passed on as it is. */
export function noteAttempts(error: unknown, attempts: readonly FailedAttempt[]): void {
  if (error instanceof Error) earlier.set(error, attempts)
}

/** Every failed try behind an error that came out of `retry`, whether it gave up or met an error not worth repeating. Empty for others. */
export function attemptsOf(error: unknown): readonly FailedAttempt[] {
  if (error instanceof RetryError) return error.attempts
  return error instanceof Error ? (earlier.get(error) ?? []) : []
}

/** The code that an attempt is listed under. */
export const codeOf = (thrown: unknown): string =>
  thrown instanceof SpillwayError ? thrown.code : (systemCode(thrown) ?? "UNKNOWN")
