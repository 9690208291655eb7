import { asSpillwayError, type SpillwayError } from "../core/errors.ts"
import type { RunReport } from "../engine/report.ts"
import type { Claim } from "./claim.ts"
import type { Failure } from "./events.ts"
import type { WorkerContext } from "./worker-context.ts"

/** How one attempt ended. `stopped`: the worker was asked to stop; `lost`: another worker has the job. */
export type AttemptEnd =
  | { readonly kind: "done"; readonly report: RunReport }
  | {
      readonly kind: "failed"
      readonly failure: Failure
      readonly runId: string | undefined
      readonly retryable: boolean
    }
  | { readonly kind: "stopped" }
  | { readonly kind: "lost" }

/** How often it is looked whether another run has given back what it held. */
const LOOK_AGAIN_MS = 1_000

/** Runs a pipeline under a claim: those partitions, or whatever there is to do. While another run holds them, waits and looks again. */
export async function attempt(
  context: WorkerContext,
  claim: Claim,
  pipeline: string,
  what: { readonly partitions: readonly string[] | undefined; readonly correlationId: string | undefined },
): Promise<AttemptEnd> {
  for (;;) {
    try {
      claim.signal.throwIfAborted()
      const report = await context.workload.run(pipeline, { ...what, signal: claim.signal, on: context.onRun })
      return endOf(context, claim, report, what.partitions !== undefined)
    } catch (thrown) {
      const error = asSpillwayError(thrown)
      if (error.code === "LEASE_HELD" && !claim.signal.aborted) {
        await context.ports.clock.sleep(LOOK_AGAIN_MS, claim.signal).catch(() => undefined)
        continue
      }
      return aborted(context, claim) ?? failed(error, undefined)
    }
  }
}

/** A run that was to build named partitions has failed when it held one; any other did its work, and says what it held. */
function endOf(context: WorkerContext, claim: Claim, report: RunReport, named: boolean): AttemptEnd {
  if (report.status === "completed") return { kind: "done", report }
  if (report.status === "cancelled") {
    const end = aborted(context, claim)
    if (end !== undefined) return end
  }
  const [held] = report.held
  if (report.status === "partial" && (!named || held === undefined)) return { kind: "done", report }
  const error = report.error ?? held ?? { code: "UNKNOWN", message: `the run ended ${report.status}`, hint: undefined }
  return failed(error, report.runId)
}

function aborted(context: WorkerContext, claim: Claim): AttemptEnd | undefined {
  if (claim.lost) return { kind: "lost" }
  return context.signal.aborted ? { kind: "stopped" } : undefined
}

function failed(error: Pick<SpillwayError, "code" | "message" | "hint">, runId: string | undefined): AttemptEnd {
  const { code, message, hint } = error
  // Trying again mends neither a declaration nor a password.
  return { kind: "failed", failure: { code, message, hint }, runId, retryable: code !== "CONFIG" && code !== "AUTH" }
}
