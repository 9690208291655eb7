import type { ByteCheck } from "./byte-check.ts"
import type { BreakerStore } from "./breakers.ts"
import type { RunEventBody } from "./events.ts"
import type { JsonValue } from "./json.ts"
import type { Ports } from "./ports.ts"
import type { Batch, DecodeFault, Fault, Position, RecordObject } from "./records.ts"
import type { SecretFields } from "./secret-fields.ts"

/** How a schema's columns look in PostgreSQL. */
export interface Column {
  /** The property of the record. */
  readonly property: string
  /** The column of the table. */
  readonly name: string
  /** A PostgreSQL type as written in DDL: `text`, `numeric(12,3)`, `bigint`, `timestamptz`, `jsonb` … */
  readonly type: string
  readonly nullable: boolean
  /** For `timestamptz`: the zone that text without one is in (`UTC`, `Europe/London`). Undefined: the text must carry its own. */
  readonly zone?: string | undefined
}

export type Validation = { readonly value: RecordObject } | { readonly faults: readonly Fault[] }

/** A schema as the engine sees it, whatever library it was written with. */
export interface RecordSchema {
  /** In the order of the schema; undefined when the schema cannot tell. */
  readonly columns: readonly Column[] | undefined
  /** Properties an input may carry; undefined when the schema cannot tell (then no column is ever unknown). */
  readonly inputs: ReadonlySet<string> | undefined
  /** Input properties that must be there. */
  readonly required: ReadonlySet<string>
  /** Input properties whose numbers must keep every digit: decoders hand them over as text. */
  readonly exact: ReadonlySet<string>
  /**
   * Brings a freshly decoded record to the types the schema takes, in place: whole numerals to numbers, JSON numbers of
   * exact columns to text and, where `untyped` (formats such as CSV carry only text), blanks to absent. Never guesses:
   * what does not convert in full is left as it is for `validate` to name. A blank or null never becomes 0.
   */
  fit(record: RecordObject, untyped: boolean): void
  validate(record: RecordObject): Validation | Promise<Validation>
  /** Fields whose values are masked wherever records and what is wrong with them are shown; also by the names of their columns. */
  readonly secrets: SecretFields
  /** By property, in the order of `columns`; undefined where one of them cannot be judged by its bytes. */
  readonly byteChecks: ReadonlyMap<string, ByteCheck> | undefined
  /** Says what the schema accepts and produces; part of the pipeline's definition version. */
  readonly description: JsonValue
}

/** One slice of a source that is staged, checked and published as a whole. */
export interface SourcePartition {
  /** Stable over runs, unique in the source: the file's path. Goes into `_source`. */
  readonly key: string
  /** Changes exactly when the content does: the content hash. */
  readonly version: string
  /** Bytes to read, where known; for progress. */
  readonly bytes: number | undefined
  /** What the source noted to tell cheaply next time whether the content changed; opaque. */
  readonly stamp: JsonValue
  /**
   * The reading goes on behind what was read of the partition before, and ordinals go on from here: its rows stay, and its
   * letters up to this ordinal. Undefined: the reading is of all there is.
   */
  readonly after?: number | undefined
  /** Earlier rows that a reading of all does not bring again stay: a listing may miss some. Only where rows have a key. */
  readonly keepsRows?: boolean | undefined
}

/** What the ledger knows of a partition that was published or held before. */
export interface KnownPartition {
  readonly key: string
  readonly version: string
  readonly stamp: JsonValue
  /** What its reader had noted in `state` when it was last published. */
  readonly state?: JsonValue | undefined
}

/** What a source may tell of while it reads: an event of the run. */
export type SourceNotice = Extract<RunEventBody, { type: "warning" | "retry" }>

/** What the engine hands to a source. */
export interface SourceContext {
  readonly ports: Ports
  /** The folder that relative paths start from. */
  readonly directory: string
  readonly signal: AbortSignal
  /** Properties whose numbers must keep every digit. */
  readonly exact: ReadonlySet<string>
  /** A longer record keeps only its head. */
  readonly maxRecordBytes: number
  /** Everything is to be read again. */
  readonly full?: boolean | undefined
  /** Keys of partitions that an interrupted run has read in part: listed again under the same key and version, they are read on. */
  readonly unfinished?: readonly string[] | undefined
  /** Rows are told apart by a key of their own: a record that comes again does no harm. */
  readonly keyed?: boolean | undefined
  readonly tell?: ((notice: SourceNotice) => void) | undefined
  /** Breakers that all runs on the database share; undefined where there is none. */
  readonly breakers?: BreakerStore | undefined
}

/** What a source found wrong with a whole partition is thrown as a SpillwayError: the partition is held, the others go on. */
export interface Source {
  /** `files`, `rest`, `sql` … */
  readonly kind: string
  /** What a partition is, as dead letters name it. */
  readonly unit: "file" | "url" | "topic" | "query"
  /** Text formats carry no types: the schema then turns whole numerals into numbers and blanks into absence. */
  readonly untyped: boolean
  /** A partition that was interrupted can be continued at a batch's position. */
  readonly resumable: boolean
  /** `shifting`: a record that is read again may have another position, so that positions cannot name rows. Default `stable`. */
  readonly positions?: "stable" | "shifting" | undefined
  /** Partitions are read on from where the last run ended. */
  readonly incremental?: boolean | undefined
  /** Partitions are days or months, whose date ends their key: `NAME 2026-01-05`. */
  readonly dividedBy?: "day" | "month" | undefined
  /** Says what is read and how; part of the pipeline's definition version. */
  readonly description: JsonValue
  /** The partitions there are now, in the order they are to be processed. `known` lets an unchanged one be recognised cheaply. */
  list(context: SourceContext, known: ReadonlyMap<string, KnownPartition>): Promise<readonly SourcePartition[]>
  /** Reads a partition from its start, or after `from`. Checks at the end that it read the `version` it was asked for. */
  read(partition: SourcePartition, from: Position | undefined, context: SourceContext): PartitionReader
  /**
   * Decodes single records of a partition again from their bytes, for dead letters that could not be decoded. Undefined for all
   * where the partition can no longer tell how (its file is gone).
   */
  decodeRecords?(
    partition: string,
    raws: readonly Uint8Array[],
    context: SourceContext,
  ): Promise<readonly (RecordObject | DecodeFault)[] | undefined>
}

/** Batches in order. Each may be a view over memory that is used again: it is done with when the next is asked for. */
export interface PartitionReader extends AsyncIterable<Batch> {
  /** Begins to make the next batch before it is asked for, while the last one is still in use. Undefined, or without effect, where that cannot be. */
  prepare?(): void
  /** The columns the partition says it has (a CSV header), once the first batch or the end was reached; undefined where there are none. */
  readonly columns: readonly string[] | undefined
  /** What the source is to be told when it lists the partition again: asked for at the end of the reading, committed with its rows. */
  readonly state?: JsonValue | undefined
}

export interface DecoderOptions {
  /** Resume after this position; the first byte pushed is then the first byte after it. */
  readonly position?: Position | undefined
  readonly exact: ReadonlySet<string>
  /** A longer record keeps only its head. */
  readonly maxRecordBytes: number
}

/** A file's bytes, wherever they are wanted. */
export interface RandomAccess {
  readonly size: number
  /** The bytes from `start` up to `end`, which is at most `size`. */
  read(start: number, end: number): Promise<ArrayBuffer>
}

/** Bytes to records. Knows nothing of files, tables or schemas. */
export interface Format {
  readonly name: string
  readonly untyped: boolean
  /** All options that decide how bytes become records; part of the pipeline's definition version. */
  readonly description: JsonValue
  decoder(options: DecoderOptions): Decoder
  /** Of a format that cannot be read from front to back: reads a file from its start, or after a position. Used instead of `decoder`. */
  reader?(file: RandomAccess, options: DecoderOptions): PartitionReader
  /** Decodes one record by itself; `columns` are those of its file, where the format has any. */
  record?(raw: Uint8Array, columns: readonly string[] | undefined, options: DecoderOptions): RecordObject | DecodeFault
}

export interface Decoder {
  /** The column names, once they were read; undefined where the format has none. */
  readonly columns: readonly string[] | undefined
  /**
   * Takes the next bytes (copied) and gives the batches that are complete. They are views over the decoder's memory, which stay
   * as they are while the next bytes are pushed, and are done with at the push after that.
   */
  push(chunk: Uint8Array): Batch[]
  /** No more bytes: gives what is left. */
  end(): Batch[]
}

/** Judges single records after the transform; a fault sends the record to the dead letters. */
export interface RecordCheck {
  readonly level: "record"
  readonly name: string
  readonly description: JsonValue
  judge(record: RecordObject): Fault | undefined
}

/** What a set-level check may look at: counts of the partition, and its own aggregates over the staged rows. */
export interface PartitionMeasures {
  /** Records read from the source. */
  readonly read: number
  /** Rows staged. */
  readonly staged: number
  readonly filtered: number
  readonly deadLettered: number
  /** This check's `aggregates`, by name; integers beyond a double arrive as text. */
  readonly aggregates: Readonly<Record<string, number | string | null>>
  /** The failing rows that `failingRows` returned (at most `sampleLimit`), and how many there are in all. */
  readonly failing: { readonly count: number; readonly samples: readonly RecordObject[] } | undefined
}

export interface CheckVerdict {
  readonly passed: boolean
  /** The number that was compared, for the ledger and trends. */
  readonly observed: number | null
  /** Says what was expected and what was found. */
  readonly message: string
}

/** Judges a whole staged partition before it is visible. */
export interface SetCheck {
  readonly level: "set"
  readonly name: string
  /** `fail` holds the partition; `warn` is an event. */
  readonly severity: "warn" | "fail"
  /** It says something of a partition as a whole, and nothing of a few rows that are added to it later. */
  readonly wholePartition?: true
  readonly description: JsonValue
  /** SQL aggregate expressions over the staged rows, by name. `column` gives a property's quoted column, or throws `CONFIG`. */
  aggregates?(column: (property: string) => string): Readonly<Record<string, string>>
  /** A condition that is true for a staged row that breaks the check; used to fetch samples. */
  failingWhere?(column: (property: string) => string): string
  /** A query over the relation `staged` that returns the failing rows; none means passed. */
  failingRows?(): string
  judge(measures: PartitionMeasures): CheckVerdict
}

export type Check = RecordCheck | SetCheck
