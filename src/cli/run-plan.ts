import type { PartitionPlan } from "../engine/plan-partitions.ts"
import { partsOf, type Runnable } from "../engine/project.ts"
import { sinkName } from "../engine/sink-name.ts"
import { figure, plural } from "../observability/wording.ts"
import { partitionNoun } from "./choose-pipelines.ts"
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
export function planText(plans: readonly RunPlan[], colors: Colors): string {
  const changing = new Map<string, string>()
  return plans
    .map((plan) => {
      const first = partsOf(plan.runnable)
        .flatMap((part) => (part.kind === "model" ? part.reads : []))
        .map(({ table }) => changing.get(table))
        .find((name) => name !== undefined)
      if (toDo(plan).length > 0 || first !== undefined)
        for (const { sink } of partsOf(plan.runnable)) changing.set(sinkName(sink), first ?? plan.runnable.name)
      return one(plan, first, colors)
    })
    .join("\n\n")
}

/** `after`: what is done before, and changes what this is built from. */
function one(plan: RunPlan, after: string | undefined, colors: Colors): string {
  const chosen = toDo(plan)
  const count =
    plan.partitions.length === 0
      ? "nothing to do"
      : `${figure(chosen.length)} of ${plural(plan.partitions.length, partitionNoun(plan.runnable))} to do`
  const more = after === undefined ? "" : colors.dim(`, and what follows from ${after}`)
  const several = new Set(plan.partitions.map(({ part }) => part)).size > 1
  const lines = columns(
    chosen.map(({ part, key, reason, detail, rows }) => [
      several ? `${part}/${key}` : key,
      WHY[reason],
      rows === undefined ? "" : plural(rows, "row"),
      colors.dim(detail ?? ""),
    ]),
  )
  return [`${colors.bold(plan.runnable.name)}: ${count}${more}`, ...lines.map((line) => `  ${line.trimEnd()}`)].join(
    "\n",
  )
}
