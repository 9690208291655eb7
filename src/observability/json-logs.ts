import type { DestinationStream, Level } from "pino"
import type { LogLevel, LogLine } from "./logs.ts"

const PINO_LEVEL: Readonly<Record<LogLevel, Level>> = {
  DEBUG: "debug",
  INFO: "info",
  WARNING: "warn",
  ERROR: "error",
  CRITICAL: "fatal",
}
const WORD = new Map<string, LogLevel>(Object.entries(PINO_LEVEL).map(([word, level]) => [level, word as LogLevel]))

/**
 * Writes lines as JSON, one a line: `timestamp` (UTC, ISO 8601) and `ts` (the same), `level`, `message`, `pipeline_name`,
 * `run_id`, `step`, `correlation_id`, `metadata`. The time is that of the event, not of the writing.
 */
export async function jsonLogs(destination: DestinationStream, least: LogLevel): Promise<(line: LogLine) => void> {
  const { pino } = await import("pino")
  let time = 0
  const logger = pino(
    {
      base: null,
      level: PINO_LEVEL[least],
      messageKey: "message",
      timestamp: () => {
        const iso = new Date(time).toISOString()
        return `,"timestamp":"${iso}","ts":"${iso}"`
      },
      formatters: { level: (label) => ({ level: WORD.get(label) }) },
    },
    destination,
  )
  return (line) => {
    time = line.time
    const { pipeline, runId, step, correlationId, metadata } = line
    logger[PINO_LEVEL[line.level]](
      { pipeline_name: pipeline, run_id: runId, step, correlation_id: correlationId, metadata },
      line.message,
    )
  }
}
