import type { Colors } from "./colors.ts"
import { redact } from "../core/secrets.ts"
import type { DescribedLetter } from "../dead-letters/described-letter.ts"
import type { Group } from "../dead-letters/groups.ts"
import type { FieldTally, GroupTally, Tallied, TriageReport } from "../dead-letters/triage-report.ts"
import { visible } from "../dead-letters/visible.ts"
import type { GroupState } from "../ledger/dead-letter-groups.ts"
import { figure, percent, plural } from "../observability/wording.ts"
import { columns, cut } from "./table.ts"

/** What triage can count by. */
export const dimensions = ["code", "field", "group", "source", "pipeline", "status", "time"] as const
export type Dimension = (typeof dimensions)[number]

export interface TriageView {
  readonly report: TriageReport
  /** Undefined for files, whose groups have no state. */
  readonly groups: ReadonlyMap<string, Group> | undefined
  /** What was read, for people. */
  readonly from: string
  /** Only this table, in full. */
  readonly by: Dimension | undefined
  /** Show the samples of the group with the difference from the schema. */
  readonly detail: boolean
}

/** Rows of a table on the one screen; with `by`, of the one table. */
const ROWS_SHOWN = 8
const ROWS_IN_FULL = 100

/** What happened, on one screen. */
export function triageText(view: TriageView, colors: Colors, width: number): string {
  const { report, by } = view
  const lines = [headLine(view, colors)]
  if (report.letters > 0) {
    const rows = by === undefined ? ROWS_SHOWN : ROWS_IN_FULL
    const wanted = (dimension: Dimension): boolean => (by === undefined ? SCREEN.includes(dimension) : by === dimension)
    if (wanted("status") || report.byStatus.length > 1)
      lines.push(...table("by status", report.byStatus, report, rows, colors))
    if (wanted("code")) lines.push(...table("by code", report.byCode, report, rows, colors))
    if (wanted("pipeline") || (by === undefined && report.byPipeline.length > 1))
      lines.push(...table("by pipeline", report.byPipeline, report, rows, colors))
    if (wanted("field")) lines.push(...table("by field and rule", report.byField.map(fieldRow), report, rows, colors))
    if (wanted("group")) lines.push(...groupLines(view, rows, colors, width))
    if (wanted("source")) lines.push(...table("by source", report.bySource, report, rows, colors))
    if (wanted("time")) lines.push(...timeLines(report, colors))
  }
  lines.push(...unreadLines(report, colors))
  if (by === undefined && !view.detail && report.groups.length > 0) lines.push("", nextStep(view, colors))
  return redact(lines.join("\n"))
}

const SCREEN: readonly Dimension[] = ["code", "field", "group", "source"]

function headLine({ report, from }: TriageView, colors: Colors): string {
  const head = `${colors.bold(plural(report.letters, "dead letter"))} in ${visible(from)}`
  if (report.from === undefined || report.to === undefined) return head
  return `${head}, ${span(report.from, report.to)}  ${colors.cyan(sparkline(report.trend))}`
}

const BARS = "▁▂▃▄▅▆▇█"

/** One bar for each count, the highest full; a space for none. */
export function sparkline(counts: readonly number[]): string {
  const most = Math.max(...counts, 1)
  return counts
    .map((count) => (count === 0 ? " " : (BARS[Math.max(0, Math.ceil((count / most) * BARS.length) - 1)] ?? "")))
    .join("")
}

/** `2026-11-20 03:00 – 04:12` (UTC). */
function span(from: number, to: number): string {
  const [first, last] = [minute(from), minute(to)]
  if (first === last) return `${first} UTC`
  return `${first} – ${first.slice(0, 10) === last.slice(0, 10) ? last.slice(11) : last} UTC`
}

const minute = (time: number): string => new Date(time).toISOString().slice(0, 16).replace("T", " ")

const second = (time: number): string => new Date(time).toISOString().slice(0, 19).replace("T", " ")
const MINUTE_MS = 60_000

const fieldRow = ({ field, rule, letters }: FieldTally): Tallied => ({ name: fieldWords(field, rule), letters })

const fieldWords = (field: string, rule: string): string =>
  `${field === "" ? "(whole record)" : field}${rule === "" ? "" : `: ${rule}`}`

function table(title: string, rows: readonly Tallied[], report: TriageReport, shown: number, colors: Colors): string[] {
  if (rows.length === 0) return []
  const cells = rows
    .slice(0, shown)
    .map(({ name, letters }) => [
      figure(letters),
      percent(letters, report.letters),
      name === "" ? colors.dim("(none)") : visible(name),
    ])
  const more = rows.length - cells.length
  return [
    "",
    colors.bold(title),
    ...columns(cells, { indent: "  ", right: [0, 1] }),
    ...(more > 0 ? [colors.dim(`  … and ${figure(more)} more`)] : []),
  ]
}

function groupLines(view: TriageView, shown: number, colors: Colors, width: number): string[] {
  const { report, groups, detail } = view
  if (report.groups.length === 0) return []
  const lines = ["", colors.bold("by group")]
  for (const group of report.groups.slice(0, shown))
    lines.push(...oneGroup(group, groups?.get(group.fingerprint), { detail, colors, width }))
  const more = report.groupCount - Math.min(shown, report.groups.length)
  if (more > 0) lines.push(colors.dim(`  … and ${plural(more, "more group", "more groups")}`))
  if (report.ungrouped > 0)
    lines.push(colors.dim(`  ${plural(report.ungrouped, "letter")} in groups too many to keep apart`))
  return lines
}

interface GroupStyle {
  readonly detail: boolean
  readonly colors: Colors
  readonly width: number
}

function oneGroup(group: GroupTally, known: Group | undefined, style: GroupStyle): string[] {
  const { colors, detail, width } = style
  const what = `${visible(group.code)} ${visible(fieldWords(group.field, group.rule))}`
  const pipeline = group.pipeline === "" ? "" : colors.dim(`  ${visible(group.pipeline)}`)
  const state = known === undefined ? "" : `  ${stateMark(known.state, colors)}`
  const lines = [
    `  ${colors.bold(visible(group.fingerprint))}  ${plural(group.letters, "letter")}  ${what}${pipeline}${state}`,
  ]
  if (group.firstSeen !== undefined && group.lastSeen !== undefined)
    lines.push(
      `    ${colors.cyan(sparkline(group.trend))}  ${colors.dim(`first ${minute(group.firstSeen)}, last ${minute(group.lastSeen)}`)}`,
    )
  if (known !== undefined) lines.push(...decisionLines(known).map((line) => `    ${line}`))
  for (const sample of group.samples)
    lines.push(...(detail ? sampleDetail(sample, colors, width) : [sampleLine(sample, colors, width)]))
  return lines
}

/** A state is a shape and a word; colour only helps. */
export function stateMark(state: GroupState, colors: Colors): string {
  switch (state) {
    case "new":
      return colors.yellow("▲ new")
    case "ongoing":
      return colors.yellow("▲ ongoing")
    case "escalating":
      return colors.red("◆ escalating")
    case "regressed":
      return colors.red("◆ regressed")
    case "resolved":
      return colors.green("● resolved")
    case "suppressed":
      return colors.dim("○ suppressed")
  }
}

function decisionLines(group: Group): string[] {
  const lines: string[] = []
  if (group.suppressedUntil !== undefined)
    lines.push(`suppressed until ${minute(group.suppressedUntil.getTime())}: ${visible(group.suppressReason ?? "")}`)
  if (group.note !== undefined) lines.push(`note: ${visible(group.note)}`)
  return lines
}

function sampleLine(sample: DescribedLetter, colors: Colors, width: number): string {
  const wrong = sample.difference.find((line) => line.faults.length > 0)
  const value = wrong === undefined || wrong.field === "" ? "" : `${wrong.field} = ${wrong.got}`
  const text = visible([sample.place, value, sample.message].filter((part) => part !== "").join("  "))
  return `    ${colors.dim("e.g.")} ${cut(text, Math.max(40, width - 9))}`
}

/** One letter against its schema: what was expected of each field, and what it is. */
export function sampleDetail(sample: DescribedLetter, colors: Colors, width: number): string[] {
  const head = [sample.id, sample.place, sample.time]
    .filter((part) => part !== "")
    .map(visible)
    .join("  ")
  const lines = ["", `    ${head}`]
  const room = Math.max(40, width - 12)
  for (const { field, faults, got } of sample.difference) {
    const name = field === "" ? "(whole record)" : visible(field)
    if (faults.length === 0) lines.push(colors.dim(`      ${name}: ${cut(visible(got), room - name.length)}`))
    else {
      for (const { expected, message, rule } of faults) {
        const words = visible(expected === "" ? message.replace(`${field}: `, "") : `expected ${expected}`)
        lines.push(`    ${colors.green(`- ${name}: ${words}`)}${rule === "" ? "" : colors.dim(`  (${visible(rule)})`)}`)
      }
      lines.push(`    ${colors.red(`+ ${name}: got ${cut(visible(got), room - name.length)}`)}`)
    }
  }
  if (sample.raw !== undefined) lines.push(colors.dim(`      raw: ${cut(visible(sample.raw), room)}`))
  return lines
}

function timeLines(report: TriageReport, colors: Colors): string[] {
  const { from, to, trend } = report
  if (from === undefined || to === undefined) return []
  const step = (to - from) / trend.length
  const shown = step < MINUTE_MS ? second : minute
  const rows = trend.map((letters, i) => [
    shown(from + i * step),
    figure(letters),
    sparkline([letters, Math.max(...trend)])[0] ?? "",
  ])
  return ["", colors.bold("by time"), ...columns(rows, { indent: "  ", right: [1] })]
}

function unreadLines(report: TriageReport, colors: Colors): string[] {
  if (report.unread === 0) return []
  const lines = report.unreadSamples.slice(0, ROWS_SHOWN).map(({ where, reason }) => `  ${visible(where)}: ${reason}`)
  const more = report.unread - lines.length
  return [
    "",
    colors.yellow(`▲ ${plural(report.unread, "piece")} of the input could not be read as a letter`),
    ...lines,
    ...(more > 0 ? [colors.dim(`  … and ${figure(more)} more`)] : []),
  ]
}

function nextStep({ report, groups }: TriageView, colors: Colors): string {
  const [first] = report.groups
  const group = visible(first?.fingerprint ?? "")
  const more = groups === undefined ? "" : `, spillway dlq list --group ${group}`
  return `${colors.cyan("next")}: spillway triage --group ${group} shows one letter against its schema${more}`
}
