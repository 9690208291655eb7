import type { RunEvent } from "../core/events.ts"
import type { RunReport } from "../engine/report.ts"
import { jsonLogs } from "../observability/json-logs.ts"
import { atLeast, logLine, type LogLine } from "../observability/logs.ts"
import { progressLine, type ProgressLine } from "../observability/progress.ts"
import type { Host } from "./host.ts"
import { logText } from "./log-text.ts"
import { summary } from "./summary.ts"

/** Where the events of a run go while it runs, and its report when it has ended. */
export interface RunView {
  on(event: RunEvent): void
  /** A remark about the way to the run: a server that is started, say. */
  remark(text: string): void
  /** A line that must be seen, whatever is on the screen. */
  tell(text: string): void
  report(report: RunReport, partition: string): Promise<void>
  /** Tidies the screen; nothing is shown any more. */
  stop(): void
}

/** These are told on a terminal while the run goes on; the summary has the others. */
const TOLD_AT_ONCE: ReadonlySet<RunEvent["type"]> = new Set(["retry", "commit.resolved", "partition.restarted"])

/**
 * stdout a terminal: progress on stderr, a summary on stdout. stdout a pipe: JSON log lines on stdout. With `--json`
 * stdout is the envelope's, and the log lines go to stderr, unless that is a terminal.
 */
export async function runView(host: Host, correlationId: string): Promise<RunView> {
  const { output, ports } = host
  const progress = output.stderrTerminal ? progressLine(output.stderr, ports.clock) : undefined
  const log = await logWriter(host, progress)
  const tell = (text: string): void => (progress === undefined ? output.note(text) : progress.above(text))
  return {
    on: (event) => {
      log(event, logLine(event, correlationId))
      progress?.on(event)
    },
    remark: (text) => {
      if (output.verbose || output.terminal || output.stderrTerminal) tell(output.stderrColors.dim(text))
    },
    tell,
    report: async (report, partition) => {
      if (output.json) return
      const options = { width: output.width, partition }
      if (output.terminal) await output.data(`${summary(report, { ...options, colors: output.colors })}\n`)
      else if (output.stderrTerminal) tell(summary(report, { ...options, colors: output.stderrColors }))
    },
    stop: () => progress?.stop(),
  }
}

async function logWriter(
  host: Host,
  progress: ProgressLine | undefined,
): Promise<(event: RunEvent, line: LogLine) => void> {
  const { output } = host
  const least = output.verbose ? "DEBUG" : "INFO"
  if (!output.terminal && !output.json) {
    // The data matters more than its log: a log that cannot be written does not stop the run.
    const write = await jsonLogs({ write: (text) => void output.data(text).catch(() => undefined) }, least)
    return (_event, line) => write(line)
  }
  if (progress === undefined && output.json) {
    const write = await jsonLogs({ write: (text) => void output.stderr.write(text) }, least)
    return (_event, line) => write(line)
  }
  return (event, line) => {
    if (!output.verbose && !TOLD_AT_ONCE.has(event.type)) return
    if (!atLeast(line.level, least)) return
    const text = logText(line, output.stderrColors)
    if (progress === undefined) output.note(text)
    else progress.above(text)
  }
}
