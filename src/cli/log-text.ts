import type { Colors } from "./colors.ts"
import type { LogLevel, LogLine } from "../observability/logs.ts"

function coloured(level: LogLevel, colors: Colors): string {
  const word = level.padEnd(8)
  switch (level) {
    case "DEBUG":
      return colors.dim(word)
    case "INFO":
      return colors.cyan(word)
    case "WARNING":
      return colors.yellow(word)
    case "ERROR":
    case "CRITICAL":
      return colors.red(word)
  }
}

/** A log line for people. Times are UTC. */
export function logText(line: LogLine, colors: Colors): string {
  const time = new Date(line.time).toISOString().replace("T", " ")
  return `${colors.dim(time)} ${coloured(line.level, colors)} ${colors.bold(line.pipeline)} ${line.message}`
}

/** A log line as the fields that logs have everywhere. */
export function logFields(line: LogLine): Record<string, unknown> {
  const timestamp = new Date(line.time).toISOString()
  return {
    timestamp,
    ts: timestamp,
    level: line.level,
    message: line.message,
    pipeline_name: line.pipeline,
    run_id: line.runId,
    step: line.step,
    correlation_id: line.correlationId ?? null,
    metadata: line.metadata,
  }
}
