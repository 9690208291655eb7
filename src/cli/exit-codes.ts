import type { ErrorCode, SpillwayError } from "../core/errors.ts"
import type { RunStatus } from "../core/events.ts"

/** What the command line exits with. */
export const exitCodes = {
  ok: 0,
  /** Data or a check failed. */
  failure: 1,
  /** Usage or configuration. */
  usage: 2,
  /** `status --check`: something needs attention. */
  degraded: 3,
  notFound: 4,
  /** Something needed is not available: the database, a lease, a service. */
  unavailable: 5,
  /** Some partitions are held or failed, the others are published. */
  partial: 6,
  interrupted: 130,
} as const

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes]

const UNAVAILABLE: ReadonlySet<ErrorCode> = new Set([
  "DB_UNAVAILABLE",
  "LEASE_HELD",
  "LEASE_LOST",
  "NETWORK",
  "DNS",
  "TLS",
  "TIMEOUT",
  "HTTP_5XX",
  "HTTP_429",
  "CIRCUIT_OPEN",
  "RETRY_EXHAUSTED",
  "RETRY_BUDGET",
  "RESOURCE",
])

export function exitCodeOf(error: Pick<SpillwayError, "code"> & Partial<Pick<SpillwayError, "context">>): ExitCode {
  if (error.context?.["notFound"] === true) return exitCodes.notFound
  if (error.code === "CONFIG" || error.code === "AUTH") return exitCodes.usage
  if (error.code === "CANCELLED") return exitCodes.interrupted
  return UNAVAILABLE.has(error.code) ? exitCodes.unavailable : exitCodes.failure
}

export function exitCodeOfRun(report: {
  readonly status: Exclude<RunStatus, "running">
  readonly error: { readonly code: ErrorCode } | undefined
  readonly partitions?: { readonly published: number; readonly unchanged: number }
}): ExitCode {
  if (report.status === "completed") return exitCodes.ok
  if (report.status === "partial") return isNothingThere(report.partitions) ? exitCodes.failure : exitCodes.partial
  if (report.status === "cancelled") return exitCodes.interrupted
  return report.error === undefined ? exitCodes.failure : exitCodeOf(report.error)
}

/** All partitions are held, and none was published before. */
const isNothingThere = (partitions: { readonly published: number; readonly unchanged: number } | undefined): boolean =>
  partitions?.published === 0 && partitions.unchanged === 0

/** From what can be left to what cannot. */
const BY_WEIGHT: readonly ExitCode[] = [
  exitCodes.ok,
  exitCodes.degraded,
  exitCodes.partial,
  exitCodes.failure,
  exitCodes.notFound,
  exitCodes.usage,
  exitCodes.unavailable,
  exitCodes.interrupted,
]

export const worst = (codes: readonly ExitCode[]): ExitCode =>
  codes.reduce<ExitCode>((a, b) => (BY_WEIGHT.indexOf(b) > BY_WEIGHT.indexOf(a) ? b : a), exitCodes.ok)
