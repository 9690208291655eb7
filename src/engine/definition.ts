import type { Check, RecordSchema, Source } from "../core/contracts.ts"
import { SpillwayError } from "../core/errors.ts"
import type { RecordObject } from "../core/records.ts"
import { scheduleOf, type Expected, type Schedule, type ScheduleOption } from "../core/schedule.ts"
import type { ColumnOptions } from "../schema/columns.ts"
import { toRecordSchema, type AnySchema } from "../schema/adapter.ts"
import type { FileSink } from "./files/file-sink.ts"

/**
 * How the rows of a partition meet the rows of the table: `append` adds them, `upsert` meets those of the same key,
 * `replace` makes what the table has of the partition exactly these rows, for rows that have no key.
 */
export type TableMode = "append" | "upsert" | "replace"

/** A PostgreSQL table as the end of a pipeline. */
export interface TableSink {
  readonly kind: "table"
  readonly schema: string
  readonly name: string
  readonly mode: TableMode
  /** Properties that identify a row; empty for `append`, which is keyed by source and position, and `replace`. */
  readonly key: readonly string[]
  /** The property that says which of two versions of a key is newer; undefined: the order of reading. */
  readonly orderBy: string | undefined
}

/** The end of a pipeline. */
export type Sink = TableSink | FileSink

export interface TableOptions {
  /** `upsert` when a key is given, otherwise to be named: `append` or `replace`. */
  mode?: TableMode
  key?: readonly string[]
  orderBy?: string
}

/** A table `schema.name` (schema `public` when left out). Throws `CONFIG`. */
export function table(qualified: string, options: TableOptions = {}): TableSink {
  const parts = qualified.split(".")
  const [schema, name] = parts.length === 1 ? ["public", parts[0]] : parts
  if (!schema || !name || parts.length > 2)
    throw new SpillwayError("CONFIG", `"${qualified}" is not a table name`, { hint: 'write "schema.table" or "table"' })
  if (schema === "ops" || schema === "ops_staging")
    throw new SpillwayError("CONFIG", `the schema "${schema}" is Spillway's own`, {
      hint: "choose another schema for your tables",
    })
  const key = options.key ?? []
  const mode = options.mode ?? (key.length > 0 ? "upsert" : undefined)
  if (mode === undefined)
    throw new SpillwayError("CONFIG", `table "${qualified}" has neither a key nor a mode`, {
      hint: 'give key: ["id"] to upsert, or mode: "append" or "replace"',
    })
  if (mode === "upsert" && key.length === 0)
    throw new SpillwayError("CONFIG", `table "${qualified}" is to be upserted but has no key`, {
      hint: 'give key: ["id"]',
    })
  if (mode !== "upsert" && (key.length > 0 || options.orderBy !== undefined))
    throw new SpillwayError(
      "CONFIG",
      mode === "append"
        ? `table "${qualified}" is appended to, which is keyed by source position`
        : `table "${qualified}" is replaced partition by partition, which knows no key`,
      { hint: 'leave out key and orderBy, or use mode: "upsert"' },
    )
  return { kind: "table", schema, name, mode, key, orderBy: options.orderBy }
}

/**
 * What happens when a source carries a column that the schema does not know: the partition is held, the column is left out, it is
 * added to the table, or the records that carry it are set aside.
 */
export type NewColumnPolicy = "fail" | "ignore" | "evolve" | "deadLetter"

export interface PipelineOptions {
  /** Names the pipeline in tables, logs and commands: letters, digits, `_`, `-`, `.`; at most 100. */
  name: string
  source: Source
  /** Any Standard Schema (zod, valibot, arktype …) or a JSON Schema. */
  schema: AnySchema
  /** Raw record in, raw record out, before the schema: trim, rename, normalise. */
  prepare?: (record: RecordObject) => RecordObject
  /** After the schema; pure. `undefined` filters the record, an array expands it. */
  transform?: (record: RecordObject) => RecordObject | readonly RecordObject[] | undefined
  /** The schema of what `transform` returns, where its shape differs from `schema`'s. */
  output?: AnySchema
  /** Column names and types, by property, where the schema cannot tell or something else is wanted. */
  columns?: Readonly<Record<string, ColumnOptions>>
  /**
   * Fields whose values are masked wherever records are shown, besides those that the schema marks (`.meta({ secret: true })`, `"secret": true`):
   * `card`, `user.pin`, `items[].token`. What `prepare` renames is named as it stands in the source, too.
   */
  secrets?: readonly string[]
  checks?: readonly Check[]
  /** `table(…)`, `jsonlFiles(…)` or `csvFiles(…)`. */
  sink: Sink
  /** Default `fail`: the partition is held and the message names the column and the choices. */
  onNewColumn?: NewColumnPolicy
  /** `partition` (default) publishes each source partition by itself; `run` all or nothing. */
  publish?: "partition" | "run"
  /** A longer record keeps its head, hash and place only. Default 16 MiB. */
  maxRecordBytes?: number
  /** How long a lease lasts when its holder stops renewing it, in milliseconds. Default 30,000. */
  leaseMs?: number
  /** When `spillway work` runs it by itself: a cron expression (UTC), or with a zone and a policy for missed ticks. */
  schedule?: ScheduleOption
  /** By when partitions named by a month or a day have to be done: `expected("month + 2 days")`. */
  expected?: Expected
  /** Names what a hash of the definition cannot see (such as code that `transform` calls). */
  version?: string
}

/** A pipeline, checked and with its defaults filled in. */
export interface Pipeline {
  readonly kind: "pipeline"
  readonly name: string
  readonly source: Source
  readonly schema: RecordSchema
  readonly output: RecordSchema
  readonly prepare: PipelineOptions["prepare"]
  readonly transform: PipelineOptions["transform"]
  readonly checks: readonly Check[]
  readonly sink: Sink
  readonly onNewColumn: NewColumnPolicy
  readonly publish: "partition" | "run"
  readonly maxRecordBytes: number
  readonly leaseMs: number
  readonly schedule: Schedule | undefined
  readonly expected: Expected | undefined
  readonly version: string | undefined
}

/** Milliseconds. */
export const DEFAULT_LEASE_MS = 30_000

export const NAME_RULE = /^[\w.-]{1,100}$/

/** Declares a pipeline. Throws `CONFIG` with every fault of the declaration. */
export function pipeline(options: PipelineOptions): Pipeline {
  const faults: string[] = []
  if (!NAME_RULE.test(options.name))
    faults.push(`name: ${JSON.stringify(options.name)} is not 1 to 100 letters, digits, "_", "-" or "."`)
  faults.push(...unfitForSource(options.source, options.sink))
  const schema = toRecordSchema(options.schema, options.columns, options.secrets)
  const output =
    options.output === undefined ? schema : toRecordSchema(options.output, options.columns, options.secrets)
  const columns = output.columns
  if (columns === undefined) {
    faults.push("columns: this schema does not tell its columns' types; name them in columns")
  } else {
    const known = new Set(columns.map((column) => column.property))
    for (const property of Object.keys(options.columns ?? {}))
      if (!known.has(property) && schema.inputs?.has(property) === false)
        faults.push(`columns: the schema has no property "${property}" (it has ${[...known].join(", ")})`)
    const named = [...options.sink.key, ...(options.sink.orderBy ? [options.sink.orderBy] : [])]
    for (const property of named)
      if (!known.has(property))
        faults.push(`sink: the schema has no property "${property}" (it has ${[...known].join(", ")})`)
    for (const check of options.checks ?? []) faults.push(...unknownInCheck(check, known))
    const reserved = columns.filter((column) =>
      ["_source", "_position", "_seq", "_run_id", "_part"].includes(column.name),
    )
    for (const column of reserved)
      faults.push(`columns: "${column.name}" is one of Spillway's own; name it otherwise in columns`)
    const twice = columns.filter((column, i) => columns.findIndex((other) => other.name === column.name) !== i)
    for (const column of twice)
      faults.push(`columns: two properties become the column "${column.name}"; name one of them otherwise in columns`)
  }
  if (options.onNewColumn === "evolve" && schema.inputs === undefined)
    faults.push('onNewColumn: "evolve" needs a schema that lists its properties; this one takes any')
  if (options.onNewColumn === "evolve" && options.sink.kind === "file")
    faults.push('onNewColumn: "evolve" adds columns to a table, and the sink is files: add the column to the schema')
  if (faults.length > 0)
    throw new SpillwayError(
      "CONFIG",
      `pipeline "${options.name}" is not well declared:\n${faults.map((f) => `  - ${f}`).join("\n")}`,
      {
        hint: "mend what is listed",
      },
    )
  return {
    kind: "pipeline",
    name: options.name,
    source: options.source,
    schema,
    output,
    prepare: options.prepare,
    transform: options.transform,
    checks: options.checks ?? [],
    sink: options.sink,
    onNewColumn: options.onNewColumn ?? "fail",
    publish: options.publish ?? "partition",
    maxRecordBytes: options.maxRecordBytes ?? 16 * 1024 * 1024,
    leaseMs: options.leaseMs ?? DEFAULT_LEASE_MS,
    schedule: scheduleOf(options.schedule),
    expected: options.expected,
    version: options.version,
  }
}

/** Fields of a pipeline's records, as they are read or loaded, whose values are not shown. */
export const secretFields = ({ schema, output }: Pick<Pipeline, "schema" | "output">): ReadonlySet<string> =>
  new Set([...schema.secrets, ...output.secrets])

/** What a table cannot be loaded from, by the way its source is read. */
function unfitForSource({ kind, positions, incremental }: Source, { mode }: Sink): string[] {
  if (mode === "append" && positions === "shifting")
    return [
      `sink: rows cannot be appended from this ${kind} source, where a record may stand elsewhere when it is read again, so that it would be loaded twice: ` +
        `give table(…, { key: ["id"] }) a key to upsert by, or the source a cursor (incremental: { cursor: … }) to read on from, or mode: "replace" to keep what it lists now`,
    ]
  if (mode === "replace" && incremental === true)
    return [
      `sink: what this ${kind} source is asked for is only what is new, which must not replace what is there: give table(…, { key: ["id"] }) a key to upsert by, or mode: "append"`,
    ]
  return []
}

/** What a set-level check says when it is asked for its SQL: properties that the schema does not have. */
function unknownInCheck(check: Check, known: ReadonlySet<string>): string[] {
  if (check.level === "record") return []
  const unknown = new Set<string>()
  const column = (property: string): string => {
    if (!known.has(property)) unknown.add(property)
    return "x"
  }
  check.aggregates?.(column)
  check.failingWhere?.(column)
  return [...unknown].map(
    (property) =>
      `checks: ${check.name} names "${property}", which the schema does not have (it has ${[...known].join(", ")})`,
  )
}
