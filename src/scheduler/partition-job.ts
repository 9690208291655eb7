import { insertLogs } from "../ledger/logs.ts"
import { endPartition, takePartition, touchPartition } from "../ledger/backfills.ts"
import { attempt, type AttemptEnd } from "./attempt.ts"
import { keepClaim } from "./claim.ts"
import { workerLogLine } from "./events.ts"
import type { Job } from "./queue.ts"
import type { WorkerContext } from "./worker-context.ts"

/** What became of a job in this worker's hands. `retrying` and `returned` are taken up by whoever is next. */
export type JobEnd = "done" | "failed" | "retrying" | "returned" | "lost"

/** Builds one partition, and settles its job and its rows in one transaction. */
export async function carryOutPartition(context: WorkerContext, job: Job, key: string): Promise<JobEnd> {
  const { ledger, queue } = context
  const { pipeline } = job
  const attemptNo = await ledger.use("taking a partition", (session) =>
    takePartition(session, pipeline, key, context.id),
  )
  if (attemptNo === 0) {
    // Whatever wanted it has ended, or was deleted.
    await ledger.transaction("settling a job", (session) => queue.complete(session, job))
    return "done"
  }
  context.emit({ type: "partition.taken", pipeline, partition: key, attempt: attemptNo })
  const claim = keepClaim(context, job, () =>
    ledger.use("touching a partition", (session) => touchPartition(session, pipeline, key)),
  )
  let end: AttemptEnd
  try {
    end = await attempt(context, claim, pipeline, { partitions: [key], correlationId: undefined })
  } finally {
    await claim.release()
  }
  return settle(context, job, { key, attemptNo }, end)
}

async function settle(
  context: WorkerContext,
  job: Job,
  at: { readonly key: string; readonly attemptNo: number },
  end: AttemptEnd,
): Promise<JobEnd> {
  switch (end.kind) {
    case "lost":
      return "lost"
    case "stopped":
      return giveBack(context, job, at.key)
    case "done":
      return settleDone(context, job, at, end.report.runId)
    case "failed":
      return settleFailed(context, job, at, end)
  }
}

async function giveBack({ ledger, queue, emit }: WorkerContext, job: Job, key: string): Promise<JobEnd> {
  const ours = await ledger.transaction("giving a partition back", async (session) => {
    if (!(await queue.giveBack(session, job))) return false
    await endPartition(session, job.pipeline, key, { status: "queued", runId: undefined, error: undefined })
    return true
  })
  if (!ours) return "lost"
  emit({ type: "partition.returned", pipeline: job.pipeline, partition: key })
  return "returned"
}

async function settleDone(
  { ledger, queue, emit }: WorkerContext,
  job: Job,
  { key, attemptNo }: { readonly key: string; readonly attemptNo: number },
  runId: string,
): Promise<JobEnd> {
  const ours = await ledger.transaction("settling a partition", async (session) => {
    if (!(await queue.complete(session, job))) return false
    await endPartition(session, job.pipeline, key, { status: "done", runId, error: undefined })
    return true
  })
  if (!ours) return "lost"
  emit({ type: "partition.done", pipeline: job.pipeline, partition: key, attempt: attemptNo, runId })
  return "done"
}

async function settleFailed(
  { ledger, queue, emit, stamp }: WorkerContext,
  job: Job,
  { key, attemptNo }: { readonly key: string; readonly attemptNo: number },
  end: Extract<AttemptEnd, { kind: "failed" }>,
): Promise<JobEnd> {
  const { failure, runId, retryable } = end
  const again = retryable && job.retryCount < job.retryLimit
  const type = again ? "partition.retrying" : "partition.failed"
  const body = { type, pipeline: job.pipeline, partition: key, attempt: attemptNo, error: failure } as const
  const ours = await ledger.transaction("settling a partition", async (session) => {
    // Without a try left pg-boss keeps the job as failed; one that could be tried again, but must not be, is ended.
    const settled = retryable ? await queue.retry(session, job, failure) : await queue.complete(session, job)
    if (!settled) return false
    await endPartition(session, job.pipeline, key, { status: again ? "queued" : "failed", runId, error: failure })
    await insertLogs(session, [workerLogLine(stamp(body))])
    return true
  })
  if (!ours) return "lost"
  emit(body)
  return again ? "retrying" : "failed"
}
