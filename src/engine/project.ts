import { SpillwayError } from "../core/errors.ts"
import { retentionOf, type RetentionOptions } from "../ledger/retention.ts"
import { suppressions, type SuppressionRule } from "../resilience/suppression.ts"
import type { Pipeline } from "./definition.ts"
import type { Model } from "./model/model.ts"
import { sinkName } from "./sink-name.ts"
import type { Stages } from "./stages.ts"

/** What a project runs. */
export type Runnable = Pipeline | Model | Stages

export interface ProjectOptions {
  pipelines: readonly Runnable[]
  /** How long `spillway prune` keeps what `ops` gathers: `{ logs: "30 days" }`. */
  retention?: RetentionOptions
  /** Failures of addresses that are expected for a while: `[{ pattern: "https://host/old/*", status: 404, reason: "…", expires: "2026-12-31" }]`. */
  suppress?: readonly SuppressionRule[]
}

/** What `spillway.config.ts` exports. */
export interface Project {
  readonly kind: "spillway-project"
  /** In the order in which they run: a table is written before it is read. */
  readonly pipelines: readonly Runnable[]
  readonly retention: RetentionOptions
  readonly suppress: readonly SuppressionRule[]
}

/** Declares a project. Throws `CONFIG` when two names are the same, tables depend on one another in a circle, a duration is none, or a rule is wrong. */
export function project(options: ProjectOptions): Project {
  const names = options.pipelines.flatMap((runnable) =>
    runnable.kind === "stages" ? [runnable.name, ...runnable.stages.map((stage) => stage.name)] : [runnable.name],
  )
  const same = names.find((name, i) => names.indexOf(name) !== i)
  if (same !== undefined)
    throw new SpillwayError("CONFIG", `two pipelines are named "${same}"`, {
      hint: "names must be unique in a project",
    })
  const retention = options.retention ?? {}
  retentionOf(retention)
  const suppress = options.suppress ?? []
  suppressions(suppress)
  return { kind: "spillway-project", pipelines: inOrder(options.pipelines), retention, suppress }
}

/** The pipelines and models that carry a runnable out. */
export const partsOf = (runnable: Runnable): readonly (Pipeline | Model)[] =>
  runnable.kind === "stages" ? runnable.stages : [runnable]

const writes = (runnable: Runnable): string[] => partsOf(runnable).map(({ sink }) => sinkName(sink))

const readsOf = (runnable: Runnable): string[] =>
  partsOf(runnable).flatMap((part) => (part.kind === "model" ? part.reads.map((read) => read.table) : []))

/** Each after those that write what it reads, otherwise in the order of declaration. */
function inOrder(runnables: readonly Runnable[]): Runnable[] {
  const ordered: Runnable[] = []
  let left = [...runnables]
  while (left.length > 0) {
    const free = left.filter((runnable) =>
      left.every((other) => other === runnable || !writes(other).some((table) => readsOf(runnable).includes(table))),
    )
    const first = free[0]
    if (first === undefined)
      throw new SpillwayError(
        "CONFIG",
        `these read one another's tables in a circle: ${left.map((runnable) => runnable.name).join(", ")}`,
        { hint: "a table is written before it is read: let one of them read another table" },
      )
    ordered.push(first)
    left = left.filter((runnable) => runnable !== first)
  }
  return ordered
}
