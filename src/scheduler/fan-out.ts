import type { JsonValue } from "../core/json.ts"
import type { Ports } from "../core/ports.ts"
import {
  backfillPartitions,
  finishBackfills,
  insertBackfill,
  unfinishedBackfill,
  type Backfill,
  type BackfillPartition,
} from "../ledger/backfills.ts"
import type { Session } from "../postgres/session.ts"
import type { JobOrder, JobQueue } from "./queue.ts"
import type { SerialSession } from "./serial-session.ts"
import type { PartitionState } from "./workload.ts"

export interface BackfillRequest {
  readonly pipeline: string
  /** What was asked for. The same again, while it has not finished, continues it. */
  readonly selection: JsonValue
  /** In the order in which they are to be built. */
  readonly chosen: readonly PartitionState[]
  /** Partitions of the range that need nothing. */
  readonly skipped: number
}

/** How far a backfill is. */
export interface BackfillProgress {
  readonly id: string
  readonly total: number
  readonly queued: number
  readonly active: number
  readonly done: number
  readonly failed: number
  readonly skipped: number
  /** Partitions whose last attempt failed and that wait for another. */
  readonly retrying: number
  /** All partitions that have failed for good. */
  readonly failures: readonly BackfillPartition[]
}

/**
 * Queues a backfill's partitions, with its rows, in one transaction. When the same one is under way it is continued: what
 * of it is open goes into the queue unless it is there. A partition that another backfill has queued is built once for both.
 */
export async function enqueueBackfill(
  ledger: SerialSession,
  queue: JobQueue,
  ports: Ports,
  request: BackfillRequest,
): Promise<Backfill> {
  const { pipeline, selection, chosen, skipped } = request
  await queue.prepare(pipeline)
  const stamp = new Date(ports.clock.now()).toISOString().replace(/[-:]|\.\d+/g, "")
  const id = `backfill_${stamp}_${ports.random.hex(4)}`
  const partitions = chosen.map(({ key, reason }) => ({ key, reason }))
  return ledger.transaction("queueing a backfill", async (session) => {
    await insertBackfill(session, { id, pipeline, selection, skipped, partitions })
    const backfill = await unfinishedBackfill(session, pipeline, selection)
    if (backfill === undefined) throw new TypeError(`backfill ${id} is not there`)
    await queueOpen(session, queue, backfill)
    return backfill
  })
}

/** Takes a backfill up again: what of it is open goes into the queue unless it is there. */
export function continueBackfill(ledger: SerialSession, queue: JobQueue, backfill: Backfill): Promise<void> {
  return ledger.transaction("continuing a backfill", (session) => queueOpen(session, queue, backfill))
}

async function queueOpen(session: Session, queue: JobQueue, { id, pipeline }: Backfill): Promise<void> {
  const open = (await backfillPartitions(session, id)).filter(
    ({ status }) => status === "queued" || status === "active",
  )
  const orders = open.map(({ key }): JobOrder => ({ kind: "partition", key }))
  await queue.add(session, pipeline, orders)
}

/** How far a backfill is by now; closes it when all its partitions have ended. */
export async function backfillProgress(session: Session, backfill: Backfill): Promise<BackfillProgress> {
  const partitions = await backfillPartitions(session, backfill.id)
  const count = (status: BackfillPartition["status"]): number => partitions.filter((p) => p.status === status).length
  const progress: BackfillProgress = {
    id: backfill.id,
    total: partitions.length,
    queued: count("queued"),
    active: count("active"),
    done: count("done"),
    failed: count("failed"),
    skipped: backfill.skipped,
    retrying: partitions.filter((p) => p.status === "queued" && p.error !== undefined).length,
    failures: partitions.filter((p) => p.status === "failed"),
  }
  if (isOver(progress)) await finishBackfills(session, [backfill.pipeline])
  return progress
}

/** Every partition is done or has failed for good. */
export const isOver = (progress: BackfillProgress): boolean => progress.queued + progress.active === 0
