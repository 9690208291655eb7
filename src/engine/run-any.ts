import type { Pipeline } from "./definition.ts"
import type { PartitionPlan, PlanOptions } from "./plan-partitions.ts"
import type { Runnable } from "./project.ts"
import type { RunReport } from "./report.ts"
import type { RunOptions } from "./run.ts"

// What runs is loaded by the first run, so that declaring pipelines stays light.

/**
 * Runs a pipeline, a model or stages once: whatever is new or changed goes into its table, exactly once. Throws only what ended
 * before a run began (`CONFIG`, `LEASE_HELD`, `DB_UNAVAILABLE`, …); afterwards the report tells how it ended.
 */
export async function run(runnable: Runnable, options: RunOptions): Promise<RunReport> {
  if (runnable.kind === "stages") {
    const { runStages } = await import("./run-stages.ts")
    return runStages(runnable, options)
  }
  const { runLoad } = await import("./run.ts")
  const { loadOf } = await import("./load-of.ts")
  return runLoad(await loadOf(runnable, options.ports), options)
}

/** The same for a pipeline. */
export const runPipeline = (pipeline: Pipeline, options: RunOptions): Promise<RunReport> => run(pipeline, options)

/** The partitions that a runnable has now and what is to be done about each. Reads only. Throws as `run` does. */
export async function partitionsOf(runnable: Runnable, options: PlanOptions): Promise<PartitionPlan[]> {
  const { planPartitions } = await import("./plan-partitions.ts")
  return planPartitions(runnable, options)
}

export type { PartitionPlan, PlanOptions }
