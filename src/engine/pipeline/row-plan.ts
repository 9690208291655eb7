import type { ByteCheck } from "../../core/contracts.ts"
import type { CopyText } from "./copy-text.ts"
import type { NewColumns } from "./new-columns.ts"

/** Writes record i as a line and says true; or writes nothing and leaves the record to the record path. */
export type RowWriter = (i: number, text: CopyText) => boolean

/** What stands behind the columns of every row of a partition. */
export interface RowLineage {
  /** `_source` as COPY text, with tabs around it. */
  readonly head: string
  /** Appended rows also carry `_item`. */
  readonly append: boolean
  readonly seqOf: (ordinal: number) => string | number
  /** Columns behind those of the schema. */
  readonly newColumns?: NewColumns | undefined
}

export interface ColumnPlan {
  readonly check: ByteCheck
  /** The field in the source; -1 where the source has no such column. */
  readonly field: number
  readonly nulls: { property: string; count: number }
}

/** A longer field is left to the record path, which measures keys exactly. */
export const LONGEST_FIELD = 500
/** Bytes that a line takes besides its fields: null marks, suffixes, numbers. */
export const SPARE_BYTES_PER_COLUMN = 80
export const SPARE_BYTES = 128
