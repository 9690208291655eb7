import { asSpillwayError } from "../core/errors.ts"
import type { Expected } from "../core/schedule.ts"
import { insertLogs } from "../ledger/logs.ts"
import { insertMetrics } from "../ledger/metrics.ts"
import { noteOverdue } from "../ledger/schedules.ts"
import { workerLogLine, type WorkerEventBody } from "./events.ts"
import { overdue } from "./expected.ts"
import type { WorkerContext } from "./worker-context.ts"

/**
 * Looks for partitions that should be done by now. Each is told once until it is done, whatever the number of workers:
 * a line of the log, a metric and a row of `ops.overdue_partitions`, in one transaction.
 */
export async function watchOverdue(context: WorkerContext): Promise<void> {
  for (const { name, expected } of context.workload.items) {
    if (expected === undefined) continue
    try {
      await watchOne(context, name, expected)
    } catch (thrown) {
      // A source that cannot be looked at now is no reason to stop building the others.
      if (context.signal.aborted) return
      const { code, message, hint } = asSpillwayError(thrown)
      context.emit({ type: "worker.warning", pipeline: name, error: { code, message, hint } })
    }
  }
}

async function watchOne(context: WorkerContext, pipeline: string, rule: Expected): Promise<void> {
  const { ledger, ports, workload, signal, emit, stamp, id } = context
  const now = ports.clock.now()
  const late = overdue(rule, await workload.partitionsOf(pipeline, signal), now)
  const told = await ledger.transaction("noting overdue partitions", async (session) => {
    const fresh = await noteOverdue(session, pipeline, late)
    const bodies = fresh.map(({ key, dueAt, reason }): WorkerEventBody => ({
      type: "partition.overdue",
      pipeline,
      partition: key,
      dueAt,
      reason,
    }))
    await insertLogs(
      session,
      bodies.map((body) => workerLogLine(stamp(body))),
    )
    if (fresh.length > 0)
      await insertMetrics(session, [
        {
          time: now,
          pipeline,
          runId: id,
          name: "pipeline.schedule.partitions_overdue",
          value: late.length,
          type: "gauge",
          dims: {},
        },
      ])
    return bodies
  })
  for (const body of told) emit(body)
}
