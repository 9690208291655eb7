import { quoteLiteral } from "../postgres/quote.ts"

/** Families of rows that age, in the order in which they are removed: what refers to a run goes before it. */
export const retentionFamilies = ["logs", "checkpoints", "metrics", "quality", "touches", "runs"] as const
export type RetentionFamily = (typeof retentionFamilies)[number]

/** States of dead letters that somebody or something has settled. The others are never pruned. */
export const prunableLetters = ["replayed", "discarded", "superseded"] as const
export type PrunableLetters = (typeof prunableLetters)[number]

/** What is older goes; undefined: nothing does. */
export type Cutoffs = Readonly<Record<RetentionFamily, Date | undefined>> & {
  readonly deadLetters: { readonly statuses: readonly PrunableLetters[]; readonly before: Date } | undefined
}

/** Which rows of a table are no longer needed. */
export interface Expiry {
  readonly name: RetentionFamily | "deadLetters"
  readonly table: string
  /** A unique column to go through the table by. */
  readonly key: string
  readonly keyType: "bigint" | "text"
  /** The condition that a row, by this alias, may go. */
  readonly expired: (alias: string) => string
}

/** The tables to prune, in the order in which to do it. `naming`: every table of ours that has a `run_id`. */
export function expiries(cutoffs: Cutoffs, naming: readonly string[]): Expiry[] {
  const logs = (a: string): string => `${a}.timestamp < ${time(cutoffs.logs)}`
  const metrics = (a: string): string => `${a}.ts < ${time(cutoffs.metrics)}`
  const checkpoints = (a: string): string => `${a}.updated_at < ${time(cutoffs.checkpoints)} AND ${ofEarlierRun(a)}`
  const quality = (a: string): string => `${a}.created_at < ${time(cutoffs.quality)} AND ${notWhyItIsHeld(a)}`
  const touches = (a: string): string => `${a}.touched_at < ${time(cutoffs.touches)} AND ${isSpokenFor(a)}`
  const letters = (a: string): string => letterExpired(a, cutoffs.deadLetters)
  // Rows that go in their own turn do not count: a dry run then finds the runs that the runs' turn would find.
  const refers: Readonly<Record<string, string>> = {
    "ops.pipeline_logs": `NOT (${logs("x")})`,
    "ops.pipeline_checkpoint": `NOT (${checkpoints("x")})`,
    "ops.metrics": `NOT (${metrics("x")})`,
    "ops.quality_results": `NOT (${quality("x")})`,
    "ops.touched_partitions": `NOT (${touches("x")})`,
    "ops.dead_letters": `NOT (${letters("x")})`,
    "ops.leases": "x.holder IS NOT NULL",
  }
  const runs = (a: string): string =>
    [
      `${a}.status <> 'running' AND ${a}.finished_at < ${time(cutoffs.runs)} AND ${isNotLatest(a)} AND ${hasNoStaging(a)}`,
      ...naming.map(
        (table) => `NOT EXISTS (SELECT FROM ${table} x WHERE x.run_id = ${a}.run_id AND ${refers[table] ?? "true"})`,
      ),
    ].join(" AND ")
  return [
    { name: "logs", table: "ops.pipeline_logs", key: "id", keyType: "bigint", expired: logs },
    { name: "checkpoints", table: "ops.pipeline_checkpoint", key: "id", keyType: "bigint", expired: checkpoints },
    { name: "metrics", table: "ops.metrics", key: "id", keyType: "bigint", expired: metrics },
    { name: "quality", table: "ops.quality_results", key: "id", keyType: "bigint", expired: quality },
    { name: "touches", table: "ops.touched_partitions", key: "id", keyType: "bigint", expired: touches },
    { name: "deadLetters", table: "ops.dead_letters", key: "id", keyType: "text", expired: letters },
    { name: "runs", table: "ops.runs", key: "run_no", keyType: "bigint", expired: runs },
  ]
}

const time = (cutoff: Date | undefined): string =>
  `timestamptz ${cutoff === undefined ? "'-infinity'" : quoteLiteral(cutoff.toISOString())}`

/** A pipeline's latest run tells its state, and may be continued. */
const isNotLatest = (a: string): string =>
  `EXISTS (SELECT FROM ops.runs later WHERE later.pipeline_name = ${a}.pipeline_name AND later.run_no > ${a}.run_no)`

const hasNoStaging = (a: string): string =>
  `NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = 'ops_staging' AND c.relname ~ '^run_[0-9]+_' AND split_part(c.relname, '_', 2) = ${a}.run_no::text)`

/** Checkpoints of runs that are at work or may be continued say where to go on. */
const ofEarlierRun = (a: string): string =>
  `NOT EXISTS (SELECT FROM ops.runs r WHERE r.run_id = ${a}.run_id AND (r.status = 'running' OR NOT ${isNotLatest("r")}))`

const notWhyItIsHeld = (a: string): string =>
  `NOT EXISTS (SELECT FROM ops.processed_partitions pp WHERE pp.pipeline_name = ${a}.pipeline_name
     AND pp.partition_key = ${a}.partition_key AND pp.run_id = ${a}.run_id AND pp.status <> 'completed')`

/**
 * A touch makes stale what was built under a snapshot that does not see it. It may go when a later touch of the same slice
 * makes stale all that it does. The later one has the higher transaction id, so a snapshot that sees it and not the earlier
 * one lists the earlier one as in progress: no snapshot in the ledger does, and none that a run in flight may yet write
 * down, since the touch is a day older than the oldest of these. The last touch of a slice always stays.
 */
const isSpokenFor = (a: string): string =>
  `EXISTS (SELECT FROM ops.touched_partitions later
     WHERE later.table_name = ${a}.table_name AND later.partition_by = ${a}.partition_by AND later.partition_value = ${a}.partition_value
       AND (later.xid, later.id) > (${a}.xid, ${a}.id))
   AND ${a}.xid NOT IN (SELECT pg_snapshot_xip(pp.snapshot) FROM ops.processed_partitions pp WHERE pp.snapshot IS NOT NULL)
   AND ${a}.touched_at < (SELECT coalesce(min(r.started_at) - interval '1 day', 'infinity') FROM ops.runs r
     WHERE r.status = 'running' OR EXISTS (SELECT FROM ops_staging.progress p WHERE p.run_id = r.run_id))`

function letterExpired(a: string, letters: Cutoffs["deadLetters"]): string {
  if (letters === undefined || letters.statuses.length === 0) return "false"
  return `${a}.status IN (${letters.statuses.map(quoteLiteral).join(", ")}) AND ${a}.last_seen < ${time(letters.before)}
    AND NOT EXISTS (SELECT FROM ops.dead_letters d WHERE d.replay_of = ${a}.id)`
}
