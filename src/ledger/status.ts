import type { Counts, RunStatus } from "../core/events.ts"
import type { Session } from "../postgres/session.ts"
import { listBreakers, type ListedBreaker } from "./breakers.ts"
import { listBudgets, type ListedBudget } from "./retry-budgets.ts"

/** What is worth knowing of each pipeline at a glance. */
export interface PipelineStatus {
  readonly pipeline: string
  readonly lastRun: LastRun | undefined
  /** Source partitions by their state in the ledger. */
  readonly partitions: Readonly<Record<string, number>>
  /** Oldest first; at most `HELD_SHOWN`. */
  readonly held: readonly HeldPartition[]
  /** Dead letters nobody has dealt with, by code. */
  readonly deadLetters: Readonly<Record<string, number>>
  readonly leases: readonly LeaseHolder[]
}

export interface LastRun {
  readonly runId: string
  readonly attempt: number
  readonly status: RunStatus
  /** Its process has a connection to the database. False for a `running` run: it was killed, and the next run continues it. */
  readonly alive: boolean
  /** Something is staged that the next run can go on from. */
  readonly resumable: boolean
  readonly full: boolean
  readonly startedAt: Date
  readonly finishedAt: Date | undefined
  readonly durationMs: number | undefined
  readonly counts: Partial<Counts>
  readonly published: number
  readonly held: number
  readonly unchanged: number
  readonly error: { readonly code: string; readonly message: string; readonly hint: string | undefined } | undefined
}

export interface HeldPartition {
  readonly partition: string
  readonly status: "held" | "failed"
  readonly code: string
  readonly message: string
  readonly hint: string | undefined
  readonly since: Date
}

export interface LeaseHolder {
  readonly runId: string | undefined
  readonly host: string
  readonly processId: number
  readonly partitions: number
  readonly since: Date
  readonly expired: boolean
  /** The holder has a connection to the database; otherwise it is gone, and the next run takes the leases over. */
  readonly connected: boolean
}

/** More would fill the screen; the number of all is in `partitions`. */
const HELD_SHOWN = 50

export interface LedgerStatus {
  /** The database's time, that "since" counts to. */
  readonly now: Date
  readonly pipelines: Map<string, PipelineStatus>
  readonly breakers: readonly ListedBreaker[]
  readonly budgets: readonly ListedBudget[]
}

/** The state of every pipeline the ledger knows, by name, of the breakers that all share, and of the budgets for retries. */
export async function readStatus(session: Session): Promise<LedgerStatus> {
  const { rows } = await session.query<{ now: Date }>(`SELECT clock_timestamp() AS now`)
  const runs = await lastRuns(session)
  const partitions = await countsBy(
    session,
    `SELECT pipeline_name, status AS what, count(*)::int AS n FROM ops.processed_partitions GROUP BY 1, 2`,
  )
  const letters = await countsBy(
    session,
    `SELECT pipeline_name, error_code AS what, count(*)::int AS n FROM ops.dead_letters WHERE status = 'pending' GROUP BY 1, 2 ORDER BY 1, 3 DESC`,
  )
  const held = await heldPartitions(session)
  const leases = await leaseHolders(session)
  const names = new Set([runs, partitions, letters, held, leases].flatMap((map) => [...map.keys()]))
  const pipelines = new Map(
    [...names].sort().map((pipeline) => [
      pipeline,
      {
        pipeline,
        lastRun: runs.get(pipeline),
        partitions: partitions.get(pipeline) ?? {},
        held: held.get(pipeline) ?? [],
        deadLetters: letters.get(pipeline) ?? {},
        leases: leases.get(pipeline) ?? [],
      },
    ]),
  )
  const breakers = await listBreakers(session)
  return { now: rows[0]?.now ?? new Date(0), pipelines, breakers, budgets: await listBudgets(session) }
}

async function lastRuns(session: Session): Promise<Map<string, LastRun>> {
  const { rows } = await session.query<{
    pipeline_name: string
    run_id: string
    attempt: number
    status: RunStatus
    full_read: boolean
    started_at: Date
    attempt_started_at: Date
    finished_at: Date | null
    counts: Partial<Counts>
    published: number
    held: number
    unchanged: number
    error_code: string | null
    error_message: string | null
    error_hint: string | null
    alive: boolean
    resumable: boolean
  }>(
    `SELECT r.*,
            EXISTS (SELECT FROM pg_stat_activity a WHERE a.application_name = 'spillway/' || r.holder) AS alive,
            r.status IN ('running', 'cancelled', 'failed') AND EXISTS (SELECT FROM ops_staging.progress p WHERE p.run_id = r.run_id) AS resumable
     FROM (SELECT DISTINCT ON (pipeline_name) * FROM ops.runs ORDER BY pipeline_name, run_no DESC) r`,
  )
  return new Map(
    rows.map((row) => [
      row.pipeline_name,
      {
        runId: row.run_id,
        attempt: row.attempt,
        status: row.status,
        alive: row.alive,
        resumable: row.resumable,
        full: row.full_read,
        startedAt: row.started_at,
        finishedAt: row.finished_at ?? undefined,
        durationMs: row.finished_at === null ? undefined : row.finished_at.getTime() - row.attempt_started_at.getTime(),
        counts: row.counts,
        published: row.published,
        held: row.held,
        unchanged: row.unchanged,
        error:
          row.error_code === null
            ? undefined
            : { code: row.error_code, message: row.error_message ?? "", hint: row.error_hint ?? undefined },
      },
    ]),
  )
}

/** Runs a query of (pipeline_name, what, n). */
async function countsBy(session: Session, sql: string): Promise<Map<string, Record<string, number>>> {
  const { rows } = await session.query<{ pipeline_name: string; what: string; n: number }>(sql)
  const byPipeline = new Map<string, Record<string, number>>()
  for (const { pipeline_name: pipeline, what, n } of rows) {
    const counts = byPipeline.get(pipeline) ?? {}
    counts[what] = n
    byPipeline.set(pipeline, counts)
  }
  return byPipeline
}

async function heldPartitions(session: Session): Promise<Map<string, HeldPartition[]>> {
  const { rows } = await session.query<{
    pipeline_name: string
    partition_key: string
    status: "held" | "failed"
    error_code: string | null
    error_message: string | null
    error_hint: string | null
    updated_at: Date
  }>(
    `SELECT pipeline_name, partition_key, status, error_code, error_message, error_hint, updated_at
     FROM (SELECT *, row_number() OVER (PARTITION BY pipeline_name ORDER BY updated_at, partition_key) AS n
           FROM ops.processed_partitions WHERE status IN ('held', 'failed')) held
     WHERE n <= ${HELD_SHOWN} ORDER BY pipeline_name, n`,
  )
  const byPipeline = new Map<string, HeldPartition[]>()
  for (const row of rows) {
    const held = byPipeline.get(row.pipeline_name) ?? []
    held.push({
      partition: row.partition_key,
      status: row.status,
      code: row.error_code ?? "UNKNOWN",
      message: row.error_message ?? "",
      hint: row.error_hint ?? undefined,
      since: row.updated_at,
    })
    byPipeline.set(row.pipeline_name, held)
  }
  return byPipeline
}

async function leaseHolders(session: Session): Promise<Map<string, LeaseHolder[]>> {
  const { rows } = await session.query<{
    pipeline_name: string
    run_id: string | null
    host: string | null
    process_id: number | null
    partitions: number
    since: Date
    expired: boolean
    connected: boolean
  }>(
    `SELECT pipeline_name, max(run_id) AS run_id, host, process_id, count(*)::int AS partitions, min(acquired_at) AS since,
            bool_and(expires_at <= clock_timestamp()) AS expired,
            EXISTS (SELECT FROM pg_stat_activity a WHERE a.application_name = 'spillway/' || holder) AS connected
     FROM ops.leases WHERE holder IS NOT NULL GROUP BY pipeline_name, holder, host, process_id ORDER BY pipeline_name, since`,
  )
  const byPipeline = new Map<string, LeaseHolder[]>()
  for (const row of rows) {
    const holders = byPipeline.get(row.pipeline_name) ?? []
    holders.push({
      runId: row.run_id ?? undefined,
      host: row.host ?? "",
      processId: row.process_id ?? 0,
      partitions: row.partitions,
      since: row.since,
      expired: row.expired,
      connected: row.connected,
    })
    byPipeline.set(row.pipeline_name, holders)
  }
  return byPipeline
}
