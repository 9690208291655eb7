import type { PartitionReader, SourceContext, SourcePartition } from "../../core/contracts.ts"
import { SpillwayError } from "../../core/errors.ts"
import type { Batch, Position, RecordObject } from "../../core/records.ts"
import { RowBatch } from "../../formats/row-batch.ts"
import type { Session } from "../../postgres/session.ts"
import { ReadTransaction, type SqlConnection } from "./connection.ts"
import { columnsOf } from "./columns.ts"
import type { SliceSql } from "./slices.ts"
import { sliceOf, sliceSql, type Slice, type Slicing } from "./slices.ts"
import { asText, valueOf, type QueryColumn } from "./values.ts"

type TextRow = Record<string, string | null>

interface Fetch {
  readonly rows: readonly TextRow[]
  /** Of its text. */
  readonly bytes: number
}

/** Rows of the first fetch; the next take as many as make a batch. */
const FIRST_FETCH = 200
const MOST_ROWS = 16_384
/** Bytes of text that a batch is to have. */
const BATCH_BYTES = 1 << 20

/** Takes rows from the server as they are wanted: as many at once as make a batch of about a megabyte. */
async function* fetched(session: Session, select: string): AsyncGenerator<Fetch, void, void> {
  await session.query(`DECLARE spillway_rows NO SCROLL CURSOR FOR ${select}`)
  for (let count = FIRST_FETCH; ;) {
    const { rows } = await session.query<TextRow>(`FETCH ${count} FROM spillway_rows`)
    if (rows.length === 0) return
    const bytes = rows.reduce((sum, row) => sum + sizeOf(row), 0)
    yield { rows, bytes }
    count = Math.max(1, Math.min(MOST_ROWS, 4 * count, Math.floor((BATCH_BYTES * rows.length) / bytes)))
  }
}

function sizeOf(row: TextRow): number {
  let size = 1
  for (const name in row) size += (row[name]?.length ?? 0) + 1
  return size
}

function recordOf(row: TextRow, columns: readonly QueryColumn[], exact: ReadonlySet<string>): RecordObject {
  return Object.fromEntries(
    columns.map((column, i) => [column.name, valueOf(row[`c${i}`] ?? null, column, exact.has(column.name))]),
  )
}

function batchOf(
  { rows, bytes }: Fetch,
  columns: readonly QueryColumn[],
  { first, position }: { readonly first: number; readonly position: Position },
  { exact, maxRecordBytes }: SourceContext,
): Batch {
  return new RowBatch({
    length: rows.length,
    position,
    first,
    bytes,
    maxRecordBytes,
    make: (i) => recordOf(rows[i] as TextRow, columns, exact),
  })
}

/** The columns as text, under names that no query can confuse. */
const selected = (columns: readonly QueryColumn[]): string =>
  columns.map((column, i) => `${asText(column)} AS c${i}`).join(", ")

/** Reads a whole query, from its start. */
export class QueryReader implements PartitionReader {
  columns: readonly string[] | undefined
  readonly #connection: SqlConnection
  readonly #query: string
  readonly #context: SourceContext

  constructor(connection: SqlConnection, query: string, context: SourceContext) {
    this.#connection = connection
    this.#query = query
    this.#context = context
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Batch, void, void> {
    const { signal } = this.#context
    const transaction = new ReadTransaction(this.#connection, this.#context)
    try {
      const session = await transaction.begin()
      const columns = await columnsOf(session, this.#query)
      this.columns = columns.map((column) => column.name)
      let read = 0
      for await (const fetchedRows of fetched(session, `SELECT ${selected(columns)} FROM (${this.#query}\n) AS q`)) {
        const first = read + 1
        read += fetchedRows.rows.length
        yield batchOf(fetchedRows, columns, { first, position: { row: read } }, this.#context)
        signal.throwIfAborted()
      }
    } catch (error) {
      throw transaction.explained(error)
    } finally {
      await transaction.end()
    }
  }
}

/** Where a slice goes on: behind the row with these values of cursor and key. */
interface SlicePosition {
  readonly row: number
  readonly after: readonly string[]
}

/** Connections lost one after the other, without a row in between. */
const MOST_LOSSES = 3

/** Reads a slice in the order of cursor and key, from its start or behind a row; goes on by itself when the connection is lost. */
export class SliceReader implements PartitionReader {
  columns: readonly string[] | undefined
  readonly #connection: SqlConnection
  readonly #slicing: Slicing
  readonly #slice: Slice
  readonly #context: SourceContext
  #at: SlicePosition | undefined

  constructor(
    connection: SqlConnection,
    slicing: Slicing,
    { partition, from }: { partition: SourcePartition; from: Position | undefined },
    context: SourceContext,
  ) {
    this.#connection = connection
    this.#slicing = slicing
    this.#slice = expectedSlice(slicing, partition)
    this.#at = from === undefined ? undefined : checkedPosition(from, slicing)
    this.#context = context
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Batch, void, void> {
    for (let losses = 0; ;) {
      const before = this.#at
      try {
        yield* this.#readOn()
        return
      } catch (error) {
        losses = this.#at === before ? losses + 1 : 1
        const lost = error instanceof SpillwayError && error.code === "DB_UNAVAILABLE"
        if (!lost || losses >= MOST_LOSSES || this.#context.signal.aborted) throw error
      }
    }
  }

  async *#readOn(): AsyncGenerator<Batch, void, void> {
    const { signal } = this.#context
    const transaction = new ReadTransaction(this.#connection, this.#context)
    try {
      const session = await transaction.begin()
      const columns = await columnsOf(session, this.#slicing.query)
      const sql = await sliceSql(session, this.#slicing)
      this.columns = columns.map((column) => column.name)
      for await (const fetchedRows of fetched(session, this.#select(sql, columns))) {
        const first = (this.#at?.row ?? 0) + 1
        this.#at = this.#behind(fetchedRows.rows, first)
        yield batchOf(fetchedRows, columns, { first, position: { ...this.#at } }, this.#context)
        signal.throwIfAborted()
      }
    } catch (error) {
      throw transaction.explained(error)
    } finally {
      await transaction.end()
    }
  }

  #select(sql: SliceSql, columns: readonly QueryColumn[]): string {
    const names = this.#ordering()
    const marks = names.map((name, i) => `${asText(plain(columns, name))} AS k${i}`).join(", ")
    const types = names.map((name) => plain(columns, name).type)
    const values = this.#at?.after.map((text, i) => `${sql.literal(text, types[i] ?? "text")}`).join(", ")
    const behind = values === undefined ? "" : ` AND (${sql.order}) > (${values})`
    return `SELECT ${selected(columns)}, ${marks} ${sql.from} WHERE ${sql.within(this.#slice)}${behind} ORDER BY ${sql.order}`
  }

  #ordering(): readonly string[] {
    return [this.#slicing.cursor, ...this.#slicing.key]
  }

  /** The position behind these rows. Throws `CONFIG` for two rows that cannot be told apart: one of them could be lost in a resume. */
  #behind(rows: readonly TextRow[], first: number): SlicePosition {
    const names = this.#ordering()
    let before = this.#at?.after
    for (const row of rows) {
      const marks = names.map((name, i) => row[`k${i}`] ?? missing(name))
      if (before?.every((mark, i) => mark === marks[i]) === true) throw alike(names)
      before = marks
    }
    return { row: first + rows.length - 1, after: before ?? [] }
  }
}

const plain = (columns: readonly QueryColumn[], name: string): QueryColumn => {
  const column = columns.find((candidate) => candidate.name === name)
  return { name, type: column?.type ?? "text", structured: false }
}

function missing(name: string): never {
  throw new SpillwayError(
    "CONFIG",
    `the query gives rows in which ${JSON.stringify(name)}, which orders them, is null`,
    {
      where: "key",
      hint: "name columns in key that are never null",
    },
  )
}

const alike = (names: readonly string[]): SpillwayError =>
  new SpillwayError("CONFIG", `two rows have the same ${names.map((name) => JSON.stringify(name)).join(" and ")}`, {
    where: "key",
    hint: 'name what tells them apart: key: "id"',
  })

function expectedSlice(slicing: Slicing, { key }: SourcePartition): Slice {
  const slice = sliceOf(slicing.cursor, key)
  if (slice !== undefined) return slice
  throw new SpillwayError(
    "CONFIG",
    `the partition ${JSON.stringify(key)} is no slice of ${JSON.stringify(slicing.cursor)}`,
    {
      where: key,
      hint: "run again with the source it came from",
    },
  )
}

function checkedPosition(from: Position, { key }: Slicing): SlicePosition {
  const { row, after } = from
  const fits =
    typeof row === "number" &&
    Array.isArray(after) &&
    after.length === key.length + 1 &&
    after.every((mark) => typeof mark === "string")
  if (fits) return { row, after: after }
  throw new SpillwayError("CHECKPOINT", `the position to resume at is not one of a query: ${JSON.stringify(from)}`, {
    hint: "read the partition again from its start (--reset)",
  })
}
