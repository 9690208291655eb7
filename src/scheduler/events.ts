import type { ErrorCode } from "../core/errors.ts"
import { redact, redactValue } from "../core/secrets.ts"
import type { LogLevel, LogLine } from "../ledger/logs.ts"
import type { TickDecision } from "../ledger/schedules.ts"

/** Why an attempt failed. */
export interface Failure {
  readonly code: ErrorCode
  readonly message: string
  readonly hint: string | undefined
}

/** Everything that a worker does, apart from what the runs themselves tell. */
export type WorkerEvent = { readonly time: number; readonly worker: string } & (
  | {
      readonly type: "worker.started"
      readonly concurrency: number
      readonly connections: number
      readonly pipelines: number
    }
  | { readonly type: "worker.heartbeat"; readonly active: number; readonly done: number; readonly failed: number }
  | { readonly type: "worker.stopped"; readonly done: number; readonly failed: number; readonly returned: number }
  | PartitionEvent<"partition.taken", { readonly attempt: number }>
  | PartitionEvent<"partition.done", { readonly attempt: number; readonly runId: string }>
  | PartitionEvent<"partition.retrying", { readonly attempt: number; readonly error: Failure }>
  | PartitionEvent<"partition.failed", { readonly attempt: number; readonly error: Failure }>
  /** Given back untouched or half done: whoever takes it goes on. */
  | PartitionEvent<"partition.returned", object>
  | PartitionEvent<"partition.overdue", { readonly dueAt: number; readonly reason: string }>
  | TickEvent<"tick.decided", { readonly decision: TickDecision }>
  | TickEvent<"tick.started", object>
  | TickEvent<"tick.done", { readonly status: string; readonly runId: string }>
  | TickEvent<"tick.failed", { readonly error: Failure }>
  | { readonly type: "worker.warning"; readonly pipeline: string; readonly error: Failure }
)

type PartitionEvent<Type extends string, More> = {
  readonly type: Type
  readonly pipeline: string
  readonly partition: string
} & More

/** `tick` in milliseconds since the epoch. */
type TickEvent<Type extends string, More> = {
  readonly type: Type
  readonly pipeline: string
  readonly tick: number
} & More

export type WorkerEventBody = WorkerEvent extends infer E
  ? E extends WorkerEvent
    ? Omit<E, "time" | "worker">
    : never
  : never

/** The event as a line of the log, under the worker's id as its run. All text in it is redacted. */
export function workerLogLine(event: WorkerEvent): LogLine {
  const { time, worker, type, ...rest } = event
  const [level, message] = wordingOf(event)
  return {
    time,
    level,
    message: redact(message),
    pipeline: "pipeline" in event ? event.pipeline : "",
    runId: worker,
    step: type.startsWith("tick") ? "schedule" : "work",
    correlationId: undefined,
    metadata: redactValue({ event: type, ...rest }) as Record<string, unknown>,
  }
}

const iso = (time: number): string => new Date(time).toISOString()
const why = (error: Failure): string => `${error.code}: ${error.message}`

function wordingOf(event: WorkerEvent): [LogLevel, string] {
  switch (event.type) {
    case "worker.started":
      return [
        "INFO",
        `worker ${event.worker} started: ${event.concurrency} at a time, at most ${event.connections} connections, ${event.pipelines} pipelines`,
      ]
    case "worker.heartbeat":
      return ["INFO", `worker alive: ${event.active} in hand, ${event.done} done, ${event.failed} failed so far`]
    case "worker.stopped":
      return ["INFO", `worker stopped: ${event.done} done, ${event.failed} failed, ${event.returned} given back`]
    case "partition.taken":
      return ["DEBUG", `${event.partition}: taken (attempt ${event.attempt})`]
    case "partition.done":
      return ["INFO", `${event.partition}: done (attempt ${event.attempt}, run ${event.runId})`]
    case "partition.retrying":
      return ["WARNING", `${event.partition}: attempt ${event.attempt} failed, another follows: ${why(event.error)}`]
    case "partition.failed":
      return ["ERROR", `${event.partition}: failed after ${event.attempt} attempts: ${why(event.error)}`]
    case "partition.returned":
      return ["INFO", `${event.partition}: given back`]
    case "partition.overdue":
      return ["WARNING", `${event.partition}: overdue since ${iso(event.dueAt)} (${event.reason})`]
    case "tick.decided":
      return [
        event.decision === "skipped" ? "WARNING" : "INFO",
        `tick ${iso(event.tick)}: ${DECISIONS[event.decision]}`,
      ]
    case "tick.started":
      return ["INFO", `tick ${iso(event.tick)}: started`]
    case "tick.done":
      return ["INFO", `tick ${iso(event.tick)}: ${event.status} (run ${event.runId})`]
    case "tick.failed":
      return ["ERROR", `tick ${iso(event.tick)}: failed: ${why(event.error)}`]
    case "worker.warning":
      return ["WARNING", why(event.error)]
  }
}

const DECISIONS: Readonly<Record<TickDecision, string>> = {
  queued: "due",
  coalesced: "left out, because an earlier one is still queued or running",
  skipped: "left out, because nobody was there in time",
}
