import type { RunEvent } from "../core/events.ts"
import type { JsonValue } from "../core/json.ts"
import type { Ports } from "../core/ports.ts"
import { unfinishedBackfill, type Backfill } from "../ledger/backfills.ts"
import type { Database, Session } from "../postgres/session.ts"
import type { WorkerEvent } from "./events.ts"
import { backfillProgress, continueBackfill, enqueueBackfill, isOver, type BackfillProgress } from "./fan-out.ts"
import { work } from "./worker.ts"
import type { PartitionState, Workload } from "./workload.ts"

export interface BackfillOptions {
  readonly workload: Workload
  readonly database: Database
  readonly ports: Ports
  readonly pipeline: string
  /** Partitions that this process builds at a time; other workers take what it does not. */
  readonly concurrency: number
  readonly signal: AbortSignal
  /** What to do, unless the same is under way; undefined: only continue the newest that has not finished. */
  readonly request: BackfillOrder | undefined
  readonly on?: (event: WorkerEvent) => void
  readonly onRun?: (event: RunEvent) => void
  /** Told about twice a second. */
  readonly onProgress?: (progress: BackfillProgress) => void
}

export interface BackfillOrder {
  /** Names the backfill: the same again continues it. */
  readonly selection: JsonValue
  /** Called when it is not under way: the partitions to build, in order, and how many need nothing. */
  readonly choose: () => Promise<{ readonly chosen: readonly PartitionState[]; readonly skipped: number }>
}

export interface BackfillReport extends BackfillProgress {
  readonly pipeline: string
  /** It was begun before, and continued. */
  readonly continued: boolean
  readonly durationMs: number
}

/**
 * Begins or continues a backfill, works on it and waits until all its partitions are done or have failed; undefined when
 * there is none to continue. When the signal is aborted the rest stays queued: for other workers, or the same backfill later.
 */
export async function runBackfill(options: BackfillOptions): Promise<BackfillReport | undefined> {
  const { workload, database, ports, pipeline, concurrency, signal, request, on, onRun } = options
  const started = ports.clock.monotonic()
  const found = await inSession(database, (session) => unfinishedBackfill(session, pipeline, request?.selection))
  if (found === undefined && request === undefined) return undefined
  const order = found === undefined ? await request?.choose() : undefined
  let backfill: Backfill | undefined = found
  await work({
    workload,
    database,
    ports,
    concurrency,
    pipelines: [pipeline],
    schedules: false,
    signal,
    begin: async ({ ledger, queue }) => {
      if (found !== undefined) return continueBackfill(ledger, queue, found)
      if (order !== undefined && request !== undefined)
        backfill = await enqueueBackfill(ledger, queue, ports, { pipeline, selection: request.selection, ...order })
    },
    enough: async ({ ledger }) => {
      const current = backfill
      if (current === undefined) return true
      const progress = await ledger.use("looking at the backfill", (session) => backfillProgress(session, current))
      options.onProgress?.(progress)
      return isOver(progress)
    },
    ...(on === undefined ? {} : { on }),
    ...(onRun === undefined ? {} : { onRun }),
  })
  const current = backfill
  if (current === undefined) return undefined
  // Once more: what was in hand may have been given back since.
  const progress = await inSession(database, (session) => backfillProgress(session, current))
  return { ...progress, pipeline, continued: found !== undefined, durationMs: ports.clock.monotonic() - started }
}

async function inSession<T>(database: Database, body: (session: Session) => Promise<T>): Promise<T> {
  const session = await database.connect()
  try {
    return await body(session)
  } finally {
    await session.end()
  }
}
