import type { ByteCheck } from "../core/byte-check.ts"
import type { Fault } from "../core/records.ts"

export type Faults = readonly [Fault, ...Fault[]]

/** The short way of records from the bytes of a batch to lines of the output, without an object in between. */
export interface SureRows {
  /** Takes record i and says true; or takes nothing, and the record goes the long way. */
  take(i: number): boolean
  /** After `take` said false: the fields of the source before this one are right. */
  readonly doubtfulFrom: number
  /** Writes what was taken: to be called before anything else is added to the text, and at the end. */
  flush(): void
}

/** One column of the output. */
export interface SureColumn {
  readonly name: string
  readonly check: ByteCheck
  /** The field in the source; -1 where it has no such column. */
  readonly field: number
}
