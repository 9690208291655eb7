import type { RunEvent } from "../core/events.ts"
import { jsonLogs } from "../observability/json-logs.ts"
import { atLeast, logLine, type LogLine } from "../observability/logs.ts"
import { duration, figure, plural } from "../observability/wording.ts"
import type { BackfillReport } from "../scheduler/backfill.ts"
import { workerLogLine, type WorkerEvent } from "../scheduler/events.ts"
import type { BackfillProgress } from "../scheduler/fan-out.ts"
import type { Colors } from "./colors.ts"
import type { Host } from "./host.ts"
import { logText } from "./log-text.ts"
import { cut } from "./table.ts"

/** Where a worker's events and a backfill's progress go. */
export interface WorkView {
  on(event: WorkerEvent): void
  onRun(event: RunEvent): void
  onProgress(progress: BackfillProgress): void
  /** A line that must be seen, whatever is on the screen. */
  tell(text: string): void
  stop(): void
}

const CLEAR_LINE = "\r\u001b[2K"
/** Where there is no terminal, progress is a line of the log so often. */
const PROGRESS_LINE_EVERY_MS = 10_000

/**
 * On a terminal: one live line of progress on stderr, with what went wrong above it. In a pipe: JSON log lines on stdout,
 * or on stderr with `--json`.
 */
export async function workView(host: Host, pipeline: string): Promise<WorkView> {
  const { output, ports } = host
  const live = output.stderrTerminal
  const write = await lineWriter(host)
  const estimate = new Estimate()
  let shown = ""
  let saidAt = -Infinity
  const clear = (): void => {
    if (shown !== "") output.stderr.write(CLEAR_LINE)
    shown = ""
  }
  const line = (text: LogLine): void => {
    clear()
    write(text)
  }
  return {
    on: (event) => line(workerLogLine(event)),
    onRun: (event) => {
      const told = logLine(event)
      // A run of one partition says little that its worker does not say.
      if (output.verbose || atLeast(told.level, "WARNING")) line(told)
    },
    onProgress: (progress) => {
      const now = ports.clock.monotonic()
      const text = progressText(pipeline, progress, estimate.left(progress, now))
      if (live) {
        const next = cut(text, (output.stderr.columns || 80) - 1)
        if (next !== shown) output.stderr.write(CLEAR_LINE + next)
        shown = next
      } else if (now - saidAt >= PROGRESS_LINE_EVERY_MS) {
        saidAt = now
        write(progressLogLine(pipeline, progress, text, ports.clock.now()))
      }
    },
    tell: (text) => {
      clear()
      output.note(text)
    },
    stop: clear,
  }
}

async function lineWriter(host: Host): Promise<(line: LogLine) => void> {
  const { output } = host
  const least = output.verbose ? "DEBUG" : "INFO"
  if (!output.terminal && !output.json)
    return jsonLogs({ write: (text) => void output.data(text).catch(() => undefined) }, least)
  if (output.json && !output.stderrTerminal) return jsonLogs({ write: (text) => void output.stderr.write(text) }, least)
  return (line) => {
    if (atLeast(line.level, least)) output.note(logText(line, output.stderrColors))
  }
}

const progressLogLine = (pipeline: string, progress: BackfillProgress, message: string, time: number): LogLine => {
  const { id, total, done, failed, skipped, active, queued, retrying } = progress
  return {
    time,
    level: "INFO",
    message,
    pipeline,
    runId: id,
    step: "backfill",
    correlationId: undefined,
    metadata: { event: "backfill.progress", total, done, failed, skipped, active, queued, retrying },
  }
}

/** Too little has ended to say how long the rest will take. */
const ESTIMATE_AFTER = 3

/** How long a backfill has to go, by how fast partitions ended since it was first looked at. */
export class Estimate {
  #first: { readonly ended: number; readonly at: number } | undefined

  /** Milliseconds; undefined while nobody can say. `now` is a monotonic time. */
  left({ done, failed, queued, active }: BackfillProgress, now: number): number | undefined {
    const ended = done + failed
    this.#first ??= { ended, at: now }
    const since = ended - this.#first.ended
    if (since < ESTIMATE_AFTER) return undefined
    return ((now - this.#first.at) / since) * (queued + active)
  }
}

/** `orders  45/120 partitions  4 in hand  1 retrying  2 failed  about 35 s left`. */
export function progressText(pipeline: string, progress: BackfillProgress, leftMs: number | undefined): string {
  const { total, done, failed, active, retrying, queued } = progress
  const parts = [pipeline, `${figure(done + failed)}/${plural(total, "partition")}`]
  if (active > 0) parts.push(`${figure(active)} in hand`)
  if (retrying > 0) parts.push(`${figure(retrying)} retrying`)
  if (failed > 0) parts.push(`${figure(failed)} failed`)
  if (leftMs !== undefined && queued + active > 0) parts.push(`about ${duration(leftMs)} left`)
  return parts.join("  ")
}

/** Failed partitions that are listed with their reasons. */
const FAILURES_SHOWN = 20

/** What a backfill came to, for people. */
export function backfillSummary(report: BackfillReport, colors: Colors): string {
  const { pipeline, total, done, failed, skipped, queued, active, failures, durationMs, continued, id } = report
  const left = queued + active
  const sign = left > 0 ? colors.yellow("…") : failed > 0 ? colors.red("✗") : colors.green("✓")
  const parts = [`${figure(done)} done`, `${figure(failed)} failed`, `${figure(skipped)} skipped`]
  if (left > 0) parts.push(`${figure(left)} left`)
  const lines = [
    `${sign} ${colors.bold(pipeline)}  ${parts.join(", ")} of ${plural(total + skipped, "partition")} in ${duration(durationMs)}${continued ? " (continued)" : ""}  ${colors.dim(id)}`,
  ]
  for (const { key, attempts, error } of failures.slice(0, FAILURES_SHOWN)) {
    lines.push(
      `  ${key}  ${colors.red(error?.code ?? "UNKNOWN")} after ${plural(attempts, "attempt")}: ${error?.message ?? ""}`,
    )
    if (error?.hint !== undefined) lines.push(`    ${colors.cyan("hint")}: ${error.hint}`)
  }
  if (failures.length > FAILURES_SHOWN)
    lines.push(`  … and ${figure(failures.length - FAILURES_SHOWN)} more; --json has all`)
  return lines.join("\n")
}
