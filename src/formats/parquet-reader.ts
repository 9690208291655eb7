import { isUtf8 } from "node:buffer"
import type * as hyparquet from "hyparquet"
import type { Compressors, DecodedArray, FileMetaData, ParquetParsers, RowGroup } from "hyparquet"
import type { DecoderOptions, PartitionReader, RandomAccess } from "../core/contracts.ts"
import { SpillwayError, systemCode } from "../core/errors.ts"
import { optionalPackage } from "../core/optional-package.ts"
import { DecodeFault, type Batch, type Position, type RecordObject } from "../core/records.ts"
import { columnsOf, withStoredValues, type ParquetColumn } from "./parquet-schema.ts"
import { BadText } from "./parquet-values.ts"
import { RowBatch } from "./row-batch.ts"

/** A row group is in memory as a whole while its rows are read; one that would take more than this is refused. */
const MAX_GROUP_BYTES = 1 << 30

export interface ParquetSettings {
  readonly binaryAsText: boolean
  readonly batchRows: number
}

type Library = typeof hyparquet

/** Reads a Parquet file row group by row group, from its start or after a position: `group` and `row`, the next row in it. */
export class ParquetReader implements PartitionReader {
  columns: readonly string[] | undefined
  readonly #file: RandomAccess
  readonly #options: DecoderOptions
  readonly #settings: ParquetSettings

  constructor(file: RandomAccess, options: DecoderOptions, settings: ParquetSettings) {
    this.#file = file
    this.#options = options
    this.#settings = settings
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Batch, void, void> {
    const library = await optionalPackage(() => import("hyparquet"), "hyparquet", "reading Parquet")
    const metadata = await this.#guarded(() => library.parquetMetadataAsync(this.#buffer(), { geoparquet: false }))
    const columns = columnsOf(library.parquetSchema(metadata), this.#settings.binaryAsText)
    this.columns = columns.map((column) => column.name)
    const stored = withStoredValues(metadata)
    const compressors = await compressorsFor(metadata)
    const start = startOf(this.#options.position, metadata)
    let before = 0
    for (const [g, group] of metadata.row_groups.entries()) {
      const rows = Number(group.num_rows)
      if (g >= start.group && rows > 0) {
        const read = await this.#guarded(() =>
          this.#readGroup(library, { stored, compressors, columns }, group, before),
        )
        yield* this.#batches(
          { group: g, rows, before, bytes: sizeOf(group) },
          columns,
          read,
          g === start.group ? start.row : 0,
        )
      }
      before += rows
    }
  }

  async #readGroup(
    library: Library,
    {
      stored,
      compressors,
      columns,
    }: { stored: FileMetaData; compressors: Compressors; columns: readonly ParquetColumn[] },
    group: RowGroup,
    rowStart: number,
  ): Promise<DecodedArray[]> {
    if (group.total_byte_size > MAX_GROUP_BYTES)
      throw new SpillwayError("RESOURCE", `a row group of the file takes ${group.total_byte_size} bytes in memory`, {
        hint: `write the file with row groups of at most ${MAX_GROUP_BYTES >> 20} MiB`,
      })
    const rowEnd = rowStart + Number(group.num_rows)
    const scan = await library.parquetScan({
      file: this.#buffer(),
      metadata: stored,
      rowStart,
      rowEnd,
      compressors,
      utf8: false,
      geoparquet: false,
      useOffsetIndex: false,
      parsers: PARSERS,
    })
    const read: DecodedArray[] = []
    for (const { name } of columns) {
      const values = await scan.readColumn({ column: name, rowStart, rowEnd })
      if (values.length !== rowEnd - rowStart)
        throw new Error(`the column ${JSON.stringify(name)} has ${values.length} values for ${rowEnd - rowStart} rows`)
      read.push(values)
    }
    return read
  }

  *#batches(
    at: { group: number; rows: number; before: number; bytes: number },
    columns: readonly ParquetColumn[],
    values: readonly DecodedArray[],
    start: number,
  ): Generator<Batch, void, void> {
    const { exact, maxRecordBytes } = this.#options
    for (let from = start; from < at.rows; from += this.#settings.batchRows) {
      const to = Math.min(at.rows, from + this.#settings.batchRows)
      yield new RowBatch({
        length: to - from,
        position: to < at.rows ? { group: at.group, row: to } : { group: at.group + 1, row: 0 },
        first: at.before + from + 1,
        bytes: Math.round((at.bytes * to) / at.rows) - Math.round((at.bytes * from) / at.rows),
        maxRecordBytes,
        make: (i) => recordOf(columns, values, from + i, exact),
      })
    }
  }

  #buffer(): { byteLength: number; slice(start: number, end?: number): Promise<ArrayBuffer> } {
    const file = this.#file
    return { byteLength: file.size, slice: (start, end = file.size) => file.read(start, end) }
  }

  /** What the library says of a file that it cannot read is about the file as a whole; errors of the file system come as they are. */
  async #guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (error instanceof SpillwayError || systemCode(error) !== undefined) throw error
      if (!(error instanceof Error) || error.name === "AbortError") throw error
      throw new SpillwayError("DECODE", `the Parquet file cannot be read: ${error.message}`, {
        cause: error,
        hint: "it is damaged or cut short: get it again from where it came; nothing of it was loaded",
      })
    }
  }
}

function recordOf(
  columns: readonly ParquetColumn[],
  values: readonly DecodedArray[],
  row: number,
  exact: ReadonlySet<string>,
): RecordObject | DecodeFault {
  let bad: string | undefined
  const record = Object.fromEntries(
    columns.map((column, c) => {
      const { name } = column
      const value = column.convert((values[c] as DecodedArray)[row], exact.has(name))
      if (value instanceof BadText) bad = name
      return [name, value]
    }),
  )
  if (bad === undefined) return record
  return new DecodeFault("utf8", `${bad}: the text is not valid UTF-8`, { expected: "UTF-8" })
}

/** What the library would make of values: texts only where they are some; instants stay numbers. */
const PARSERS: Partial<ParquetParsers> = {
  stringFromBytes: (bytes: Uint8Array | undefined) =>
    bytes === undefined
      ? undefined
      : isUtf8(bytes)
        ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString()
        : new BadText(bytes),
  timestampFromNanoseconds: (nanos) => nanos,
}

async function compressorsFor(metadata: FileMetaData): Promise<Compressors> {
  const codecs = metadata.row_groups.flatMap((group) => group.columns.map((column) => column.meta_data?.codec))
  if (codecs.every((codec) => codec === undefined || codec === "UNCOMPRESSED" || codec === "SNAPPY")) return {}
  const { compressors } = await optionalPackage(
    () => import("hyparquet-compressors"),
    "hyparquet-compressors",
    "reading Parquet that is compressed other than with Snappy",
  )
  return compressors
}

const sizeOf = (group: RowGroup): number =>
  group.columns.reduce((sum, column) => sum + Number(column.meta_data?.total_compressed_size ?? 0), 0)

function startOf(position: Position | undefined, metadata: FileMetaData): { group: number; row: number } {
  if (position === undefined) return { group: 0, row: 0 }
  const { group, row } = position
  const fits = isIndex(group) && isIndex(row) && group <= metadata.row_groups.length
  if (fits) return { group, row }
  throw new SpillwayError(
    "CHECKPOINT",
    `the position to resume at is not one of a Parquet file: ${JSON.stringify(position)}`,
    {
      hint: "read the partition again from its start (--reset)",
    },
  )
}

const isIndex = (value: unknown): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0
