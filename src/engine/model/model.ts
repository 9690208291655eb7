import type { SetCheck } from "../../core/contracts.ts"
import { SpillwayError } from "../../core/errors.ts"
import { scheduleOf, type Expected, type Schedule, type ScheduleOption } from "../../core/schedule.ts"
import { by, whole, type PartitionUnit } from "../../models/partition-unit.ts"
import type { SqlValue } from "../../models/template.ts"
import { DEFAULT_LEASE_MS, NAME_RULE, type TableSink } from "../definition.ts"

/** A table that a model reads, and how its rows tell which partition they belong to. */
export interface TableRead {
  /** `schema.name`. */
  readonly table: string
  readonly partition: PartitionUnit
}

/**
 * A table that a model reads, divided otherwise than the model itself: by another column, or, as `whole()`, a table of
 * reference whose change makes every partition stale.
 */
export const reads = (table: string, partition: PartitionUnit): TableRead => ({ table: qualified(table), partition })

export interface ModelOptions {
  /** Names the model in tables, logs and commands: letters, digits, `_`, `-`, `.`; at most 100. */
  name: string
  /** The tables it reads. Those named by text alone are divided as the model is. */
  from: string | TableRead | readonly (string | TableRead)[]
  /** What a partition of it is, by a column of the tables it reads. Default `whole()`. */
  partition?: PartitionUnit
  /**
   * A query, or a `.sql` file by its URL, that gives the rows of one partition. `${partition.start}`, `${partition.end}`, `${partition.key}`,
   * `${partition.year}`, `${partition.month}`, `${run.id}` and `${params.NAME}` are bound, never pasted.
   */
  sql: string | URL
  params?: Readonly<Record<string, SqlValue>>
  /** `upsert` by a key in which no two partitions meet, or `replace`. */
  sink: TableSink
  /** Types of columns, by name, where the query's own are not wanted: `{ revenue: "numeric(18,3)" }`. */
  columns?: Readonly<Record<string, string>>
  /** Judge the rows of a partition before they are visible. */
  checks?: readonly SetCheck[]
  /**
   * A query of one row, asked of the same snapshot as the model's own: what the columns of these names must sum to over a
   * partition, exactly: `SELECT count(*) AS lines FROM bronze.lines WHERE sold_at >= ${partition.start} AND sold_at < ${partition.end}`.
   */
  sums?: string
  /** `partition` (default) publishes each partition by itself; `run` all or nothing. */
  publish?: "partition" | "run"
  /** How long a lease lasts when its holder stops renewing it, in milliseconds. Default 30,000. */
  leaseMs?: number
  /** When `spillway work` runs it by itself: a cron expression (UTC), or with a zone and a policy for missed ticks. */
  schedule?: ScheduleOption
  /** By when partitions have to be done: `expected("month + 2 days")`. */
  expected?: Expected
  /** Changes the definition by hand: every partition is then built anew. */
  version?: string
}

/** A SQL transformation from tables to one table, partition by partition, checked and with its defaults filled in. */
export interface Model {
  readonly kind: "model"
  readonly name: string
  readonly reads: readonly TableRead[]
  readonly partition: PartitionUnit
  readonly sql: string | URL
  readonly params: Readonly<Record<string, SqlValue>>
  readonly sink: TableSink
  readonly columns: Readonly<Record<string, string>>
  readonly checks: readonly SetCheck[]
  readonly sums: string | undefined
  readonly publish: "partition" | "run"
  readonly leaseMs: number
  readonly schedule: Schedule | undefined
  readonly expected: Expected | undefined
  readonly version: string | undefined
}

/** Declares a model. Throws `CONFIG` with every fault of the declaration; the SQL is looked at when it is used. */
export function model(options: ModelOptions): Model {
  const faults: string[] = []
  const unit = options.partition ?? whole()
  if (!NAME_RULE.test(options.name))
    faults.push(`name: ${JSON.stringify(options.name)} is not 1 to 100 letters, digits, "_", "-" or "."`)
  const from = typeof options.from === "string" || "table" in options.from ? [options.from] : options.from
  const tables = from.map((read) => (typeof read === "string" ? { table: qualified(read), partition: unit } : read))
  if (tables.length === 0) faults.push("from: name the tables that the query reads")
  for (const { table, partition } of tables)
    if (partition.kind !== unit.kind && partition.kind !== "whole")
      faults.push(`from: ${table} is divided by ${by(partition)}, but the model by ${by(unit)}`)
  if (tables.length > 0 && unit.kind !== "whole" && tables.every(({ partition }) => partition.kind === "whole"))
    faults.push(`from: none of the tables is divided by ${unit.kind}, as the model is`)
  if (options.sink.mode === "append")
    faults.push('sink: a model builds its partitions again and again: use key: [ … ], or mode: "replace"')
  if (options.sink.orderBy !== undefined) faults.push("sink: orderBy has no meaning for a model; leave it out")
  const own = `${options.sink.schema}.${options.sink.name}`
  if (tables.some(({ table }) => table === own)) faults.push(`from: the model reads ${own}, which it writes`)
  if (faults.length > 0)
    throw new SpillwayError(
      "CONFIG",
      `model "${options.name}" is not well declared:\n${faults.map((fault) => `  - ${fault}`).join("\n")}`,
      { hint: "mend what is listed" },
    )
  return {
    kind: "model",
    name: options.name,
    reads: tables,
    partition: unit,
    sql: options.sql,
    params: options.params ?? {},
    sink: options.sink,
    columns: options.columns ?? {},
    checks: options.checks ?? [],
    sums: options.sums,
    publish: options.publish ?? "partition",
    leaseMs: options.leaseMs ?? DEFAULT_LEASE_MS,
    schedule: scheduleOf(options.schedule),
    expected: options.expected,
    version: options.version,
  }
}

/** A table's name with its schema. */
const qualified = (table: string): string => (table.includes(".") ? table : `public.${table}`)
