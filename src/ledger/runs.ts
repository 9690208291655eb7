import type { Counts, RunStatus } from "../core/events.ts"
import type { Session } from "../postgres/session.ts"

export interface RunRow {
  readonly runId: string
  readonly runNo: number
  readonly attempt: number
  readonly status: RunStatus
  readonly definitionVersion: string
  readonly full: boolean
  readonly holder: string | undefined
  readonly counts: Partial<Counts>
  readonly nulls: Readonly<Record<string, number>>
  readonly published: number
}

/** The latest run of a pipeline, or undefined. */
export async function latestRun(session: Session, pipeline: string): Promise<RunRow | undefined> {
  const { rows } = await session.query<{
    run_id: string
    run_no: string
    attempt: number
    status: RunStatus
    definition_version: string
    full_read: boolean
    holder: string | null
    counts: Partial<Counts>
    nulls: Record<string, number>
    published: number
  }>(
    `SELECT run_id, run_no, attempt, status, definition_version, full_read, holder, counts, nulls, published
     FROM ops.runs WHERE pipeline_name = $1 ORDER BY run_no DESC LIMIT 1`,
    [pipeline],
  )
  const row = rows[0]
  return row === undefined
    ? undefined
    : {
        runId: row.run_id,
        runNo: Number(row.run_no),
        attempt: row.attempt,
        status: row.status,
        definitionVersion: row.definition_version,
        full: row.full_read,
        holder: row.holder ?? undefined,
        counts: row.counts,
        nulls: row.nulls,
        published: row.published,
      }
}

export interface NewRun {
  readonly runId: string
  readonly pipeline: string
  readonly definitionVersion: string
  readonly full: boolean
  readonly correlationId: string | undefined
  readonly holder: string
}

/** Records a new run; gives its number. */
export async function insertRun(session: Session, run: NewRun): Promise<number> {
  const { rows } = await session.query<{ run_no: string }>(
    `INSERT INTO ops.runs (run_id, pipeline_name, status, definition_version, full_read, correlation_id, holder)
     VALUES ($1, $2, 'running', $3, $4, $5, $6) RETURNING run_no`,
    [run.runId, run.pipeline, run.definitionVersion, run.full, run.correlationId ?? null, run.holder],
  )
  return Number(rows[0]?.run_no)
}

/**
 * Makes `holder` the owner of an interrupted run, as its next attempt; gives the attempt's number. Undefined when the run is not
 * as it was seen: it has ended since, or another run has resumed it.
 */
export async function resumeRun(
  session: Session,
  seen: Pick<RunRow, "runId" | "attempt" | "status">,
  holder: string,
): Promise<number | undefined> {
  const { rows } = await session.query<{ attempt: number }>(
    `UPDATE ops.runs SET attempt = attempt + 1, holder = $2, status = 'running', attempt_started_at = now(), finished_at = NULL,
            error_code = NULL, error_message = NULL, error_hint = NULL
     WHERE run_id = $1 AND attempt = $3 AND status = $4 RETURNING attempt`,
    [seen.runId, holder, seen.attempt, seen.status],
  )
  return rows[0]?.attempt
}

/** Closes the runs of a pipeline that nobody works on any more, except `keep`: it takes up what they left undone. */
export async function abandonRuns(session: Session, pipeline: string, keep: string): Promise<void> {
  await session.query(
    `UPDATE ops.runs r SET status = 'cancelled', finished_at = now(), holder = NULL,
            error_code = 'CANCELLED', error_message = 'interrupted, and replaced by a later run'
     WHERE pipeline_name = $1 AND status = 'running' AND run_id <> $2
       AND NOT EXISTS (SELECT FROM ops.leases l WHERE l.holder = r.holder)
       AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.application_name = 'spillway/' || r.holder)`,
    [pipeline, keep],
  )
}

export interface RunTotals {
  readonly counts: Readonly<Counts>
  readonly published: number
  readonly held: number
  readonly unchanged: number
  readonly nulls: Readonly<Record<string, number>>
}

/** Writes the running totals; only while `holder` owns the run. */
export async function updateRunTotals(
  session: Session,
  runId: string,
  holder: string,
  totals: RunTotals,
): Promise<boolean> {
  const { rowCount } = await session.query(
    `UPDATE ops.runs SET counts = $3, published = $4, held = $5, unchanged = $6, nulls = $7 WHERE run_id = $1 AND holder = $2`,
    [
      runId,
      holder,
      JSON.stringify(totals.counts),
      totals.published,
      totals.held,
      totals.unchanged,
      JSON.stringify(totals.nulls),
    ],
  )
  return rowCount === 1
}

/** Whether `holder` still owns the run: nobody has resumed or replaced it. */
export async function ownsRun(session: Session, runId: string, holder: string): Promise<boolean> {
  const { rows } = await session.query(`SELECT FROM ops.runs WHERE run_id = $1 AND holder = $2`, [runId, holder])
  return rows.length === 1
}

/** Ends a run; only while `holder` owns it. */
export async function finishRun(
  session: Session,
  runId: string,
  holder: string,
  end: {
    status: Exclude<RunStatus, "running">
    totals: RunTotals
    error: { code: string; message: string; hint: string | undefined } | undefined
  },
): Promise<void> {
  await updateRunTotals(session, runId, holder, end.totals)
  await session.query(
    `UPDATE ops.runs SET status = $3, finished_at = now(), error_code = $4, error_message = $5, error_hint = $6, holder = NULL
     WHERE run_id = $1 AND holder = $2`,
    [runId, holder, end.status, end.error?.code ?? null, end.error?.message ?? null, end.error?.hint ?? null],
  )
}
