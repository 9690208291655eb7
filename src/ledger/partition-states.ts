import type { Session } from "../postgres/session.ts"

/**
 * How a partition stands: `done`; `missing`: it is there to be processed, and never was; `stale`: what it was made from has
 * changed since; `failed`: held, failed or interrupted; `in-progress`: somebody is at it.
 */
export type PartitionCondition = "done" | "missing" | "stale" | "failed" | "in-progress"

export interface PartitionState {
  readonly key: string
  readonly state: PartitionCondition
  /** When it was last processed, whether that went well or not. */
  readonly builtAt?: Date | undefined
  /** Rows it has in the table. */
  readonly rows?: number | undefined
  /** Why it is not done. */
  readonly why?: string | undefined
  /** What to do about it. */
  readonly hint?: string | undefined
}

/** What a plan says of a partition: why the next run would process it, or that it would not. */
export interface PlannedState {
  readonly key: string
  readonly reason:
    | "new"
    | "missing"
    | "failed-before"
    | "held-before"
    | "stale"
    | "changed"
    | "full"
    | "resumed"
    | "unchanged"
    | "in-progress"
  readonly detail?: string | undefined
}

interface LedgerRow {
  partition_key: string
  status: "in_progress" | "completed" | "held" | "failed" | null
  processed_at: Date | null
  rows: string | null
  error_code: string | null
  error_message: string | null
  error_hint: string | null
  at_work: boolean
  run_id: string | null
}

/** The partitions of a pipeline as the ledger has them, by key. It cannot know what is missing or stale: `withPlan` adds that. */
export async function partitionStates(session: Session, pipeline: string): Promise<PartitionState[]> {
  const { rows } = await session.query<LedgerRow>(
    // A run keeps the leases of what it has published until it ends: those partitions are not in progress any more.
    `WITH at_work AS (
       SELECT l.partition_key, l.run_id FROM ops.leases l
       WHERE l.pipeline_name = $1 AND l.holder IS NOT NULL AND l.expires_at > clock_timestamp()
         AND EXISTS (SELECT FROM pg_stat_activity a WHERE a.application_name = 'spillway/' || l.holder)
         AND NOT EXISTS (SELECT FROM ops.processed_partitions pp
           WHERE pp.pipeline_name = $1 AND pp.partition_key = l.partition_key AND pp.run_id = l.run_id
             AND pp.status <> 'in_progress' AND pp.updated_at >= l.acquired_at)
     )
     SELECT partition_key, pp.status, pp.processed_at, pp.error_code, pp.error_message, pp.error_hint,
            coalesce((pp.counts->>'inserted')::bigint, 0) + coalesce((pp.counts->>'updated')::bigint, 0)
              + coalesce((pp.counts->>'unchanged')::bigint, 0) AS rows,
            w.at_work IS NOT NULL AS at_work, coalesce(w.run_id, pp.run_id) AS run_id
     FROM (SELECT * FROM ops.processed_partitions WHERE pipeline_name = $1) pp
     FULL JOIN (SELECT *, true AS at_work FROM at_work) w USING (partition_key)
     ORDER BY partition_key COLLATE "C"`,
    [pipeline],
  )
  return rows.map(stateOf)
}

function stateOf(row: LedgerRow): PartitionState {
  const key = row.partition_key
  const builtAt = row.processed_at ?? undefined
  if (row.at_work) return { key, state: "in-progress", builtAt, why: `${row.run_id ?? "a run"} is at work on it` }
  if (row.status === "completed") return { key, state: "done", builtAt, rows: Number(row.rows) }
  if (row.status === "in_progress")
    return {
      key,
      state: "failed",
      builtAt,
      why: `interrupted: ${row.run_id ?? "its run"} is no longer at work`,
      hint: "run again: it is processed from where it stopped",
    }
  const said = [row.error_code, row.error_message].filter((text) => text !== null).join(": ")
  return {
    key,
    state: "failed",
    builtAt,
    why: `${row.status ?? "failed"}${said === "" ? "" : `: ${said}`}`,
    hint: row.error_hint ?? undefined,
  }
}

/** The ledger's states with what a plan found on top of them; ordered by key. What only the ledger knows stays as it is there. */
export function withPlan(states: readonly PartitionState[], plan: readonly PlannedState[]): PartitionState[] {
  const joined = new Map(states.map((state) => [state.key, state]))
  for (const planned of plan) joined.set(planned.key, planState(joined.get(planned.key), planned))
  return [...joined.values()].sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
}

function planState(known: PartitionState | undefined, { key, reason, detail }: PlannedState): PartitionState {
  // Whoever is at work on it makes the plan's verdict old news.
  if (known?.state === "in-progress") return known
  const { builtAt, rows } = known ?? {}
  switch (reason) {
    case "new":
    case "missing":
      return { key, state: "missing", builtAt, why: detail ?? "it was never processed" }
    case "stale":
    case "changed":
      return { key, state: "stale", builtAt, rows, why: detail ?? "what it is made from has changed" }
    case "failed-before":
    case "held-before":
    case "resumed":
      return { ...known, key, state: "failed", why: known?.why ?? detail ?? "it failed before" }
    case "in-progress":
      return { key, state: "in-progress", builtAt, rows, why: detail }
    case "full":
    case "unchanged":
      return known ?? { key, state: "done" }
  }
}

export interface OverduePartition {
  readonly key: string
  /** The rule that it breaks. */
  readonly reason: string
  readonly dueAt: Date
}

/** Partitions that are due and not done, by pipeline, the longest due first. */
export async function overduePartitions(session: Session): Promise<Map<string, OverduePartition[]>> {
  const byPipeline = new Map<string, OverduePartition[]>()
  const { rows } = await session.query<{ pipeline_name: string; partition_key: string; reason: string; due_at: Date }>(
    `SELECT pipeline_name, partition_key, reason, due_at FROM ops.overdue_partitions
     WHERE resolved_at IS NULL ORDER BY due_at, partition_key`,
  )
  for (const row of rows) {
    const overdue = byPipeline.get(row.pipeline_name) ?? []
    overdue.push({ key: row.partition_key, reason: row.reason, dueAt: row.due_at })
    byPipeline.set(row.pipeline_name, overdue)
  }
  return byPipeline
}
