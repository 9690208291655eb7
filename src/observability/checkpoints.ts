import type { RunEvent } from "../core/events.ts"
import { redact } from "../core/secrets.ts"
import type { Checkpoint, CheckpointStatus } from "../ledger/checkpoints.ts"
import { equation } from "./wording.ts"

/** `run`, `stage`, `gate`, `publish`, `partition`, or the name of a stage that was declared. */
type Stage = string
type Finished = Extract<RunEvent, { type: "run.finished" }>

type Row = { -readonly [K in keyof Checkpoint]: Checkpoint[K] } & { metadata: Record<string, unknown> }

/** What a stage that was begun becomes when its run ends so. Interrupted work is `pending`: the next attempt goes on with it. */
const STATUS_AT_END: Readonly<Record<Finished["status"], CheckpointStatus>> = {
  completed: "completed",
  partial: "completed",
  failed: "failed",
  cancelled: "pending",
}

/** Turns the events of one run into checkpoint rows: one per stage, and one per partition that was worked on. */
export class RunCheckpoints {
  readonly #open = new Map<string, Row>()
  /** Rows that changed since they were last taken, by stage and key: many changes become one write. */
  readonly #changed = new Map<string, Row>()

  /** Rows that wait to be written. */
  get waiting(): number {
    return this.#changed.size
  }

  /** Takes at most `limit` changed rows to write them. */
  take(limit: number): Checkpoint[] {
    const taken: Checkpoint[] = []
    for (const [id, row] of this.#changed) {
      if (taken.length === limit) break
      taken.push({ ...row })
      this.#changed.delete(id)
    }
    return taken
  }

  /** Gives rows back that could not be written; what changed meanwhile is newer. */
  putBack(rows: readonly Checkpoint[]): void {
    for (const row of rows) {
      const id = `${row.stage}/${row.key}`
      if (!this.#changed.has(id)) this.#changed.set(id, { ...row, metadata: { ...row.metadata } })
    }
  }

  on(event: RunEvent): void {
    switch (event.type) {
      case "run.started":
        this.#change(event, "run", "", {
          metadata: { attempt: event.attempt, resumed: event.resumed, full: event.full },
        })
        return
      case "run.planned":
        this.#change(event, "run", "", {
          metadata: { total: event.total, todo: event.todo, unchanged: event.unchanged, reasons: event.reasons },
        })
        return
      case "stage.started":
        this.#change(event, event.stage, "", {})
        return
      case "stage.finished":
        this.#finishStage(event)
        return
      case "partition.started":
        this.#change(event, "stage", "", {})
        this.#change(event, "partition", event.partition, {
          metadata: {
            partition: event.partition,
            attempt: event.attempt,
            reason: event.reason,
            resumed_after: event.resumedAfter,
          },
        })
        return
      case "partition.staged":
        this.#add(event, "stage", event.durationMs, { partitions: 1, read: event.read })
        return
      case "check.judged":
        this.#add(event, "gate", undefined, { checks: 1, failed: event.passed ? 0 : 1 })
        return
      case "group.published":
        this.#add(event, "publish", event.durationMs, { partitions: event.partitions, rows: event.rows })
        if (event.steps["gate"] !== undefined) this.#add(event, "gate", event.steps["gate"], {})
        return
      case "partition.published":
        this.#close(event, event.partition, "completed", equation(event.counts), {
          counts: event.counts,
          replaced: event.replaced,
        })
        return
      case "partition.held":
        this.#close(event, event.partition, "failed", `held: ${event.code}`, {
          counts: event.counts,
          code: event.code,
          message: redact(event.message),
        })
        return
      case "run.finished":
        this.#finish(event)
        return
      case "batch.staged":
      case "partition.restarted":
      case "retry":
      case "commit.resolved":
      case "warning":
        return
    }
  }

  #change(event: RunEvent, stage: Stage, key: string, change: Partial<Row>): Row {
    const id = `${stage}/${key}`
    const row = this.#open.get(id) ?? {
      pipeline: event.pipeline,
      runId: event.runId,
      attempt: event.attempt,
      stage,
      key,
      value: undefined,
      status: "in_progress",
      startTime: event.time,
      endTime: undefined,
      durationMs: undefined,
      metadata: {},
    }
    Object.assign(row, change, { metadata: { ...row.metadata, ...change.metadata } })
    this.#open.set(id, row)
    this.#changed.set(id, row)
    return row
  }

  /** Adds to a stage that many partitions go through: its duration is the time spent in it, its figures are sums. */
  #add(event: RunEvent, stage: Stage, durationMs: number | undefined, figures: Record<string, number>): void {
    const row = this.#change(event, stage, "", {})
    row.startTime = Math.min(row.startTime ?? event.time, event.time - (durationMs ?? 0))
    row.endTime = event.time
    if (durationMs !== undefined) row.durationMs = (row.durationMs ?? 0) + durationMs
    for (const [name, n] of Object.entries(figures)) row.metadata[name] = Number(row.metadata[name] ?? 0) + n
  }

  #close(
    event: RunEvent,
    partition: string,
    status: CheckpointStatus,
    value: string,
    metadata: Record<string, unknown>,
  ): void {
    const row = this.#change(event, "partition", partition, {
      status,
      value,
      endTime: event.time,
      metadata: { partition, ...metadata },
    })
    row.durationMs = event.time - (row.startTime ?? event.time)
    this.#open.delete(`partition/${partition}`)
  }

  /** A stage that was skipped keeps the row that its own attempt wrote. */
  #finishStage(event: Extract<RunEvent, { type: "stage.finished" }>): void {
    if (event.status === "skipped") return
    const { stage, status, stageRunId, counts, durationMs, error } = event
    this.#change(event, stage, "", {
      // What a stage holds back is missing in the next one.
      status: status === "partial" ? "failed" : STATUS_AT_END[status],
      value: status,
      endTime: event.time,
      durationMs,
      metadata: {
        run_id: stageRunId,
        counts,
        ...(error === undefined ? {} : { code: error.code, message: redact(error.message) }),
      },
    })
    this.#open.delete(`${stage}/`)
  }

  #finish(event: Finished): void {
    const status = STATUS_AT_END[event.status]
    for (const row of [...this.#open.values()]) {
      if (row.stage === "run") continue
      // A partition that is still open at the end of a run was not published, however the run as a whole ended.
      const left = row.stage === "partition"
      const closed = left && status === "completed" ? "pending" : status
      this.#change(event, row.stage, row.key, { status: closed, ...(left ? { endTime: event.time } : {}) })
      if (left) row.durationMs = event.time - (row.startTime ?? event.time)
      row.durationMs ??= (row.endTime ?? event.time) - (row.startTime ?? event.time)
    }
    this.#change(event, "run", "", {
      status,
      value: event.status,
      endTime: event.time,
      durationMs: event.durationMs,
      metadata: {
        counts: event.counts,
        published: event.published,
        held: event.held,
        unchanged: event.unchanged,
        ...(event.error === undefined ? {} : { code: event.error.code, message: redact(event.error.message) }),
      },
    })
  }
}
