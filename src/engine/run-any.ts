import type { Pipeline } from "./definition.ts"
import type { PartitionPlan, PlanOptions } from "./plan-partitions.ts"
import type { Runnable } from "./project.ts"
import type { RunReport } from "./report.ts"
import type { ReplayPlan } from "./replay/replay-plan.ts"
import type { ReplayOptions, ReplayReport, ReplaySelection } from "./replay/replay.ts"
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

/**
 * Takes dead letters of a pipeline through its own path again into its table, exactly once. What is interrupted goes on with the same
 * call; two at once share the work. Throws `CONFIG` for a pipeline whose letters cannot be replayed, and what keeps it from beginning.
 */
export async function replayLetters(pipeline: Pipeline, options: ReplayOptions): Promise<ReplayReport> {
  const { replayLetters: replay } = await import("./replay/replay.ts")
  return replay(pipeline, options)
}

/** What a replay would do; `limit`: letters that are taken through the pipeline for it, default all. Changes nothing. */
export async function planReplay(
  pipeline: Pipeline,
  options: ReplaySelection & { readonly limit?: number },
): Promise<ReplayPlan> {
  const { planReplay: plan } = await import("./replay/replay-plan.ts")
  return plan(pipeline, options)
}

export type { PartitionPlan, PlanOptions, ReplayOptions, ReplayPlan, ReplayReport, ReplaySelection }
