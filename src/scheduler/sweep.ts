import { endPartition, finishBackfills, queueAgain, silentPartitions } from "../ledger/backfills.ts"
import { insertLogs } from "../ledger/logs.ts"
import { workerLogLine, type Failure } from "./events.ts"
import type { JobOrder } from "./queue.ts"
import type { WorkerContext } from "./worker-context.ts"

/** Longer than a claim lasts after its worker's death: what nothing was heard of for so long is looked at. */
const SILENT_MS = 30_000

/**
 * Mends what a dead worker or a job that vanished left behind, and closes backfills whose partitions have all ended. Safe
 * to do by several workers at once, and again.
 */
export async function sweep(context: WorkerContext, pipelines: readonly string[]): Promise<void> {
  const { ledger, queue } = context
  const silent = await ledger.use("looking for silent partitions", (session) =>
    silentPartitions(session, pipelines, SILENT_MS),
  )
  for (const { pipeline, key } of silent.filter(({ status }) => status === "active"))
    await settleSilent(context, pipeline, key)
  for (const pipeline of new Set(silent.map((partition) => partition.pipeline))) {
    const keys = silent.filter((p) => p.pipeline === pipeline && p.status === "queued").map((p) => p.key)
    if (keys.length === 0) continue
    await queue.prepare(pipeline)
    // What is in the queue already stays as it is.
    await ledger.transaction("queueing again", async (session) => {
      await queueAgain(session, pipeline, keys)
      await queue.add(
        session,
        pipeline,
        keys.map((key): JobOrder => ({ kind: "partition", key })),
      )
    })
  }
  await ledger.use("closing backfills", (session) => finishBackfills(session, pipelines))
}

async function settleSilent(context: WorkerContext, pipeline: string, key: string): Promise<void> {
  const { ledger, queue, emit, stamp } = context
  const standing = await queue.standing(pipeline, { kind: "partition", key })
  if (standing === "active") return
  if (standing !== "failed")
    return ledger.use("queueing again", (session) =>
      endPartition(session, pipeline, key, { status: "queued", runId: undefined, error: undefined }),
    )
  const error: Failure = {
    code: "RETRY_EXHAUSTED",
    message: "its worker died in the last attempt it was allowed",
    hint: "see the workers' output and this machine's memory (dmesg), then begin the same backfill again",
  }
  const body = { type: "partition.failed", pipeline, partition: key, attempt: 0, error } as const
  await ledger.transaction("settling a partition", async (session) => {
    await endPartition(session, pipeline, key, { status: "failed", runId: undefined, error })
    await insertLogs(session, [workerLogLine(stamp(body))])
  })
  emit(body)
}
