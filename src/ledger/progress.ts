import type { Position } from "../core/records.ts"
import type { Session } from "../postgres/session.ts"

/** What became of a partition's records up to staging. `read + expanded = staged + filtered + deadLettered`. */
export interface Tally {
  read: number
  expanded: number
  staged: number
  filtered: number
  deadLettered: number
  /** Null values per property over the records read. */
  nulls: Record<string, number>
  /** Dead letters by code. */
  codes: Record<string, number>
}

export const zeroTally = (): Tally => ({
  read: 0,
  expanded: 0,
  staged: 0,
  filtered: 0,
  deadLettered: 0,
  nulls: {},
  codes: {},
})

export function addTally(into: Tally, more: Tally): Tally {
  return {
    read: into.read + more.read,
    expanded: into.expanded + more.expanded,
    staged: into.staged + more.staged,
    filtered: into.filtered + more.filtered,
    deadLettered: into.deadLettered + more.deadLettered,
    nulls: addNumbers(into.nulls, more.nulls),
    codes: addNumbers(into.codes, more.codes),
  }
}

export function addNumbers(
  a: Readonly<Record<string, number>>,
  b: Readonly<Record<string, number>>,
): Record<string, number> {
  const sum: Record<string, number> = { ...a }
  for (const [key, value] of Object.entries(b)) sum[key] = (sum[key] ?? 0) + value
  return sum
}

/** How far a partition of a run in flight is staged: durable together with the staged rows. */
export interface StagedProgress {
  readonly key: string
  readonly partitionNo: number
  readonly groupNo: number
  readonly version: string
  readonly seq: number
  /** Of the lease that it was staged under. */
  readonly epoch: number
  readonly batches: number
  readonly position: Position | undefined
  readonly complete: boolean
  readonly tally: Tally
}

interface ProgressRow {
  partition_key: string
  partition_no: number
  group_no: number
  version: string
  seq: string
  epoch: string
  batches: number
  position: Position | null
  complete: boolean
  tally: Tally
}

const fromRow = (row: ProgressRow): StagedProgress => ({
  key: row.partition_key,
  partitionNo: row.partition_no,
  groupNo: row.group_no,
  version: row.version,
  seq: Number(row.seq),
  epoch: Number(row.epoch),
  batches: row.batches,
  position: row.position ?? undefined,
  complete: row.complete,
  tally: row.tally,
})

/** All progress of a run, in the order of processing. */
export async function stagedProgress(session: Session, runId: string): Promise<StagedProgress[]> {
  const { rows } = await session.query<ProgressRow>(
    `SELECT * FROM ops_staging.progress WHERE run_id = $1 ORDER BY partition_no`,
    [runId],
  )
  return rows.map(fromRow)
}

/** The progress of one partition, or undefined when there is none (any more). */
export async function progressOf(session: Session, runId: string, key: string): Promise<StagedProgress | undefined> {
  const { rows } = await session.query<ProgressRow>(
    `SELECT * FROM ops_staging.progress WHERE run_id = $1 AND partition_key = $2`,
    [runId, key],
  )
  return rows[0] === undefined ? undefined : fromRow(rows[0])
}

/** Starts a partition's progress, or starts it over. */
export async function startProgress(
  session: Session,
  runId: string,
  start: { key: string; partitionNo: number; groupNo: number; version: string; seq: number; epoch: number },
): Promise<void> {
  await session.query(
    `INSERT INTO ops_staging.progress (run_id, partition_key, partition_no, group_no, version, seq, epoch, tally)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
     ON CONFLICT (run_id, partition_key) DO UPDATE SET
       partition_no = excluded.partition_no, group_no = excluded.group_no, version = excluded.version, seq = excluded.seq,
       epoch = excluded.epoch, batches = 0, position = NULL, complete = false, tally = excluded.tally
     WHERE ops_staging.progress.epoch <= excluded.epoch`,
    [
      runId,
      start.key,
      start.partitionNo,
      start.groupNo,
      start.version,
      start.seq,
      start.epoch,
      JSON.stringify(zeroTally()),
    ],
  )
}

/** Puts the progress of a resumed run under the new epochs, never under older ones; older holders can move it no further. */
export async function adoptProgress(
  session: Session,
  runId: string,
  epochs: ReadonlyMap<string, number>,
): Promise<void> {
  await session.query(
    `UPDATE ops_staging.progress p SET epoch = v.epoch
     FROM unnest($2::text[], $3::bigint[]) v(key, epoch) WHERE p.run_id = $1 AND p.partition_key = v.key AND p.epoch < v.epoch`,
    [runId, [...epochs.keys()], [...epochs.values()]],
  )
}

/** Moves a partition's progress on by one batch; false when it is not where this holder left it. */
export async function advanceProgress(
  session: Session,
  runId: string,
  to: { key: string; epoch: number; batches: number; position: Position | undefined; complete: boolean; tally: Tally },
): Promise<boolean> {
  const { rowCount } = await session.query(
    `UPDATE ops_staging.progress SET batches = $4, position = $5, complete = $6, tally = $7
     WHERE run_id = $1 AND partition_key = $2 AND epoch = $3 AND batches = $4 - 1`,
    [
      runId,
      to.key,
      to.epoch,
      to.batches,
      to.position === undefined ? null : JSON.stringify(to.position),
      to.complete,
      JSON.stringify(to.tally),
    ],
  )
  return rowCount === 1
}

/** Forgets the progress and staged letters of partitions: those of `keys`, or all of the run. */
export async function clearProgress(session: Session, runId: string, keys?: readonly string[]): Promise<void> {
  await session.query(
    `WITH gone AS (
       DELETE FROM ops_staging.progress WHERE run_id = $1 AND ($2::text[] IS NULL OR partition_key = ANY($2::text[])) RETURNING partition_no
     )
     DELETE FROM ops_staging.dead_letters WHERE run_id = $1 AND ($2::text[] IS NULL OR partition_no IN (SELECT partition_no FROM gone))`,
    [runId, keys ?? null],
  )
}
