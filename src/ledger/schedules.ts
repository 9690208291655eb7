import type { Session } from "../postgres/session.ts"

export interface ScheduleRow {
  readonly pipeline: string
  readonly cron: string
  readonly timezone: string
  readonly catchUp: "latest" | "all" | "none"
}

/**
 * The time up to which the ticks of a schedule were decided on, with its row locked until the transaction ends; undefined
 * while another worker has it. A schedule that is new, or declared otherwise than before, begins at `now`: nothing of it
 * was missed.
 */
export async function lockSchedule(session: Session, schedule: ScheduleRow, now: number): Promise<number | undefined> {
  const { pipeline, cron, timezone, catchUp } = schedule
  await session.query(
    `INSERT INTO ops.schedules (pipeline_name, cron, timezone, catch_up, decided_until)
     VALUES ($1, $2, $3, $4, to_timestamp($5 / 1000.0)) ON CONFLICT DO NOTHING`,
    [pipeline, cron, timezone, catchUp, now],
  )
  const { rows } = await session.query<{ decided_until: Date; same: boolean }>(
    `SELECT decided_until, cron = $2 AND timezone = $3 AS same FROM ops.schedules WHERE pipeline_name = $1 FOR UPDATE SKIP LOCKED`,
    [pipeline, cron, timezone],
  )
  const row = rows[0]
  if (row === undefined) return undefined
  return row.same ? row.decided_until.getTime() : Math.max(now, row.decided_until.getTime())
}

/** Notes up to when ticks were decided on, under which declaration. */
export async function decideSchedule(session: Session, schedule: ScheduleRow, until: number): Promise<void> {
  await session.query(
    `UPDATE ops.schedules SET cron = $2, timezone = $3, catch_up = $4, decided_until = to_timestamp($5 / 1000.0), updated_at = now()
     WHERE pipeline_name = $1`,
    [schedule.pipeline, schedule.cron, schedule.timezone, schedule.catchUp, until],
  )
}

export type TickDecision = "queued" | "coalesced" | "skipped"

/** Writes what was decided on ticks (milliseconds since the epoch). A tick is decided on once. */
export async function insertTicks(
  session: Session,
  pipeline: string,
  ticks: readonly { readonly tick: number; readonly status: TickDecision }[],
): Promise<void> {
  await session.query(
    `INSERT INTO ops.schedule_ticks (pipeline_name, tick, status)
     SELECT $1, to_timestamp(v.tick / 1000.0), v.status FROM unnest($2::float8[], $3::text[]) v(tick, status) ON CONFLICT DO NOTHING`,
    [pipeline, ticks.map((t) => t.tick), ticks.map((t) => t.status)],
  )
}

/** Whether a tick of the pipeline is queued or being run. */
export async function hasOpenTick(session: Session, pipeline: string): Promise<boolean> {
  const { rows } = await session.query(
    `SELECT FROM ops.schedule_ticks WHERE pipeline_name = $1 AND status IN ('queued', 'active') LIMIT 1`,
    [pipeline],
  )
  return rows.length > 0
}

/** Takes the oldest open tick, also one that a dead worker left active: only whoever holds the pipeline's job may call this. */
export async function takeTick(session: Session, pipeline: string, worker: string): Promise<number | undefined> {
  const { rows } = await session.query<{ tick: Date }>(
    `UPDATE ops.schedule_ticks SET status = 'active', worker = $2, started_at = now()
     WHERE pipeline_name = $1 AND tick = (
       SELECT tick FROM ops.schedule_ticks WHERE pipeline_name = $1 AND status IN ('queued', 'active') ORDER BY tick LIMIT 1)
     RETURNING tick`,
    [pipeline, worker],
  )
  return rows[0]?.tick.getTime()
}

/** Lets nobody decide on ticks of the schedule until the transaction ends. */
export async function holdSchedule(session: Session, pipeline: string): Promise<void> {
  await session.query(`SELECT FROM ops.schedules WHERE pipeline_name = $1 FOR UPDATE`, [pipeline])
}

export interface TickEnd {
  readonly status: "done" | "failed" | "queued"
  readonly runId: string | undefined
  readonly error: { readonly code: string; readonly message: string } | undefined
}

export async function endTick(session: Session, pipeline: string, tick: number, end: TickEnd): Promise<void> {
  await session.query(
    `UPDATE ops.schedule_ticks SET status = $3::text, run_id = $4, error_code = $5, error_message = $6,
            finished_at = CASE WHEN $3::text = 'queued' THEN NULL ELSE now() END
     WHERE pipeline_name = $1 AND tick = to_timestamp($2 / 1000.0)`,
    [pipeline, tick, end.status, end.runId ?? null, end.error?.code ?? null, end.error?.message ?? null],
  )
}

export interface OverduePartition {
  readonly key: string
  /** Milliseconds since the epoch. */
  readonly dueAt: number
  readonly reason: string
}

/** Notes the overdue partitions of a pipeline; gives those that were not noted yet, and closes those that are not overdue any more. */
export async function noteOverdue(
  session: Session,
  pipeline: string,
  overdue: readonly OverduePartition[],
): Promise<OverduePartition[]> {
  const keys = overdue.map((o) => o.key)
  await session.query(
    `UPDATE ops.overdue_partitions SET resolved_at = now()
     WHERE pipeline_name = $1 AND resolved_at IS NULL AND NOT partition_key = ANY($2::text[])`,
    [pipeline, keys],
  )
  const { rows } = await session.query<{ partition_key: string }>(
    `INSERT INTO ops.overdue_partitions AS o (pipeline_name, partition_key, due_at, reason)
     SELECT $1, v.key, to_timestamp(v.due / 1000.0), v.reason FROM unnest($2::text[], $3::float8[], $4::text[]) v(key, due, reason)
     ON CONFLICT (pipeline_name, partition_key) DO UPDATE
       SET due_at = excluded.due_at, reason = excluded.reason, noticed_at = now(), resolved_at = NULL
       WHERE o.resolved_at IS NOT NULL
     RETURNING partition_key`,
    [pipeline, keys, overdue.map((o) => o.dueAt), overdue.map((o) => o.reason)],
  )
  const fresh = new Set(rows.map((row) => row.partition_key))
  return overdue.filter((o) => fresh.has(o.key))
}
