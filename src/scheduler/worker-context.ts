import type { RunEvent } from "../core/events.ts"
import type { Ports } from "../core/ports.ts"
import type { JobQueue } from "./queue.ts"
import type { WorkerEvent, WorkerEventBody } from "./events.ts"
import type { SerialSession } from "./serial-session.ts"
import type { Workload } from "./workload.ts"

/** What the parts of one worker share. */
export interface WorkerContext {
  /** Names the worker in `ops` and in the log. */
  readonly id: string
  readonly workload: Workload
  readonly queue: JobQueue
  readonly ledger: SerialSession
  readonly ports: Ports
  /** Aborted when the worker is to stop: it gives back what it has in hand. */
  readonly signal: AbortSignal
  /** Stamps an event and tells it; gives the event, to be stored too. */
  readonly emit: (body: WorkerEventBody) => WorkerEvent
  readonly stamp: (body: WorkerEventBody) => WorkerEvent
  readonly onRun: (event: RunEvent) => void
}
