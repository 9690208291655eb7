import type { PartitionPlan } from "../engine/plan-partitions.ts"
import type { Runnable } from "../engine/project.ts"
import { figure, plural } from "../observability/wording.ts"
import type { Colors } from "./colors.ts"
import { columns } from "./table.ts"

/** What a run would do, and to what. */
export interface RunPlan {
  readonly runnable: Runnable
  /** Partitions that are asked for. */
  readonly partitions: readonly PartitionPlan[]
}

/** Why a partition is chosen, in words of its kind. */
const WHY: Readonly<Record<PartitionPlan["reason"], string>> = {
  new: "missing",
  changed: "changed",
  stale: "stale",
  "held-before": "held before",
  "failed-before": "failed before",
  resumed: "resumed",
  full: "read in full",
  unchanged: "done",
}

export const toDo = ({ partitions }: RunPlan): PartitionPlan[] =>
  partitions.filter(({ reason }) => reason !== "unchanged")

/** What would be done, for people. */
export const planText = (plans: readonly RunPlan[], colors: Colors): string =>
  plans.map((plan) => one(plan, colors)).join("\n\n")

function one(plan: RunPlan, colors: Colors): string {
  const chosen = toDo(plan)
  const head = `${colors.bold(plan.runnable.name)}: ${figure(chosen.length)} of ${plural(plan.partitions.length, "partition")} to do`
  const several = new Set(plan.partitions.map(({ part }) => part)).size > 1
  const lines = columns(
    chosen.map(({ part, key, reason, detail, rows }) => [
      several ? `${part}/${key}` : key,
      WHY[reason],
      rows === undefined ? "" : plural(rows, "row"),
      colors.dim(detail ?? ""),
    ]),
  )
  return [head, ...lines.map((line) => `  ${line.trimEnd()}`)].join("\n")
}
