import type { ErrorCode } from "../core/errors.ts"
import type { RunEvent } from "../core/events.ts"
import { redact, redactValue } from "../core/secrets.ts"
import { logLevels, type LogLevel, type LogLine } from "../ledger/logs.ts"
import { duration, equation, figure, plural } from "./wording.ts"

export type { LogLevel, LogLine } from "../ledger/logs.ts"

/** Whether a line of `level` is to be shown where `least` and above are. */
export const atLeast = (level: LogLevel, least: LogLevel): boolean =>
  logLevels.indexOf(level) >= logLevels.indexOf(least)

interface Wording {
  readonly level: LogLevel
  readonly step: string
  readonly message: string
}

/** Losing data or miscounting it is what must never happen. */
const CRITICAL_CODES: ReadonlySet<ErrorCode> = new Set(["CONSERVATION", "DATA_LOSS"])

/** `event` as a line of the log. All text in it is redacted. */
export function logLine(event: RunEvent, correlationId?: string): LogLine {
  const { time, pipeline, runId, type, ...rest } = event
  const { level, step, message } = wordingOf(event)
  return {
    time,
    level,
    message: redact(message),
    pipeline,
    runId,
    step,
    correlationId,
    metadata: redactValue({ event: type, ...rest }) as Record<string, unknown>,
  }
}

function wordingOf(event: RunEvent): Wording {
  switch (event.type) {
    case "run.started":
      return {
        level: "INFO",
        step: "run",
        message: `run ${event.resumed ? `resumed (attempt ${event.attempt})` : "started"}${event.full ? ", reading everything again" : ""}`,
      }
    case "run.planned":
      return { level: "INFO", step: "run", message: planned(event) }
    case "stage.started":
      return { level: "INFO", step: event.stage, message: `stage ${event.stage}: started` }
    case "stage.finished":
      return {
        level: event.status === "failed" ? "ERROR" : event.status === "partial" ? "WARNING" : "INFO",
        step: event.stage,
        message: `stage ${event.stage}: ${stageEnd(event)}`,
      }
    case "partition.started":
      return {
        level: "DEBUG",
        step: "read",
        message: `${event.partition}: started (${event.reason})${resumedAfter(event.resumedAfter)}`,
      }
    case "batch.staged":
      return {
        level: "DEBUG",
        step: "stage",
        message: `${event.partition}: batch of ${figure(event.read)} read, ${figure(event.staged)} staged`,
      }
    case "partition.staged":
      return {
        level: "DEBUG",
        step: "stage",
        message: `${event.partition}: ${plural(event.read, "record")} staged in ${duration(event.durationMs)}`,
      }
    case "check.judged":
      return {
        level: event.passed ? "DEBUG" : "WARNING",
        step: "gate",
        message: `${event.partition}: check ${event.passed ? "passed" : event.severity === "fail" ? "failed" : "warns"}: ${event.message}`,
      }
    case "partition.published":
      return {
        level: event.replaced ? "INFO" : "DEBUG",
        step: "publish",
        message: `${event.partition}: published${event.replaced ? ", replacing its earlier content" : ""}: ${equation(event.counts)}`,
      }
    case "partition.held":
      return { level: levelOf(event.code), step: "gate", message: `${event.partition}: held: ${withCode(event)}` }
    case "partition.restarted":
      return {
        level: "WARNING",
        step: "read",
        message: `${event.partition}: read again from its start: ${event.message}`,
      }
    case "group.published":
      return {
        level: "INFO",
        step: "publish",
        message: `published ${plural(event.partitions, "partition")}, ${plural(event.rows, "row")}, in ${duration(event.durationMs)}`,
      }
    case "retry":
      return {
        level: "WARNING",
        step: "run",
        message: `retry ${event.tries} of ${event.what} in ${duration(event.delayMs)} after ${withCode(event)}`,
      }
    case "commit.resolved":
      return {
        level: "WARNING",
        step: "publish",
        message: `the connection was lost at COMMIT; the transaction ${event.outcome === "committed" ? "is committed" : "was rolled back"}: ${event.message}`,
      }
    case "warning":
      return {
        level: "WARNING",
        step: "run",
        message: `${event.partition === undefined ? "" : `${event.partition}: `}${withCode(event)}`,
      }
    case "run.finished":
      return { level: levelOfEnd(event), step: "run", message: finished(event) }
  }
}

function stageEnd(event: Extract<RunEvent, { type: "stage.finished" }>): string {
  if (event.status === "skipped") return "completed by an earlier attempt, and nothing changed since"
  const why = event.error === undefined ? "" : `: ${withCode(event.error)}`
  return `${event.status} in ${duration(event.durationMs)}: ${equation(event.counts)}${why}`
}

function planned(event: Extract<RunEvent, { type: "run.planned" }>): string {
  const reasons = Object.entries(event.reasons)
    .filter(([reason, n]) => n > 0 && reason !== "unchanged")
    .map(([reason, n]) => `${figure(n)} ${reason}`)
  const why = reasons.length > 0 ? ` (${reasons.join(", ")})` : ""
  return `${figure(event.todo)} of ${plural(event.total, "partition")} to do${why}, ${figure(event.unchanged)} unchanged`
}

const resumedAfter = (records: number | undefined): string =>
  records === undefined ? "" : `, going on after ${plural(records, "record")}`

/** The words that people search the log for when something of this kind happens, where the message itself may lack them. */
const SEARCHED_FOR: Partial<Record<ErrorCode, string>> = {
  RETRY_EXHAUSTED: "retry exhausted",
  RETRY_BUDGET: "retry budget exhausted",
  DB_UNAVAILABLE: "database connection lost",
}

function withCode(event: { readonly code: ErrorCode; readonly message: string }): string {
  const words = SEARCHED_FOR[event.code]
  const lacks =
    words !== undefined && !event.message.toLowerCase().includes(words.includes("retry") ? "retry" : "connection")
  return `${event.code}: ${lacks ? `${words}: ` : ""}${event.message}`
}

const levelOf = (code: ErrorCode): LogLevel => (CRITICAL_CODES.has(code) ? "CRITICAL" : "ERROR")

function levelOfEnd(event: Extract<RunEvent, { type: "run.finished" }>): LogLevel {
  if (event.status === "completed") return "INFO"
  if (event.status === "failed") return levelOf(event.error?.code ?? "UNKNOWN")
  return "WARNING"
}

function finished(event: Extract<RunEvent, { type: "run.finished" }>): string {
  const parts = [equation(event.counts), `${figure(event.published)} published`]
  if (event.held > 0) parts.push(`${figure(event.held)} held`)
  if (event.unchanged > 0) parts.push(`${figure(event.unchanged)} unchanged`)
  const error = event.error === undefined ? "" : `: ${withCode(event.error)}`
  return `run ${event.status} in ${duration(event.durationMs)}${error}; ${parts.join(", ")}`
}
