import type { Colors } from "./colors.ts"
import type { RunStatus } from "../core/events.ts"
import { redact } from "../core/secrets.ts"
import type { RunReport } from "../engine/report.ts"
import { duration, equation, figure, percent, perSecond, plural } from "../observability/wording.ts"
import { columns, cut } from "./table.ts"

/** A status is a shape and a word; colour only helps. */
export function statusMark(status: RunStatus, colors: Colors): string {
  switch (status) {
    case "completed":
      return colors.green("● completed")
    case "running":
      return colors.cyan("● running")
    case "partial":
      return colors.yellow("▲ partial")
    case "cancelled":
      return colors.yellow("▲ stopped")
    case "failed":
      return colors.red("◆ failed")
  }
}

export interface SummaryOptions {
  readonly colors: Colors
  readonly width: number
  /** What a partition of this source is called: `file`, `partition`. */
  readonly partition: string
}

/** More would hide the rest of the summary; `status` shows them. */
const HELD_SHOWN = 10
const WARNINGS_SHOWN = 10

/** What a run did, for people: one block of lines without a line end. */
export function summary(report: RunReport, options: SummaryOptions): string {
  const { colors } = options
  const took = colors.dim(timing(report))
  const lines = [`${statusMark(report.status, colors)}  ${colors.bold(report.pipeline)} → ${report.table}  ${took}`]
  lines.push(...stageLines(report, options))
  lines.push(...whatHappened(report, options.partition))
  lines.push(...facts(report, options))
  lines.push(...heldLines(report, options))
  lines.push(...warningLines(report, options))
  if (report.error !== undefined && report.status !== "cancelled")
    lines.push(`  ${colors.red(report.error.code)}: ${report.error.message}`)
  const next = nextStep(report, options.partition)
  if (next !== undefined) lines.push(`  ${colors.cyan("next")}: ${next}`)
  return redact(lines.join("\n"))
}

const stageLines = ({ stages = [] }: RunReport, { colors }: SummaryOptions): string[] =>
  columns(
    stages.map(({ stage, status, counts, durationMs }) =>
      status === "skipped"
        ? [colors.dim("● done before"), stage, ""]
        : [statusMark(status, colors), stage, `${equation(counts)}  ${colors.dim(duration(durationMs))}`],
    ),
  ).map((line) => `  ${line}`)

/** The speed of fewer records says nothing. */
const RATED_FROM = 1_000

function timing(report: RunReport): string {
  // The counts are those of all attempts, the duration is that of the last.
  const rate =
    report.attempt === 1 && report.counts.read >= RATED_FROM
      ? perSecond(report.counts.read, report.durationMs)
      : undefined
  const attempt = report.attempt > 1 ? `, attempt ${report.attempt}` : ""
  return `${duration(report.durationMs)}${rate === undefined ? "" : `, ${figure(rate)} rows/s`}${attempt}`
}

function whatHappened(report: RunReport, noun: string): string[] {
  const { total, chosen, unchanged } = report.partitions
  if (report.status === "completed" && chosen === 0 && unchanged === total && total > 0)
    return [`  nothing new: 0 of ${plural(total, noun)} to do`]
  return [`  ${equation(report.counts)}`, `  ${partitionsLine(report, noun)}`]
}

/** Why partitions were chosen, where it is not simply that they are new. */
const REASONS: Readonly<Record<string, string>> = {
  changed: "changed",
  stale: "stale",
  "held-before": "held before",
  "failed-before": "failed before",
  resumed: "resumed",
  full: "read in full",
}

function partitionsLine(report: RunReport, noun: string): string {
  const { total, published, held, unchanged, chosen, reasons } = report.partitions
  if (total === 0) return `nothing to do: no such ${noun}s`
  const parts: string[] = []
  if (published > 0) parts.push(`${figure(published)} published`)
  if (held > 0) parts.push(`${figure(held)} held`)
  if (unchanged > 0) parts.push(`${figure(unchanged)} unchanged`)
  const left = chosen - published - held
  if (left > 0) parts.push(`${figure(left)} not done`)
  const why = Object.entries(reasons)
    .filter(([reason, n]) => n > 0 && REASONS[reason] !== undefined)
    .map(([reason, n]) => `${figure(n)} ${REASONS[reason]}`)
  return `${plural(total, noun)}: ${parts.join(", ")}${why.length > 0 ? ` (${why.join(", ")})` : ""}`
}

function facts(report: RunReport, { colors, width }: SummaryOptions): string[] {
  const rows: [string, string][] = []
  const letters = Object.entries(report.deadLetters).filter(([, n]) => n > 0)
  if (letters.length > 0) rows.push(["dead letters", letters.map(([code, n]) => `${figure(n)} ${code}`).join(", ")])
  const nulls = Object.entries(report.nulls)
    .filter(([, n]) => n > 0)
    .sort(([, a], [, b]) => b - a)
  if (nulls.length > 0 && report.counts.read > 0)
    rows.push([
      "nulls",
      nulls.map(([property, n]) => `${property} ${percent(n, report.counts.read)} (${figure(n)})`).join(", "),
    ])
  return columns(rows.map(([name, text]) => [colors.dim(name), cut(text, Math.max(60, width - 18))])).map(
    (line) => `  ${line}`,
  )
}

function heldLines(report: RunReport, { colors, partition }: SummaryOptions): string[] {
  const lines = report.held
    .slice(0, HELD_SHOWN)
    .flatMap((held) => [
      `  ${colors.yellow("▲ held")} ${held.partition} (${figure(held.read)} read, ${figure(held.deadLettered)} dead-lettered): ${held.code}: ${held.message}`,
      ...(held.where === undefined ? [] : [`    ${colors.dim("-->")} ${held.where}`]),
      ...(held.hint === undefined ? [] : [`    ${colors.cyan("hint")}: ${held.hint}`]),
    ])
  const more = report.held.length - HELD_SHOWN
  return more > 0 ? [...lines, `  … and ${plural(more, partition)} more held: spillway status`] : lines
}

function warningLines(report: RunReport, { colors }: SummaryOptions): string[] {
  const lines = report.warnings
    .slice(0, WARNINGS_SHOWN)
    .map((warning) => `  ${colors.yellow("warning")} ${warning.code}: ${warning.message}`)
  const more = report.warnings.length - WARNINGS_SHOWN
  return more > 0
    ? [...lines, `  … and ${plural(more, "warning")} more: spillway logs --run-id ${report.runId}`]
    : lines
}

function nextStep(report: RunReport, noun: string): string | undefined {
  if (report.status === "cancelled") return "run the same command again: it goes on after the last batch"
  if (report.error !== undefined) return report.error.hint ?? `spillway explain ${report.error.code}`
  const code = report.held[0]?.code
  if (code !== undefined)
    return `mend the held ${report.held.length === 1 ? noun : `${noun}s`} and run again; what the code means: spillway explain ${code}`
  if (report.counts.deadLettered > 0) return `see the dead letters: spillway dlq export --pipeline ${report.pipeline}`
  return undefined
}
