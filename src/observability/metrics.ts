import type { Counts, RunEvent } from "../core/events.ts"
import type { Metric } from "../ledger/metrics.ts"

const WRITTEN = {
  inserted: "rows_inserted",
  updated: "rows_updated",
  unchanged: "rows_unchanged",
  duplicate: "rows_duplicate",
  superseded: "rows_superseded",
  deleted: "rows_deleted",
} as const satisfies Partial<Record<keyof Counts, string>>

/** Sums up the events of one run; gives its metrics when it has ended. `table` is `schema.name` of the target. */
export class RunMetrics {
  readonly #table: string | undefined
  readonly #stepMs = new Map<string, number>()

  constructor(table: string | undefined) {
    this.#table = table
  }

  /** The metrics of the run, on its `run.finished`; otherwise nothing. */
  on(event: RunEvent): Metric[] {
    if (event.type === "partition.staged") this.#spend("stage", event.durationMs)
    if (event.type === "group.published") this.#spend("publish", event.durationMs)
    return event.type === "run.finished" ? this.#summarise(event) : []
  }

  #spend(step: string, ms: number): void {
    this.#stepMs.set(step, (this.#stepMs.get(step) ?? 0) + ms)
  }

  #summarise(event: Extract<RunEvent, { type: "run.finished" }>): Metric[] {
    const { counts } = event
    const dims: Record<string, string> = this.#table === undefined ? {} : { table: this.#table }
    const metric = (name: string, value: number, type: Metric["type"], more: Record<string, string> = {}): Metric => ({
      time: event.time,
      pipeline: event.pipeline,
      runId: event.runId,
      name,
      value,
      type,
      dims: { ...dims, ...more },
    })
    const dataset = this.#table === undefined ? "" : `${this.#table}.`
    const metrics = [
      metric("pipeline.extract.rows_read", counts.read, "counter"),
      metric("pipeline.transform.rows_expanded", counts.expanded, "counter"),
      metric("pipeline.transform.rows_filtered", counts.filtered, "counter"),
      metric("pipeline.dead_letters.rows", counts.deadLettered, "counter"),
      ...Object.entries(WRITTEN).map(([key, name]) =>
        metric(`pipeline.publish.${dataset}${name}`, counts[key as keyof typeof WRITTEN], "counter"),
      ),
      metric("pipeline.publish.partitions_published", event.published, "counter"),
      metric("pipeline.publish.partitions_held", event.held, "counter"),
      metric("pipeline.plan.partitions_unchanged", event.unchanged, "counter"),
      ...[...this.#stepMs].map(([step, ms]) => metric(`pipeline.${step}.duration.seconds`, ms / 1000, "gauge")),
      metric("pipeline.total.duration.seconds", event.durationMs / 1000, "gauge"),
    ]
    if (counts.read === 0) return metrics
    // The counts are those of all attempts, the duration is that of the last.
    if (event.attempt === 1 && event.durationMs > 0)
      metrics.push(metric("pipeline.total.rows_per_second", (counts.read * 1000) / event.durationMs, "gauge"))
    if (this.#table === undefined) return metrics
    metrics.push(metric(`dq.${this.#table}.dead_letter_ratio`, counts.deadLettered / counts.read, "gauge"))
    for (const [column, nulls] of Object.entries(event.nulls))
      metrics.push(metric(`dq.${this.#table}.null_ratio`, nulls / counts.read, "gauge", { column }))
    return metrics
  }
}
