import { quoteIdentifier, quoteLiteral } from "./quote.ts"
import { allColumns, qualifiedName, type Target } from "./target.ts"

export interface PublishRequest {
  /** The staging table, schema-qualified and quoted. It holds the rows of `sources` and no others, and is gone afterwards. */
  readonly staging: string
  readonly target: Target
  /** The run, or the replay, that the rows are of. */
  readonly runId: string
  /** Settles when `indexKeys`, on another connection, is done with the staged rows, well or not. */
  readonly indexed?: Promise<void> | undefined
  /** The `_source` values being published. */
  readonly sources: readonly string[]
  /** Those of them whose earlier rows are replaced. */
  readonly replaced: readonly string[]
  /** Rows of the replaced sources that stay, though staging does not have them: where each stood in its source. */
  readonly kept?: readonly { readonly source: string; readonly position: number }[]
  /** The sources are not read again: these are further rows of them. */
  readonly adds?: boolean
  /** Also over rows that are newer. */
  readonly force?: boolean
  /** What the table is divided by for those who read it: SQL for the key of `$row`'s partition. */
  readonly tracked: readonly { readonly by: string; readonly expression: string }[]
  /** No source may bring a key that another source has brought: what a model builds belongs to one partition alone. */
  readonly exclusive: boolean
}

/** The pieces that the statements of a publish are made of; `s` is staging, `t` the target. */
export interface Statements {
  readonly table: string
  readonly staging: string
  readonly columns: string
  readonly sameKey: string
  readonly dataDiffers: string
  readonly differs: string
  readonly newer: string
  /** The rows that stay; undefined where there are none. */
  readonly isKept: string | undefined
  readonly target: Target
}

export function statements(request: PublishRequest): Statements {
  const { staging, target, sources, replaced, kept = [], force = false } = request
  const names = allColumns(target)
  const q = quoteIdentifier
  const isKept = keptRows(kept)
  const readAgain = `(t._source = ANY(${textArray(replaced)})${isKept === undefined ? "" : ` AND NOT ${isKept}`})`
  // xml, json and geometric types have no equality: their text is compared instead.
  const comparable = (alias: string, column: { name: string; type: string }): string =>
    ["json", "xml", "point"].includes(column.type) ? `${alias}.${q(column.name)}::text` : `${alias}.${q(column.name)}`
  // Of one source the position decides: a row that was replayed may carry the number of an earlier version.
  const later =
    isKept === undefined
      ? "t._seq > s._seq"
      : "CASE WHEN t._source = s._source THEN t._position > s._position ELSE t._seq > s._seq END"
  const newer = isNewer(target, later)
  const data = target.columns.filter((column) => !target.key.includes(column.name))
  const sameKeyOf = (alias: string): string =>
    target.key.map((name) => `t.${q(name)} = ${alias}.${q(name)}`).join(" AND ")
  const dataDiffers =
    data.length === 0
      ? "false"
      : `(${data.map((column) => `${comparable("t", column)} IS DISTINCT FROM ${comparable("s", column)}`).join(" OR ")})`
  return {
    table: qualifiedName(target),
    staging,
    columns: names.map(q).join(", "),
    sameKey: [sameKeyOf("s"), ...ownRows(target, sources)].join(" AND "),
    dataDiffers,
    // A row whose own source no longer says so, while another one does, is that one's from now on.
    differs:
      target.mode === "upsert" && replaced.length > 0 && sources.length > 1
        ? `(${dataDiffers} OR (${readAgain} AND t._source <> s._source AND NOT EXISTS (SELECT FROM ${confirmedTable(staging)} c WHERE ${sameKeyOf("c")})))`
        : dataDiffers,
    // What stands in the table from a source that is read again is no rival: staging holds what that source says now.
    newer: force ? "false" : replaced.length === 0 ? newer : `(NOT ${readAgain} AND ${newer})`,
    isKept,
    target,
  }
}

/** By the column that orders versions, a missing value being the oldest, and where that says nothing by the order of reading. */
function isNewer({ orderBy }: Target, later: string): string {
  if (orderBy === undefined) return later
  const [there, staged] = [`t.${quoteIdentifier(orderBy)}`, `s.${quoteIdentifier(orderBy)}`]
  return `coalesce(${there} > ${staged} OR (${there} IS NOT NULL AND ${staged} IS NULL) OR (${there} IS NOT DISTINCT FROM ${staged} AND ${later}), false)`
}

const keptRows = (kept: NonNullable<PublishRequest["kept"]>): string | undefined =>
  kept.length === 0
    ? undefined
    : `((t._source, t._position) IN (SELECT * FROM unnest(${textArray(kept.map(({ source }) => source))}, ARRAY[${kept.map(({ position }) => position).join(", ")}]::bigint[])))`

export const textArray = (texts: readonly string[]): string => `ARRAY[${texts.map(quoteLiteral).join(", ")}]::text[]`

export const confirmedTable = (staging: string): string => `${staging}_confirmed`

export const newestFirst = ({ orderBy }: Target): string =>
  [...(orderBy === undefined ? [] : [`${quoteIdentifier(orderBy)} DESC NULLS LAST`]), "_seq DESC", "ctid DESC"].join(
    ", ",
  )

/** Appended rows meet only rows of their own source: saying so spares the join the rest of the table. */
const ownRows = (target: Target, sources: readonly string[]): string[] =>
  target.mode === "append" ? [`t._source = ANY(${textArray(sources)})`] : []

export const changedRows = (sql: Statements): string =>
  `FROM ${sql.staging} s JOIN ${sql.table} t ON ${sql.sameKey} WHERE NOT ${sql.newer} AND ${sql.differs}`

export const newRows = (sql: Statements): string =>
  `FROM ${sql.staging} s WHERE NOT EXISTS (SELECT FROM ${sql.table} t WHERE ${sql.sameKey})`

export const goneRows = (sql: Statements): string =>
  `${sql.table} t WHERE t._source = ANY($1::text[])${sql.isKept === undefined ? "" : ` AND NOT ${sql.isKept}`}
   AND NOT EXISTS (SELECT FROM ${sql.staging} s WHERE ${sql.sameKey})`
