import type { Session } from "../postgres/session.ts"

/** Connections of a holder carry this application name, so that whoever takes over finds and ends them. */
export const applicationName = (holder: string): string => `spillway/${holder}`

export interface LeaseRequest {
  readonly pipeline: string
  readonly keys: readonly string[]
  readonly holder: string
  readonly runId: string | undefined
  readonly leaseMs: number
  readonly host: string
  readonly processId: number
}

export interface HeldLease {
  readonly partition: string
  readonly holder: string
  readonly runId: string | undefined
  readonly host: string
  readonly processId: number
  readonly since: Date
  readonly expiresAt: Date
  readonly expired: boolean
  /** The holder has a connection to this database right now. */
  readonly connected: boolean
}

/** Who else holds leases on these partitions (undefined: on any), by the database's clock and its list of connections. */
export async function heldLeases(
  session: Session,
  pipeline: string,
  keys: readonly string[] | undefined,
  self: string,
): Promise<HeldLease[]> {
  const { rows } = await session.query<{
    partition_key: string
    holder: string
    run_id: string | null
    host: string | null
    process_id: number | null
    acquired_at: Date
    expires_at: Date
    expired: boolean
    connected: boolean
  }>(
    `SELECT l.partition_key, l.holder, l.run_id, l.host, l.process_id, l.acquired_at, l.expires_at,
            l.expires_at <= clock_timestamp() AS expired,
            EXISTS (SELECT FROM pg_stat_activity a WHERE a.application_name = 'spillway/' || l.holder) AS connected
     FROM ops.leases l
     WHERE l.pipeline_name = $1 AND ($2::text[] IS NULL OR l.partition_key = ANY($2::text[])) AND l.holder <> $3
     ORDER BY l.partition_key`,
    [pipeline, keys ?? null, self],
  )
  return rows.map((row) => ({
    partition: row.partition_key,
    holder: row.holder,
    runId: row.run_id ?? undefined,
    host: row.host ?? "",
    processId: row.process_id ?? 0,
    since: row.acquired_at,
    expiresAt: row.expires_at,
    expired: row.expired,
    connected: row.connected,
  }))
}

/** Ends one connection of a holder and waits until it is gone; does nothing when that process serves somebody else by now. */
export async function endConnection(session: Session, holder: string, pid: number): Promise<void> {
  await session.query(
    `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid = $1 AND application_name = $2`,
    [pid, applicationName(holder)],
  )
}

/** Ends every connection of a holder and waits until it is gone: a transaction it was stopped in cannot block or commit any more. */
export async function endConnections(session: Session, holder: string): Promise<number> {
  const { rowCount } = await session.query(
    `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = $1 AND pid <> pg_backend_pid()`,
    [applicationName(holder)],
  )
  return rowCount
}

/**
 * Takes the leases that are free or held by one of `takeOver`, raises their epoch, and gives the new epochs by partition.
 * The epoch of the position row goes up with it, which waits for a commit in flight and fences every later one.
 */
export async function takeLeases(
  session: Session,
  request: LeaseRequest,
  takeOver: readonly string[],
): Promise<Map<string, number>> {
  return session.transaction(async () => {
    const { pipeline, keys, holder, runId, leaseMs, host, processId } = request
    await session.query(
      `INSERT INTO ops.leases (pipeline_name, partition_key, epoch, expires_at)
       SELECT $1, key, 0, clock_timestamp() FROM unnest($2::text[]) key ORDER BY key
       ON CONFLICT DO NOTHING`,
      [pipeline, keys],
    )
    const { rows } = await session.query<{ partition_key: string; epoch: string }>(
      `WITH free AS (
         SELECT partition_key FROM ops.leases
         WHERE pipeline_name = $1 AND partition_key = ANY($2::text[]) AND (holder IS NULL OR holder = ANY($3::text[]))
         ORDER BY partition_key FOR UPDATE
       )
       UPDATE ops.leases l
       SET holder = $4, run_id = $5, epoch = l.epoch + 1, backend_pid = pg_backend_pid(), host = $6, process_id = $7,
           acquired_at = clock_timestamp(), renewed_at = clock_timestamp(), expires_at = clock_timestamp() + $8 * interval '1 ms'
       FROM free WHERE l.pipeline_name = $1 AND l.partition_key = free.partition_key
       RETURNING l.partition_key, l.epoch`,
      [pipeline, keys, takeOver, holder, runId ?? null, host, processId, leaseMs],
    )
    const epochs = new Map(rows.map((row) => [row.partition_key, Number(row.epoch)]))
    await session.query(
      `INSERT INTO ops.source_positions AS p (pipeline_name, partition_key, epoch)
       SELECT $1, key, epoch FROM unnest($2::text[], $3::bigint[]) v(key, epoch) ORDER BY key
       ON CONFLICT (pipeline_name, partition_key) DO UPDATE SET epoch = excluded.epoch`,
      [pipeline, [...epochs.keys()], [...epochs.values()]],
    )
    return epochs
  })
}

/** Names the run that holder works for, once it is known. */
export async function nameRun(session: Session, holder: string, runId: string): Promise<void> {
  await session.query(`UPDATE ops.leases SET run_id = $2 WHERE holder = $1`, [holder, runId])
}

/** Extends all leases of a holder; gives how many it still holds. */
export async function renewLeases(session: Session, holder: string, leaseMs: number): Promise<number> {
  const { rowCount } = await session.query(
    `UPDATE ops.leases SET renewed_at = clock_timestamp(), expires_at = clock_timestamp() + $2 * interval '1 ms' WHERE holder = $1`,
    [holder, leaseMs],
  )
  return rowCount
}

/** Gives back leases of a holder: those of `keys`, or all. */
export async function releaseLeases(session: Session, holder: string, keys?: readonly string[]): Promise<void> {
  await session.query(
    `UPDATE ops.leases SET holder = NULL, expires_at = clock_timestamp()
     WHERE holder = $1 AND ($2::text[] IS NULL OR partition_key = ANY($2::text[]))`,
    [holder, keys ?? null],
  )
}

/** Whether that holder still has a lease or a connection: its run goes on, be it only to its end. */
export async function isAtWork(session: Session, holder: string): Promise<boolean> {
  const { rows } = await session.query(
    `SELECT FROM ops.leases WHERE holder = $1 UNION ALL SELECT FROM pg_stat_activity WHERE application_name = $2 LIMIT 1`,
    [holder, applicationName(holder)],
  )
  return rows.length > 0
}
