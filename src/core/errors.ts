import { redact } from "./secrets.ts"

/** Stable error codes. `error-catalog.ts` says what each means and what to do. */
export type ErrorCode =
  | "VALIDATION"
  | "DECODE"
  | "TRANSFORM"
  | "QUALITY_GATE"
  | "LATE"
  | "DUPLICATE"
  | "SCHEMA_DRIFT"
  | "HTTP_4XX"
  | "HTTP_429"
  | "HTTP_5XX"
  | "TIMEOUT"
  | "NETWORK"
  | "DNS"
  | "TLS"
  | "AUTH"
  | "CIRCUIT_OPEN"
  | "RETRY_EXHAUSTED"
  | "RETRY_BUDGET"
  | "DB_CONSTRAINT"
  | "DB_UNAVAILABLE"
  | "DB_SERIALIZATION"
  | "LEASE_HELD"
  | "LEASE_LOST"
  | "CONSERVATION"
  | "CHECKPOINT"
  | "DATA_LOSS"
  | "CONFIG"
  | "RESOURCE"
  | "CANCELLED"
  | "REVIEW_REJECTED"
  | "UNKNOWN"

/**
 * What the engine does about an error: `transient` is retried, `throttled` is retried later, `rejected` sets the one
 * record aside, `terminal` stops the run, `cancelled` stops it because somebody asked for it.
 */
export type ErrorClass = "transient" | "throttled" | "rejected" | "terminal" | "cancelled"

const CLASS_OF: Record<ErrorCode, ErrorClass> = {
  VALIDATION: "rejected",
  DECODE: "rejected",
  TRANSFORM: "rejected",
  QUALITY_GATE: "rejected",
  LATE: "rejected",
  DUPLICATE: "rejected",
  SCHEMA_DRIFT: "terminal",
  HTTP_4XX: "terminal",
  HTTP_429: "throttled",
  HTTP_5XX: "transient",
  TIMEOUT: "transient",
  NETWORK: "transient",
  DNS: "transient",
  TLS: "terminal",
  AUTH: "terminal",
  CIRCUIT_OPEN: "transient",
  RETRY_EXHAUSTED: "terminal",
  RETRY_BUDGET: "terminal",
  DB_CONSTRAINT: "rejected",
  DB_UNAVAILABLE: "transient",
  DB_SERIALIZATION: "transient",
  LEASE_HELD: "terminal",
  LEASE_LOST: "terminal",
  CONSERVATION: "terminal",
  CHECKPOINT: "terminal",
  DATA_LOSS: "terminal",
  CONFIG: "terminal",
  RESOURCE: "terminal",
  CANCELLED: "cancelled",
  REVIEW_REJECTED: "rejected",
  UNKNOWN: "terminal",
}

/** In an error's context, `true`: a source found that it concerns the partition at hand alone, whatever its code usually means. */
export const PARTITION_ONLY = "partitionOnly"

export interface ErrorDetails {
  /** What the reader can do about it. */
  hint?: string | undefined
  /** Where it happened: a file and line, a table, an address. */
  where?: string | undefined
  /** The original exception. */
  cause?: unknown
  /** Overrides the class that goes with the code. */
  class?: ErrorClass | undefined
  /** Anything else worth keeping, in plain JSON values. */
  context?: Record<string, unknown> | undefined
}

/** The one error type that leaves Spillway: a stable `code`, a `class`, and a next step. */
export class SpillwayError extends Error {
  readonly code: ErrorCode
  readonly class: ErrorClass
  readonly hint: string | undefined
  readonly where: string | undefined
  readonly context: Record<string, unknown>

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = "SpillwayError"
    this.code = code
    this.class = details.class ?? CLASS_OF[code]
    this.hint = details.hint
    this.where = details.where
    this.context = details.context ?? {}
  }
}

/** `value` as a SpillwayError: itself when it already is one, otherwise wrapped as `code`, with the original as `cause`. */
export function asSpillwayError(
  value: unknown,
  code: ErrorCode = "UNKNOWN",
  details: ErrorDetails = {},
): SpillwayError {
  if (value instanceof SpillwayError) return value
  const message = value instanceof Error ? value.message : String(value)
  return new SpillwayError(code, message, { cause: value, ...details })
}

/** The code that a failed call of the operating system carries (`ENOENT`, `ECONNREFUSED`), or undefined. */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined
  return typeof error.code === "string" ? error.code : undefined
}

/** An error as reports and the events of runs tell it. */
export interface ReportedError {
  readonly code: ErrorCode
  readonly message: string
  readonly hint: string | undefined
  /** Where it happened: an address, a file and line, a table; secrets are masked. */
  readonly where?: string | undefined
}

/** What is told of an error, its place without secrets. */
export const reportedError = ({ code, message, hint, where }: SpillwayError): ReportedError =>
  where === undefined ? { code, message, hint } : { code, message, hint, where: redact(where) }
