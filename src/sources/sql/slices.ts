import type { KnownPartition, SourcePartition } from "../../core/contracts.ts"
import { SpillwayError } from "../../core/errors.ts"
import type { Duration } from "../../resilience/duration.ts"
import { milliseconds } from "../../resilience/duration.ts"
import { quoteIdentifier, quoteLiteral } from "../../postgres/quote.ts"
import type { Session } from "../../postgres/session.ts"
import { columnNamed, columnsOf } from "./columns.ts"

/** How an incremental query is cut into slices. */
export interface Slicing {
  readonly query: string
  readonly cursor: string
  /** What tells rows of the same cursor value apart; none: the cursor does. */
  readonly key: readonly string[]
  readonly lag: Duration | undefined
  /** Rows up to and with this value are left out. */
  readonly start: string | undefined
}

/** The rows whose cursor is above `after` (from the first on, where undefined) and at most `to`. Bounds are the server's own text. */
export interface Slice {
  readonly after: string | undefined
  readonly to: string
}

/** A slice's key: for people, and to be read again. */
export const sliceKey = (cursor: string, { after, to }: Slice): string =>
  `${cursor}${after === undefined ? "" : ` after ${JSON.stringify(after)}`} to ${JSON.stringify(to)}`

const SLICE_KEY = /^(?: after ("(?:[^"\\]|\\.)*"))? to ("(?:[^"\\]|\\.)*")$/

/** The slice that a key names; undefined for keys of another cursor. */
export function sliceOf(cursor: string, key: string): Slice | undefined {
  const match = key.startsWith(cursor) ? SLICE_KEY.exec(key.slice(cursor.length)) : null
  if (match === null) return undefined
  return {
    after: match[1] === undefined ? undefined : (JSON.parse(match[1]) as string),
    to: JSON.parse(match[2] as string) as string,
  }
}

/** SQL of the parts of an incremental query, over the relation `q`. */
export class SliceSql {
  readonly slicing: Slicing
  readonly #type: string

  constructor(slicing: Slicing, cursorType: string) {
    this.slicing = slicing
    this.#type = cursorType
  }

  get from(): string {
    return `FROM (${this.slicing.query}\n) AS q`
  }

  get cursor(): string {
    return `q.${quoteIdentifier(this.slicing.cursor)}`
  }

  /** Cursor and key, in the order of reading. */
  get order(): string {
    return [this.slicing.cursor, ...this.slicing.key].map((name) => `q.${quoteIdentifier(name)}`).join(", ")
  }

  literal(text: string, type: string): string {
    return `${quoteLiteral(text)}::${type}`
  }

  value(text: string): string {
    return this.literal(text, this.#type)
  }

  within({ after, to }: Slice): string {
    const below = `${this.cursor} <= ${this.value(to)}`
    return after === undefined ? below : `${this.cursor} > ${this.value(after)} AND ${below}`
  }

  /** The value `lag` below another. */
  lagged(text: string): string {
    const { lag } = this.slicing
    if (lag === undefined) return this.value(text)
    const amount = this.#isTime() ? `interval '${milliseconds(lag, "lag")} milliseconds'` : `${Number(lag)}`
    return `(${this.value(text)} - ${amount})`
  }

  #isTime(): boolean {
    return /^(timestamp|date)/.test(this.#type)
  }

  /** Throws `CONFIG` when the lag is none for the cursor's type. */
  expectLag(): void {
    const { lag } = this.slicing
    if (lag === undefined || this.#isTime()) return
    if (typeof lag === "number" && /^(smallint|integer|bigint|numeric)/.test(this.#type)) return
    throw new SpillwayError("CONFIG", `lag ${JSON.stringify(lag)} does not fit a cursor of type ${this.#type}`, {
      where: "lag",
      hint: 'give a duration ("10 minutes") for dates and times, a number for numbers, none for other types',
    })
  }
}

/**
 * The slices there are now: those known, and one more when the cursor went on. A slice that reaches into the last `lag` before the greatest value
 * of the run before (or that ends with it) is looked at again: its version tells which rows stand there, so that one that came late changes it.
 */
export async function listSlices(
  session: Session,
  slicing: Slicing,
  known: ReadonlyMap<string, KnownPartition>,
  unfinished: readonly string[],
): Promise<SourcePartition[]> {
  const sql = await sliceSql(session, slicing)
  await expectNoNull(session, sql)
  // A slice that a run was stopped in has to be there again, for its reading to go on.
  const keys = new Set([...known.keys(), ...unfinished])
  const slices = [...keys].flatMap((key) => sliceOf(slicing.cursor, key) ?? [])
  const seen = await lastOf(session, sql, slices)
  const greatest = await greatestOf(session, sql, seen ?? slicing.start)
  if (greatest !== undefined) slices.push({ after: seen ?? slicing.start, to: greatest })
  const open = await openSlices(session, sql, slices, seen ?? greatest)
  const partitions: SourcePartition[] = []
  for (const [i, slice] of slices.entries()) {
    const key = sliceKey(slicing.cursor, slice)
    const before = known.get(key)?.version ?? ""
    // One that was never read whole has no version yet.
    const version = open.has(i) || before === "" ? await versionOf(session, sql, slice) : before
    partitions.push({ key, version, bytes: undefined, stamp: null })
  }
  return partitions
}

export async function sliceSql(session: Session, slicing: Slicing): Promise<SliceSql> {
  const columns = await columnsOf(session, slicing.query)
  const cursor = columnNamed(columns, slicing.cursor, "cursor")
  for (const name of slicing.key) columnNamed(columns, name, "key")
  const sql = new SliceSql(slicing, cursor.type)
  sql.expectLag()
  return sql
}

/** Rows without a cursor value would never be read. */
async function expectNoNull(session: Session, sql: SliceSql): Promise<void> {
  const { rows } = await session.query(`SELECT ${sql.from} WHERE ${sql.cursor} IS NULL LIMIT 1`)
  if (rows.length === 0) return
  const { cursor } = sql.slicing
  throw new SpillwayError(
    "CONFIG",
    `the query gives rows in which the cursor ${JSON.stringify(cursor)} is null: they would never be read`,
    {
      where: "cursor",
      hint: `leave them out in the query (WHERE ${cursor} IS NOT NULL), or give them a value (coalesce(${cursor}, …) AS ${cursor})`,
    },
  )
}

/** The greatest end of the slices, by the order of the cursor's type. */
async function lastOf(session: Session, sql: SliceSql, slices: readonly Slice[]): Promise<string | undefined> {
  if (slices.length === 0) return undefined
  const values = slices.map(({ to }) => `(${sql.value(to)})`).join(", ")
  const { rows } = await session.query<{ value: string }>(
    `SELECT v::text AS value FROM (VALUES ${values}) s(v) ORDER BY v DESC LIMIT 1`,
  )
  return rows[0]?.value
}

/** The cursor's greatest value above `above`; undefined when there is none. */
async function greatestOf(session: Session, sql: SliceSql, above: string | undefined): Promise<string | undefined> {
  const where = above === undefined ? "" : `WHERE ${sql.cursor} > ${sql.value(above)}`
  const { rows } = await session.query<{ value: string }>(
    `SELECT ${sql.cursor}::text AS value ${sql.from} ${where} ORDER BY ${sql.cursor} DESC LIMIT 1`,
  )
  const value = rows[0]?.value
  if (value !== undefined && /^(NaN|-?infinity)$/i.test(value))
    throw new SpillwayError(
      "CONFIG",
      `the cursor ${JSON.stringify(sql.slicing.cursor)} has the value ${value}: nothing could come after it`,
      {
        where: "cursor",
        hint: "leave such rows out in the query",
      },
    )
  return value
}

/** The indices of the slices that rows may have come into since the greatest value was `seen`. */
async function openSlices(
  session: Session,
  sql: SliceSql,
  slices: readonly Slice[],
  seen: string | undefined,
): Promise<ReadonlySet<number>> {
  if (seen === undefined) return new Set()
  const ends = slices.map(({ to }, i) => `(${i}, ${sql.value(to)})`).join(", ")
  const { rows } = await session.query<{ i: number }>(
    `SELECT i FROM (VALUES ${ends}) s(i, v) WHERE v >= ${sql.lagged(seen)}`,
  )
  return new Set(rows.map(({ i }) => i))
}

/** How many rows stand in the stretch of a slice that rows may come into late, and a hash of which. */
async function versionOf(session: Session, sql: SliceSql, slice: Slice): Promise<string> {
  const { rows } = await session.query<{ version: string }>(
    `SELECT count(*) || ':' || coalesce(sum(hashtextextended(ROW(${sql.order})::text, 0)), 0) AS version
     ${sql.from} WHERE ${sql.within(slice)} AND ${sql.cursor} >= ${sql.lagged(slice.to)}`,
  )
  return rows[0]?.version ?? ""
}
