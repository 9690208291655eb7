import type { Colors } from "./colors.ts"
import { redact } from "../core/secrets.ts"
import { zeroCounts } from "../core/events.ts"
import type { ListedBreaker } from "../ledger/breakers.ts"
import type { OverduePartition, PartitionState } from "../ledger/partition-states.ts"
import type { ListedBudget } from "../ledger/retry-budgets.ts"
import type { LastRun, PipelineStatus } from "../ledger/status.ts"
import { ago, duration, equation, figure, plural } from "../observability/wording.ts"
import { legend, notDoneLines, partitionGrid, type GridStyle } from "./partition-grid.ts"
import { statusMark } from "./summary.ts"
import { columns } from "./table.ts"

/** Killed in the middle: it says running, but nobody is at work. */
export const wasInterrupted = (run: LastRun): boolean => run.status === "running" && !run.alive

/** What `status` shows of a project at one time. */
export interface StatusView {
  /** The database's time, that "ago" counts back from. */
  readonly now: Date
  readonly pipelines: ReadonlyMap<string, PipelineStatus>
  /** Partitions one by one, by pipeline; not of a pipeline that has too many to show. */
  readonly partitions: ReadonlyMap<string, readonly PartitionState[]>
  readonly overdue: ReadonlyMap<string, readonly OverduePartition[]>
  readonly breakers: readonly ListedBreaker[]
  readonly budgets: readonly ListedBudget[]
}

/** Why a pipeline needs attention, in words; empty when it does not. */
export function troubles(status: PipelineStatus, view: Pick<StatusView, "partitions" | "overdue">): string[] {
  const { lastRun } = status
  const partitions = view.partitions.get(status.pipeline) ?? []
  const overdue = view.overdue.get(status.pipeline) ?? []
  const found: string[] = []
  if (lastRun?.status === "failed")
    found.push(`the last run failed${lastRun.error === undefined ? "" : ` (${lastRun.error.code})`}`)
  if (lastRun?.status === "partial") found.push("the last run is partial")
  if (lastRun !== undefined && wasInterrupted(lastRun)) found.push("the last run was interrupted")
  const held = (status.partitions["held"] ?? 0) + (status.partitions["failed"] ?? 0)
  if (held > 0) found.push(`${plural(held, "partition")} held`)
  const count = (state: PartitionState["state"]): number => partitions.filter((p) => p.state === state).length
  const interrupted = count("failed") - held
  if (interrupted > 0) found.push(`${plural(interrupted, "partition")} interrupted`)
  if (count("stale") > 0) found.push(`${plural(count("stale"), "partition")} stale`)
  if (overdue.length > 0) found.push(`${plural(overdue.length, "partition")} overdue`)
  return found
}

/** The state of all pipelines for people. `names` are those the project declares; the ledger may know others. */
export function statusText(names: readonly string[], view: StatusView, style: GridStyle): string {
  const { colors } = style
  const undeclared = [...view.pipelines.keys()].filter((name) => !names.includes(name))
  const blocks = [...names, ...undeclared].map((name) => {
    const status = view.pipelines.get(name)
    if (status === undefined) return `${colors.dim("○ never run")}  ${colors.bold(name)}`
    return pipelineText(status, view, style, names.length > 0 && undeclared.includes(name))
  })
  const text = redact([...blocks, ...breakerLines(view, colors)].join("\n"))
  return style.unicode ? text : withoutSigns(text)
}

const PLAIN: Readonly<Record<string, string>> = { "●": "*", "▲": "!", "◆": "x", "○": "o", "…": "..." }

const withoutSigns = (text: string): string => text.replace(/[●▲◆○…]/g, (sign) => PLAIN[sign] ?? sign)

function pipelineText(status: PipelineStatus, view: StatusView, style: GridStyle, undeclared: boolean): string {
  const { colors } = style
  const { now } = view
  const { lastRun, pipeline } = status
  const partitions = view.partitions.get(pipeline) ?? []
  const remark = undeclared ? colors.dim("  (not in the project any more)") : ""
  const head = `${mark(lastRun, colors)}  ${colors.bold(pipeline)}${remark}`
  const lines =
    lastRun === undefined
      ? [head]
      : [`${head}  ${colors.dim(when(lastRun, now))}`, `  ${equation({ ...zeroCounts(), ...lastRun.counts })}`]
  lines.push(...columns(facts(status, partitions, now, style), { indent: "  " }))
  lines.push(...partitionGrid(partitions, style).map((line) => `    ${line}`))
  lines.push(...heldLines(status, now, colors))
  const told = new Set(status.held.map((held) => held.partition))
  lines.push(...notDoneLines(pipeline, partitions, style, told).map((line) => `  ${line}`))
  lines.push(...overdueLines(view.overdue.get(pipeline) ?? [], now, colors))
  if (lastRun?.error !== undefined && lastRun.status !== "cancelled") lines.push(...errorLines(lastRun.error, colors))
  const next = lastRun && nextStep(lastRun)
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

function facts(status: PipelineStatus, partitions: readonly PartitionState[], now: Date, style: GridStyle): string[][] {
  const { colors } = style
  const rows: string[][] = []
  const inAll = partitions.length > 0 ? legend(partitions, style) : listed(status.partitions)
  if (inAll !== "") rows.push([colors.dim("partitions"), inAll])
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
  return more > 0 ? [...lines, `  … and ${figure(more)} more: spillway status --partitions ${status.pipeline}`] : lines
}

/** More would hide the rest; `--json` has them all. */
const OVERDUE_SHOWN = 10

function overdueLines(overdue: readonly OverduePartition[], now: Date, colors: Colors): string[] {
  const lines = overdue
    .slice(0, OVERDUE_SHOWN)
    .map(
      ({ key, reason, dueAt }) =>
        `  ${colors.yellow("▲ overdue")} ${key} (due ${ago(now.getTime() - dueAt.getTime())}): ${reason}`,
    )
  const more = overdue.length - lines.length
  return more > 0 ? [...lines, `  … and ${figure(more)} more overdue`] : lines
}

/** Services that are not called, or only on trial, because too many calls failed, or whose failures used up retries; all others are nothing to look at. */
function breakerLines({ breakers, budgets, now }: StatusView, colors: Colors): string[] {
  const paused = breakers
    .filter(({ state }) => state !== "closed")
    .map((breaker) => {
      const { name, state, openedAt } = breaker
      const mark = state === "open" ? colors.red("◆ open") : colors.yellow("▲ half-open")
      const since = openedAt === undefined ? "" : `since ${ago(now.getTime() - openedAt.getTime())}`
      return [mark, name, since, nextTry(breaker, now)]
    })
  const drawn = budgets
    .filter(({ available, reserve }) => available < reserve)
    .map((budget) => [
      retriesLeft(budget) === 0 ? colors.red("◆ no retries") : colors.yellow("▲ retries"),
      budget.name,
      `as of ${ago(now.getTime() - budget.updatedAt.getTime())}`,
      `${retriesLeft(budget)} left, ${figure(budget.reserve)} at the start, ${figure(budget.capacity)} at most`,
    ])
  const rows = [...paused, ...drawn]
  if (rows.length === 0) return []
  const heading = drawn.length === 0 ? "circuit breakers" : "circuit breakers and retry budgets"
  return [colors.bold(heading), ...columns(rows, { indent: "  " })]
}

/** Whole retries; fractions add up with an error in the last digits. */
const retriesLeft = ({ available }: ListedBudget): number => Math.floor(available + 1e-9)

function nextTry({ isProbing, nextTryAt, passedProbes }: ListedBreaker, now: Date): string {
  const passed = passedProbes > 0 ? `, ${plural(passedProbes, "trial call")} succeeded` : ""
  const left = nextTryAt === undefined ? 0 : nextTryAt.getTime() - now.getTime()
  if (isProbing) return `a trial call is on its way, given up in ${duration(left)}${passed}`
  return left > 0 ? `next try in ${duration(left)}${passed}` : `the next call is tried${passed}`
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
