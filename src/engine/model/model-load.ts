import { createHash } from "node:crypto"
import type { Column, SourcePartition } from "../../core/contracts.ts"
import { SpillwayError } from "../../core/errors.ts"
import { canonicalJson } from "../../core/json.ts"
import type { Ports } from "../../core/ports.ts"
import { completedMonths } from "../../ledger/months.ts"
import type { LedgerPartition } from "../../ledger/partitions.ts"
import {
  isLoaded,
  rowsBySlice,
  slicesNow,
  touchedSlices,
  trackSlices,
  unseenTouches,
  type TrackedSlices,
  type Upstream,
} from "../../ledger/touched.ts"
import { by, keyExpression } from "../../models/partition-unit.ts"
import type { Session } from "../../postgres/session.ts"
import { relationSize, columnTypes } from "../../postgres/relation.ts"
import type { Target } from "../../postgres/target.ts"
import type { Load, Reason } from "../load.ts"
import type { Model, TableRead } from "./model.ts"
import { ModelStager } from "./model-stager.ts"
import { reasonFor } from "../plan.ts"
import { asDeclared, exampleKey, prepareModel, valuesOf, type PreparedModel } from "./prepared-model.ts"

/** A model as something to load: its partitions are those of the tables it reads. */
export async function modelLoad(model: Model, ports: Pick<Ports, "files">): Promise<Load> {
  const prepared = await prepareModel(model, ports)
  const version = definitionVersion(prepared)
  const upstreams = model.reads.map((read): Upstream => ({
    table: read.table,
    by: by(read.partition),
    whole: read.partition.kind === "whole" && model.partition.kind !== "whole",
  }))
  return {
    kind: "model",
    name: model.name,
    definitionVersion: version,
    table: `${model.sink.schema}.${model.sink.name}`,
    output: undefined,
    checks: model.checks,
    publish: model.publish,
    leaseMs: model.leaseMs,
    // The database goes through its own bytes many times faster than we through those of a file.
    groupBytes: 64 << 20,
    files: false,
    months: model.partition.kind === "month",
    resumable: false,
    isDated: false,
    target: (session) => targetOf(session, prepared),
    async list(session, known, { readOnly }) {
      // Before leases are taken: nobody has to wait for those of a run that could not begin.
      if (!readOnly) await targetOf(session, prepared)
      const keys = new Set<string>()
      let bytes = 0
      for (const read of model.reads) {
        for (const key of await upstreamKeys(session, read, readOnly))
          if (read.partition.kind !== "whole" || model.partition.kind === "whole") keys.add(key)
        bytes += await relationSize(session, tableParts(read.table))
      }
      // What was built once and has no rows any more is emptied, not forgotten.
      for (const key of known.keys()) keys.add(key)
      const share = Math.ceil(bytes / Math.max(1, keys.size))
      return [...keys].sort().map((key) => ({ key, version, bytes: share, stamp: null }))
    },
    reasons: (session, listed, known, options) => reasons(session, model, upstreams, { listed, known, ...options }),
    afterList: (_session, listed) =>
      Promise.resolve(
        listed.length > 0
          ? []
          : [
              new SpillwayError("DATA_LOSS", `there is nothing yet that model "${model.name}" could be built from`, {
                hint: `it reads ${model.reads.map((read) => read.table).join(", ")}: run what fills them first`,
              }),
            ],
      ),
    countRows: (session) => countRows(session, model),
    stager: (context, connection, another) => new ModelStager(prepared, context, connection, another),
  }
}

/**
 * A hash of what a model does: its SQL, what it reads, its parameters, checks and table. A partition that was built by another
 * definition is built anew.
 */
function definitionVersion({ model, query, sums }: PreparedModel): string {
  const definition = {
    sql: query.text,
    reads: model.reads.map((read) => [read.table, by(read.partition)]),
    partition: by(model.partition),
    params: Object.fromEntries(Object.entries(model.params).map(([name, value]) => [name, String(value)])),
    sink: model.sink,
    columns: model.columns,
    checks: model.checks.map((check) => [check.name, check.description]),
    sums: sums?.text ?? null,
    publish: model.publish,
    version: model.version ?? null,
  }
  return createHash("sha256").update(canonicalJson(definition)).digest("hex").slice(0, 16)
}

function tableParts(table: string): { schema: string; name: string } {
  const dot = table.indexOf(".")
  return { schema: table.slice(0, dot), name: table.slice(dot + 1) }
}

/**
 * The keys of the partitions that a table has rows of, or once had. Of tables that are loaded here, the commits tell; others
 * are looked at whole.
 */
async function upstreamKeys(session: Session, read: TableRead, readOnly: boolean): Promise<string[]> {
  const parts = tableParts(read.table)
  const slices = await slicesOf(session, read)
  if (slices === undefined) return []
  if (!readOnly) await trackSlices(session, parts, slices)
  const known = await touchedSlices(session, read.table, slices.by)
  const tells = known.length > 0 && (await isLoaded(session, read.table))
  return tells ? known : slicesNow(session, parts, slices.expression)
}

/** How a table that a model reads is divided; undefined when there is no such table. Throws `CONFIG`. */
async function slicesOf(session: Session, { table, partition }: TableRead): Promise<TrackedSlices | undefined> {
  const types = await columnTypes(session, tableParts(table))
  if (types === undefined) return undefined
  const type = partition.column === undefined ? "" : types.get(partition.column)
  if (type === undefined)
    throw new SpillwayError("CONFIG", `${table} has no column "${partition.column}", by which it is divided`, {
      where: `table ${table}`,
      hint: `it has ${[...types.keys()].join(", ")}`,
    })
  return { by: by(partition), expression: keyExpression(partition, type, "$row") }
}

/** Rows by partition of the tables that are divided as the model is. */
async function countRows(session: Session, model: Model): Promise<Map<string, number>> {
  const counts = new Map<string, number>()
  for (const read of model.reads.filter(({ partition }) => partition.kind === model.partition.kind)) {
    const slices = await slicesOf(session, read)
    if (slices === undefined) continue
    for (const [key, n] of await rowsBySlice(session, tableParts(read.table), slices.expression))
      counts.set(key, (counts.get(key) ?? 0) + n)
  }
  return counts
}

/** Why each partition is to be built. */
async function reasons(
  session: Session,
  model: Model,
  upstreams: readonly Upstream[],
  state: {
    listed: readonly SourcePartition[]
    known: ReadonlyMap<string, LedgerPartition>
    full: boolean
    runId: string | undefined
  },
): Promise<Map<string, Reason>> {
  const unseen = await unseenTouches(session, model.name, upstreams)
  const months = model.partition.kind === "month" ? await completedMonths(session, model.name) : undefined
  const reasonOf = (partition: SourcePartition): Reason => {
    const known = state.known.get(partition.key)
    if (known?.status === "completed" && months?.has(partition.key) === false)
      return { reason: "new", detail: "it is not in ops.processed_months any more" }
    if (known !== undefined && known.definitionVersion !== partition.version && known.status === "completed")
      return { reason: "changed", detail: "the model changed since it was built" }
    const touch = unseen.get(partition.key)
    if (known?.status === "completed" && touch !== undefined)
      return {
        reason: "stale",
        detail: `${touch.table} was touched by ${touch.runId} at ${touch.touchedAt.toISOString()}`,
      }
    return { reason: reasonFor(partition, known, state), detail: undefined }
  }
  return new Map(state.listed.map((partition) => [partition.key, reasonOf(partition)]))
}

/** The model's table: its columns are those of the query. */
async function targetOf(session: Session, { model, query }: PreparedModel): Promise<Target> {
  const { text, values } = query.bind(valuesOf(model, exampleKey(model.partition), "run"))
  const columns = await asDeclared(query, undefined, () => describe(session, text, values, model))
  const names = columns.map((column) => column.name)
  const faults: string[] = []
  for (const name of model.sink.key)
    if (!names.includes(name)) faults.push(`sink: the key names "${name}", which the query does not give`)
  for (const name of Object.keys(model.columns))
    if (!names.includes(name)) faults.push(`columns: "${name}" is not given by the query`)
  for (const name of names)
    if (name.startsWith("_")) faults.push(`sql: the name "${name}" begins with "_", as Spillway's own do`)
  if (new Set(names).size !== names.length) faults.push("sql: two columns have the same name; name one with AS")
  if (faults.length > 0)
    throw new SpillwayError(
      "CONFIG",
      `model "${model.name}" does not fit its query:\n${faults.map((fault) => `  - ${fault}`).join("\n")}`,
      { where: query.where, hint: `the query gives ${names.join(", ")}` },
    )
  return {
    schema: model.sink.schema,
    name: model.sink.name,
    mode: model.sink.mode,
    columns: columns.map((column) => ({ ...column, nullable: !model.sink.key.includes(column.name) })),
    key: model.sink.key,
    orderBy: undefined,
    sourceIndex: true,
  }
}

/** Columns of a query, by asking for none of its rows. */
async function describe(session: Session, text: string, values: readonly unknown[], model: Model): Promise<Column[]> {
  const { fields } = await session.query(`SELECT * FROM (${text}) q LIMIT 0`, values)
  const { rows } = await session.query<{ type: string }>(
    `SELECT format_type(id, modifier) AS type FROM unnest($1::oid[], $2::integer[]) WITH ORDINALITY v(id, modifier, n) ORDER BY n`,
    [fields.map((field) => field.typeId), fields.map((field) => field.typeModifier)],
  )
  return fields.map(({ name }, i) => ({
    property: name,
    name,
    type: model.columns[name] ?? (rows[i]?.type === "unknown" ? "text" : (rows[i]?.type ?? "text")),
    nullable: true,
  }))
}
