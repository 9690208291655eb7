import { duration, figure, perSecond, percent, plural } from "../observability/wording.ts"
import type { FaultCount, ValidateReport } from "../validate/tally.ts"
import type { Colors } from "./colors.ts"
import { columns } from "./table.ts"

/** A report for people: what was read, what is not valid and why, where it went. */
export function validateText(report: ValidateReport, colors: Colors): string {
  const { read, good, bad, passRate, minPassRate, passed, durationMs } = report
  const rate = perSecond(read, durationMs)
  const mark = bad === 0 ? colors.green("●") : passed ? colors.yellow("▲") : colors.red("◆")
  const lines = [
    `${mark} ${plural(read, "record")} read, ${figure(good)} good, ${figure(bad)} set aside` +
      (passRate === null ? "" : ` (${percent(good, read)} pass)`) +
      colors.dim(`  ${duration(durationMs)}${rate === undefined ? "" : `, ${figure(rate)}/s`}`),
  ]
  if (passRate !== null && !passed && minPassRate < 1)
    lines.push(`  below the pass rate of ${minPassRate * 100} % that was asked for`)
  if (report.limited) lines.push(`  stopped at --limit ${figure(read)}`)
  if (report.files.length > 1) lines.push("", ...perFile(report))
  if (report.faults.length > 0) lines.push("", ...faultLines(report.faults, colors))
  const named: readonly (readonly [string, string | null])[] = [
    ["good records", report.goodOut],
    ["dead letters", report.deadLetter],
  ]
  const places = named.flatMap(([what, name]) => (name === null || name === "-" ? [] : [[what, name]]))
  if (places.length > 0) lines.push("", ...columns(places, { indent: "  " }))
  return lines.join("\n")
}

function perFile({ files }: ValidateReport): string[] {
  const rows = files.map(({ file, read, bad }) => [file, figure(read), figure(bad)])
  return columns([["file", "read", "set aside"], ...rows], { indent: "  ", right: [1, 2] })
}

function faultLines(faults: readonly FaultCount[], colors: Colors): string[] {
  const rows = faults.map(({ count, code, path, rule, expected }) => [
    figure(count),
    code,
    path === "" ? "(record)" : path,
    rule ?? "",
    expected === null ? "" : `expected ${expected}`,
  ])
  const [head = "", ...others] = columns([["count", "code", "field", "rule", ""], ...rows], {
    indent: "  ",
    right: [0],
  })
  return [colors.dim(head), ...others]
}
