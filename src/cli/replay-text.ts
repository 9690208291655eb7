import type { ReplayPlan } from "../engine/replay/replay-plan.ts"
import type { ReplayOutcomes, ReplayReport } from "../engine/replay/replay.ts"
import { figure, plural } from "../observability/wording.ts"
import type { Colors } from "./colors.ts"
import { columns, cut } from "./table.ts"
import { visible } from "../dead-letters/visible.ts"

const OUTCOMES: readonly (readonly [string, string])[] = [
  ["loaded", "loaded"],
  ["outdated", "older than the row that is there, which stays"],
  ["filtered", "left out by the pipeline"],
  ["discarded", "discarded by the patch"],
  ["failed", "failed again"],
  ["poisoned", "poisoned: failed for the third time"],
  ["left", "left as they are"],
]

const WIDEST_REASON = 100
const MOST_GROUPS = 10

/** What a replay would do, before it does it. */
export function replayPlanText(plan: ReplayPlan, patch: string | undefined, colors: Colors): string {
  const { pipeline, letters, checked, groups } = plan
  const lines = [
    `${colors.bold(plural(letters, "letter"))} of ${colors.bold(pipeline)} would be replayed${patch === undefined ? "" : `, each patched with ${patch}`}`,
    ...columns(
      groups.slice(0, MOST_GROUPS).map((group) => [figure(group.letters), group.code, colors.dim(group.fingerprint)]),
      { indent: "  ", right: [0] },
    ),
  ]
  if (groups.length > MOST_GROUPS) lines.push(`  and ${plural(groups.length - MOST_GROUPS, "more group")}`)
  const rows: [number, string][] = [
    [plan.pass, colors.green("would pass")],
    [plan.filtered, "would be left out by the pipeline"],
    [plan.discarded, "would be discarded by the patch"],
    [plan.fail, colors.red("would still fail")],
    [plan.left, "would be left as they are"],
  ]
  lines.push(checked < letters ? `of the first ${figure(checked)}:` : "of these:")
  lines.push(
    ...columns(
      rows.filter(([n]) => n > 0).map(([n, what]) => [figure(n), what]),
      { indent: "  ", right: [0] },
    ),
  )
  lines.push(...reasonLines(plan.reasons, colors))
  return lines.join("\n")
}

export function replayReportText(report: ReplayReport, colors: Colors): string {
  const { pipeline, replayId, status, outcomes, joined } = report
  const mark = status === "completed" ? colors.green("✓") : colors.yellow("■")
  const known = OUTCOMES.filter(([name]) => (outcomes[name] ?? 0) > 0)
  return [
    `${mark} ${colors.bold(pipeline)} ${status}${joined ? " (continued)" : ""}: ${plural(sumOf(outcomes), "letter")}  ${colors.dim(replayId)}`,
    ...columns(
      known.map(([name, what]) => [figure(outcomes[name] ?? 0), what]),
      { indent: "  ", right: [0] },
    ),
    ...reasonLines(report.reasons, colors),
  ].join("\n")
}

export const sumOf = (outcomes: ReplayOutcomes): number => Object.values(outcomes).reduce((sum, n) => sum + n, 0)

function reasonLines(reasons: ReplayReport["reasons"], colors: Colors): string[] {
  if (reasons.length === 0) return []
  const rows = reasons
    .slice(0, MOST_GROUPS)
    .map(({ letters, outcome, reason }) => [
      figure(letters),
      outcome === "fail" ? "fail" : outcome,
      cut(visible(reason), WIDEST_REASON),
    ])
  return [colors.dim("why:"), ...columns(rows, { indent: "  ", right: [0] })]
}
