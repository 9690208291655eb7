import { parseDuration } from "../core/duration.ts"
import { SpillwayError } from "../core/errors.ts"
import type { Ports } from "../core/ports.ts"
import { shown } from "../core/shown.ts"
import type { Database, Session } from "../postgres/session.ts"
import {
  expiries,
  prunableLetters,
  retentionFamilies,
  type Cutoffs,
  type Expiry,
  type PrunableLetters,
  type RetentionFamily,
} from "./expiry.ts"

/** How long each family is kept: a duration such as `30 days`, or `forever`. */
export type RetentionOptions = Partial<Record<RetentionFamily, string>>

/** Milliseconds by family; undefined: for ever. */
export type Retention = Readonly<Record<RetentionFamily, number | undefined>>

/**
 * - `logs`: lines of `ops.pipeline_logs`
 * - `checkpoints`: rows of `ops.pipeline_checkpoint`, by their last change
 * - `metrics`: rows of `ops.metrics`
 * - `quality`: verdicts in `ops.quality_results`
 * - `touches`: rows of `ops.touched_partitions` that a later touch of the same slice speaks for
 * - `runs`: finished runs in `ops.runs` that nothing refers to any more
 */
export const defaultRetention: Readonly<Record<RetentionFamily, string>> = {
  logs: "30 days",
  checkpoints: "90 days",
  metrics: "90 days",
  quality: "90 days",
  touches: "7 days",
  runs: "365 days",
}

/** Retention with the defaults filled in. Throws `CONFIG` with every fault at once. */
export function retentionOf(options: RetentionOptions = {}): Retention {
  const faults: string[] = []
  for (const name of Object.keys(options))
    if (!retentionFamilies.includes(name as RetentionFamily))
      faults.push(`${shown(name)} is not a family (they are ${retentionFamilies.join(", ")})`)
  const entries = retentionFamilies.map((family) => {
    const text: unknown = options[family] ?? defaultRetention[family]
    if (text === "forever") return [family, undefined] as const
    try {
      if (typeof text === "string") return [family, parseDuration(text)] as const
    } catch (error) {
      if (!(error instanceof SpillwayError)) throw error
    }
    faults.push(`${family}: ${shown(text)} is not a duration`)
    return [family, undefined] as const
  })
  if (faults.length > 0)
    throw new SpillwayError("CONFIG", `retention is not well declared:\n${faults.map((f) => `  - ${f}`).join("\n")}`, {
      where: "project({ retention })",
      hint: 'write durations such as "30 days", "12 hours", or "forever": { logs: "30 days", runs: "forever" }',
    })
  return Object.fromEntries(entries) as Retention
}

export interface PruneOptions {
  /** Counts what would go, and removes nothing. Default false. */
  readonly dryRun?: boolean | undefined
  /** Dead letters go only when they are named here, by state and by age (milliseconds since they were last seen). */
  readonly deadLetters?: { readonly statuses: readonly PrunableLetters[]; readonly olderThanMs: number } | undefined
  /** Looked at between batches; what was removed until then stays removed. */
  readonly signal?: AbortSignal | undefined
}

export interface PruneReport {
  readonly dryRun: boolean
  /** Rows removed, or in a dry run: that would be. `deadLetters` only where they were asked for. */
  readonly removed: Readonly<Record<RetentionFamily, number>> & { readonly deadLetters?: number }
}

/** Rows per transaction: each takes well under a second, and holds no more locks than that. */
const BATCH_ROWS = 5_000

/**
 * Removes rows that are older than their retention and that nothing needs any more, in short transactions. Rows that
 * others have locked are left to the next time, so it waits for nobody and may run beside pipelines and beside itself.
 * Age counts back from the earlier of the two clocks, ours and the database's. Throws `CONFIG`, `DB_UNAVAILABLE`, `CANCELLED`.
 */
export async function prune(
  database: Database,
  retention: Retention,
  ports: Pick<Ports, "clock">,
  options: PruneOptions = {},
): Promise<PruneReport> {
  const session = await database.connect({ applicationName: "spillway-prune" })
  try {
    return await pruneOn(session, retention, ports, options)
  } finally {
    await session.end()
  }
}

/** The same on a session that is there; not within a transaction, which would keep every lock to its end. */
export async function pruneOn(
  session: Session,
  retention: Retention,
  ports: Pick<Ports, "clock">,
  options: PruneOptions = {},
): Promise<PruneReport> {
  requirePrunable(options.deadLetters?.statuses ?? [])
  const cutoffs = await cutoffsOf(session, retention, ports, options.deadLetters)
  const removed: Partial<Record<Expiry["name"], number>> = {}
  for (const expiry of expiries(cutoffs, await tablesNamingRuns(session))) {
    if (expiry.name === "deadLetters" && options.deadLetters === undefined) continue
    removed[expiry.name] = options.dryRun
      ? await countExpired(session, expiry)
      : await removeExpired(session, expiry, options.signal)
  }
  return { dryRun: options.dryRun ?? false, removed: removed as PruneReport["removed"] }
}

function requirePrunable(statuses: readonly string[]): void {
  const refused = statuses.filter((status) => !prunableLetters.includes(status as PrunableLetters))
  if (refused.length === 0) return
  throw new SpillwayError("CONFIG", `dead letters that are ${refused.join(" or ")} are never pruned`, {
    where: "ops.dead_letters",
    hint: `only ${prunableLetters.join(", ")} ones can go; discard a letter with a reason first`,
  })
}

async function cutoffsOf(
  session: Session,
  retention: Retention,
  ports: Pick<Ports, "clock">,
  letters: PruneOptions["deadLetters"],
): Promise<Cutoffs> {
  const { rows } = await session.query<{ now: Date }>(`SELECT clock_timestamp() AS now`)
  const now = Math.min(ports.clock.now(), rows[0]?.now.getTime() ?? 0)
  const before = (ms: number | undefined): Date | undefined => (ms === undefined ? undefined : new Date(now - ms))
  const cutoffs = Object.fromEntries(retentionFamilies.map((family) => [family, before(retention[family])]))
  return {
    ...(cutoffs as Record<RetentionFamily, Date | undefined>),
    deadLetters: letters && { statuses: letters.statuses, before: new Date(now - letters.olderThanMs) },
  }
}

async function tablesNamingRuns(session: Session): Promise<string[]> {
  const { rows } = await session.query<{ name: string }>(
    `SELECT format('%I.%I', n.nspname, c.relname) AS name
     FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname IN ('ops', 'ops_staging') AND a.attname = 'run_id' AND c.relkind IN ('r', 'p') AND c.oid <> 'ops.runs'::regclass
     ORDER BY 1`,
  )
  return rows.map((row) => row.name)
}

async function countExpired(session: Session, { table, expired }: Expiry): Promise<number> {
  const { rows } = await session.query<{ n: string }>(`SELECT count(*) AS n FROM ${table} t WHERE ${expired("t")}`)
  return Number(rows[0]?.n)
}

/** Goes through the table once, in the order of its key. */
async function removeExpired(session: Session, expiry: Expiry, signal: AbortSignal | undefined): Promise<number> {
  let removed = 0
  let last: string | undefined
  do {
    signal?.throwIfAborted()
    const batch = await removeBatch(session, expiry, last)
    removed += batch.removed
    last = batch.last
  } while (last !== undefined)
  return removed
}

/** Removes the next rows after `last`; gives the key of the last one, undefined when there was none. */
async function removeBatch(
  session: Session,
  { table, key, keyType, expired }: Expiry,
  last: string | undefined,
): Promise<{ last: string | undefined; removed: number }> {
  const { rows } = await session.query<{ last: string | null; removed: string }>(
    `WITH batch AS MATERIALIZED (
       SELECT t.${key} AS key FROM ${table} t
       WHERE ($1::${keyType} IS NULL OR t.${key} > $1::${keyType}) AND ${expired("t")}
       ORDER BY t.${key} LIMIT ${BATCH_ROWS} FOR UPDATE OF t SKIP LOCKED
     ), gone AS (
       DELETE FROM ${table} t USING batch WHERE t.${key} = batch.key RETURNING 1
     )
     SELECT (SELECT max(key)::text FROM batch) AS last, (SELECT count(*) FROM gone) AS removed`,
    [last ?? null],
  )
  return { last: rows[0]?.last ?? undefined, removed: Number(rows[0]?.removed ?? 0) }
}
