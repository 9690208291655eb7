import type { ByteCheck } from "../../core/byte-check.ts"
import { put, putNumber } from "../../core/put-bytes.ts"
import { between, LINE_FEED, ZERO } from "./copy-bytes.ts"
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
/** Bytes that a column takes besides its field: a null mark, a suffix. */
export const SPARE_BYTES_PER_COLUMN = 80
/** Bytes that the numbers of a line and what stands around them take. */
const NUMBERS_BYTES = 128

/** Writes what stands behind the columns of a record's row, with the line's end; gives the place behind it. */
export type LineageWriter = (out: Buffer, at: number, ordinal: number) => number

/** `delimiter` stands between the fields. */
export function lineageWriter(lineage: RowLineage, delimiter: number): { bytes: number; write: LineageWriter } {
  const head = Buffer.from(between(lineage.head, delimiter))
  const write: LineageWriter = (out, at, ordinal) => {
    at = putNumber(out, put(out, at, head), ordinal)
    if (lineage.append) {
      out[at++] = delimiter
      out[at++] = ZERO
    }
    out[at++] = delimiter
    const seq = lineage.seqOf(ordinal)
    at = typeof seq === "number" ? putNumber(out, at, seq) : at + out.write(seq, at, "latin1")
    out[at++] = LINE_FEED
    return at
  }
  return { bytes: head.length + NUMBERS_BYTES, write }
}
