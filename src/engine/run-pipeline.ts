import type { Pipeline } from "./definition.ts"
import type { RunReport } from "./report.ts"
import type { RunOptions } from "./run.ts"

/**
 * Runs a pipeline once: whatever is new or changed at its source goes into its table, exactly once. Throws only what ended
 * before a run began (`CONFIG`, `LEASE_HELD`, `DB_UNAVAILABLE`, …); afterwards the report tells how it ended.
 */
export async function runPipeline(pipeline: Pipeline, options: RunOptions): Promise<RunReport> {
  // Loaded by the first run, so that declaring pipelines stays light.
  const run = await import("./run.ts")
  return run.runPipeline(pipeline, options)
}
