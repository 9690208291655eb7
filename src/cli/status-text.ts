import type { Colors } from "./colors.ts"
import { redact } from "../core/secrets.ts"
import { zeroCounts } from "../core/events.ts"
import type { LastRun, PipelineStatus } from "../ledger/status.ts"
import { ago, duration, equation, figure, plural } from "../observability/wording.ts"
import { statusMark } from "./summary.ts"
import { columns } from "./table.ts"

/** Killed in the middle: it says running, but nobody is at work. */
export const wasInterrupted = (run: LastRun): boolean => run.status === "running" && !run.alive

/** Why a pipeline needs attention, in words; empty when it does not. */
export function troubles(status: PipelineStatus): string[] {
  const { lastRun } = status
  const found: string[] = []
  if (lastRun?.status === "failed")
    found.push(`the last run failed${lastRun.error === undefined ? "" : ` (${lastRun.error.code})`}`)
  if (lastRun?.status === "partial") found.push("the last run is partial")
  if (lastRun !== undefined && wasInterrupted(lastRun)) found.push("the last run was interrupted")
  const held = (status.partitions["held"] ?? 0) + (status.partitions["failed"] ?? 0)
  if (held > 0) found.push(`${plural(held, "partition")} held`)
  return found
}

/** The state of all pipelines for people. `names` are those the project declares; the ledger may know others. */
export function statusText(
  names: readonly string[],
  known: ReadonlyMap<string, PipelineStatus>,
  now: Date,
  colors: Colors,
): string {
  const undeclared = [...known.keys()].filter((name) => !names.includes(name))
  const blocks = [...names, ...undeclared].map((name) => {
    const status = known.get(name)
    if (status === undefined) return `${colors.dim("○ never run")}  ${colors.bold(name)}`
    return pipelineText(status, now, colors, names.length > 0 && undeclared.includes(name))
  })
  return redact(blocks.join("\n"))
}

function pipelineText(status: PipelineStatus, now: Date, colors: Colors, undeclared: boolean): string {
  const { lastRun } = status
  const remark = undeclared ? colors.dim("  (not in the project any more)") : ""
  const head = `${mark(lastRun, colors)}  ${colors.bold(status.pipeline)}${remark}`
  if (lastRun === undefined) return head
  const lines = [`${head}  ${colors.dim(when(lastRun, now))}`, `  ${equation({ ...zeroCounts(), ...lastRun.counts })}`]
  lines.push(...columns(facts(status, now, colors), { indent: "  " }))
  lines.push(...heldLines(status, now, colors))
  if (lastRun.error !== undefined && lastRun.status !== "cancelled") lines.push(...errorLines(lastRun.error, colors))
  const next = nextStep(lastRun)
  if (next !== undefined) lines.push(`  ${colors.cyan("next")}: ${next}`)
  return lines.join("\n")
}

function mark(run: LastRun | undefined, colors: Colors): string {
  if (run === undefined) return colors.dim("○ unknown")
  return wasInterrupted(run) ? colors.red("◆ interrupted") : statusMark(run.status, colors)
}

function when(run: LastRun, now: Date): string {
  const since = ago(now.getTime() - (run.finishedAt ?? run.startedAt).getTime())
  const attempt = run.attempt > 1 ? `, attempt ${run.attempt}` : ""
  if (run.finishedAt === undefined) return `started ${since}${attempt}, ${run.runId}`
  return `${since}${run.durationMs === undefined ? "" : `, took ${duration(run.durationMs)}`}${attempt}, ${run.runId}`
}

const listed = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .filter(([, n]) => n > 0)
    .map(([what, n]) => `${figure(n)} ${what.replaceAll("_", " ")}`)
    .join(", ")

function facts(status: PipelineStatus, now: Date, colors: Colors): string[][] {
  const rows: string[][] = []
  const partitions = listed(status.partitions)
  if (partitions !== "") rows.push([colors.dim("partitions"), partitions])
  // Codes keep their underscores.
  const letters = Object.entries(status.deadLetters).map(([code, n]) => `${figure(n)} ${code}`)
  if (letters.length > 0) rows.push([colors.dim("dead letters"), letters.join(", ")])
  for (const lease of status.leases) {
    const holder = `process ${lease.processId} on ${lease.host}, since ${ago(now.getTime() - lease.since.getTime())}`
    rows.push([
      colors.dim("leases"),
      `${plural(lease.partitions, "partition")} held by ${holder}${lease.connected ? (lease.expired ? " (expired)" : "") : " (its process is gone)"}`,
    ])
  }
  return rows
}

function heldLines(status: PipelineStatus, now: Date, colors: Colors): string[] {
  const lines = status.held.flatMap((held) => [
    `  ${colors.yellow("▲ held")} ${held.partition} (${ago(now.getTime() - held.since.getTime())}): ${held.code}: ${held.message}`,
    ...(held.hint === undefined ? [] : [`    ${colors.cyan("hint")}: ${held.hint}`]),
  ])
  const more = (status.partitions["held"] ?? 0) + (status.partitions["failed"] ?? 0) - status.held.length
  return more > 0 ? [...lines, `  … and ${figure(more)} more`] : lines
}

const errorLines = (error: NonNullable<LastRun["error"]>, colors: Colors): string[] => [
  `  ${colors.red(error.code)}: ${error.message}`,
  ...(error.hint === undefined ? [] : [`    ${colors.cyan("hint")}: ${error.hint}`]),
]

function nextStep(run: LastRun): string | undefined {
  if (wasInterrupted(run)) return `spillway run ${run.resumable ? "goes on where it stopped" : "does what is left"}`
  if (run.status === "cancelled") return "it was stopped; spillway run goes on after the last batch"
  return undefined
}
