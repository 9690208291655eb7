import { zeroCounts, type Counts, type RunEvent, type RunEventBody } from "../../src/core/events.ts"

export const START = Date.UTC(2026, 10, 21, 8, 0, 0)

/** An event of the run `run_1` of `orders`, `afterMs` after its start. */
export const event = (body: RunEventBody, afterMs = 0, attempt = 1): RunEvent => ({
  time: START + afterMs,
  pipeline: "orders",
  runId: "run_1",
  attempt,
  ...body,
})

export const counts = (some: Partial<Counts>): Counts => ({ ...zeroCounts(), ...some })

export const started = (afterMs = 0, attempt = 1): RunEvent =>
  event({ type: "run.started", resumed: attempt > 1, definitionVersion: "v", full: false }, afterMs, attempt)

export const planned = (todo: number, bytes = 0): RunEvent =>
  event({ type: "run.planned", total: todo, todo, unchanged: 0, bytes, reasons: { new: todo } })

export const partitionStarted = (partition: string, afterMs = 0): RunEvent =>
  event({ type: "partition.started", partition, reason: "new", resumedAfter: undefined }, afterMs)

export const staged = (partition: string, read: number, afterMs = 0, bytes = 0, deadLettered = 0): RunEvent =>
  event(
    {
      type: "batch.staged",
      partition,
      bytes,
      read,
      staged: read - deadLettered,
      filtered: 0,
      deadLettered,
      durationMs: 1,
    },
    afterMs,
  )

export const published = (partition: string, some: Partial<Counts>, afterMs = 0, replaced = false): RunEvent =>
  event({ type: "partition.published", partition, counts: counts(some), replaced, durationMs: 5 }, afterMs)

export const held = (partition: string, message: string, afterMs = 0): RunEvent =>
  event(
    {
      type: "partition.held",
      partition,
      code: "QUALITY_GATE",
      message,
      hint: "mend it",
      counts: counts({ read: 2, deadLettered: 2 }),
    },
    afterMs,
  )

export const finished = (
  status: "completed" | "partial" | "failed" | "cancelled",
  some: Partial<Counts>,
  more: Partial<Extract<RunEvent, { type: "run.finished" }>> = {},
): RunEvent =>
  event(
    {
      type: "run.finished",
      status,
      counts: counts(some),
      published: more.published ?? 1,
      held: more.held ?? 0,
      unchanged: more.unchanged ?? 0,
      nulls: more.nulls ?? {},
      durationMs: more.durationMs ?? 1_000,
      error: more.error,
    },
    more.durationMs ?? 1_000,
  )
