import { endTick, hasOpenTick, holdSchedule, takeTick } from "../ledger/schedules.ts"
import { insertLogs } from "../ledger/logs.ts"
import { attempt, type AttemptEnd } from "./attempt.ts"
import { keepClaim, type Claim } from "./claim.ts"
import { workerLogLine, type WorkerEventBody } from "./events.ts"
import type { JobEnd } from "./partition-job.ts"
import type { Job } from "./queue.ts"
import type { WorkerContext } from "./worker-context.ts"

/** Runs the open ticks of a schedule, the oldest first, until none is left. */
export async function carryOutTicks(context: WorkerContext, job: Job): Promise<JobEnd> {
  const claim = keepClaim(context, job, () => Promise.resolve())
  try {
    for (;;) {
      const end = await carryOutNext(context, job, claim)
      if (end !== undefined) return end
    }
  } finally {
    await claim.release()
  }
}

/** Undefined: there may be more. */
async function carryOutNext(context: WorkerContext, job: Job, claim: Claim): Promise<JobEnd | undefined> {
  const { ledger, queue } = context
  const { pipeline } = job
  const tick = await ledger.use("taking a tick", (session) => takeTick(session, pipeline, context.id))
  if (tick === undefined) return closeJob(context, job)
  context.emit({ type: "tick.started", pipeline, tick })
  const stamp = new Date(tick).toISOString().replace(/[-:]|\.\d+/g, "")
  const correlationId = `tick_${stamp}_${context.ports.random.hex(4)}`
  const end = await attempt(context, claim, pipeline, { partitions: undefined, correlationId })
  if (end.kind === "lost") return "lost"
  if (end.kind !== "stopped") {
    await settle(context, job, tick, end)
    return undefined
  }
  const ours = await ledger.transaction("giving a tick back", async (session) => {
    if (!(await queue.giveBack(session, job))) return false
    await endTick(session, pipeline, tick, { status: "queued", runId: undefined, error: undefined })
    return true
  })
  return ours ? "returned" : "lost"
}

/** Ends the job unless a tick came in at this very moment: whoever decides on ticks holds the schedule's row, as this does. */
async function closeJob({ ledger, queue }: WorkerContext, job: Job): Promise<JobEnd | undefined> {
  return ledger.transaction("ending a scheduled job", async (session) => {
    await holdSchedule(session, job.pipeline)
    if (await hasOpenTick(session, job.pipeline)) return undefined
    return (await queue.complete(session, job)) ? "done" : "lost"
  })
}

async function settle(
  { ledger, emit, stamp }: WorkerContext,
  { pipeline }: Job,
  tick: number,
  end: Extract<AttemptEnd, { kind: "done" | "failed" }>,
): Promise<void> {
  const body: WorkerEventBody =
    end.kind === "done"
      ? { type: "tick.done", pipeline, tick, status: end.report.status, runId: end.report.runId }
      : { type: "tick.failed", pipeline, tick, error: end.failure }
  await ledger.transaction("settling a tick", async (session) => {
    await endTick(session, pipeline, tick, {
      status: end.kind,
      runId: end.kind === "done" ? end.report.runId : end.runId,
      error: end.kind === "done" ? undefined : end.failure,
    })
    await insertLogs(session, [workerLogLine(stamp(body))])
  })
  emit(body)
}
