import type { ErrorCode } from "./errors.ts"
import type { JsonValue } from "./json.ts"

/** The payload: a plain object. Made with a null prototype or own keys only, so `__proto__` is a key like any other. */
export type RecordObject = Record<string, unknown>

/** Where a source can resume. Opaque to all but the source (and its format) that made it; plain JSON. */
export type Position = { readonly [key: string]: JsonValue }

/** Where a record stands in its source, for people: the physical line (from 1) and the byte offset, or the page and the item in it (from 1). */
export interface Place {
  readonly line?: number
  readonly offset?: number
  readonly page?: string
  readonly item?: number
  /** Files that show what the source showed (a rendered page's picture and HTML), from the project folder. */
  readonly evidence?: readonly string[]
}

/** One thing that is wrong with a record. Holds no value in `rule`, `path`, `expected` or `actualType`: they make the fingerprint. */
export interface Fault {
  readonly code: ErrorCode
  /** The step that found it. */
  readonly step: "decode" | "prepare" | "validate" | "transform" | "check" | "load"
  /** Says field, expected, got. */
  readonly message: string
  /** The rule that failed: `column_count`, `invalid_type`, `min`, the name of a check. Undefined when only a message is known. */
  readonly rule?: string
  /** The path to the field, keys and indices joined as `a.b[0]`; empty for the whole record. */
  readonly path?: string
  readonly expected?: string
  readonly actualType?: string
}

/** A record that could not be decoded. */
export class DecodeFault {
  readonly fault: Fault
  /** Set when the record was too long to keep: `raw` then holds only its head. */
  readonly oversize: { readonly bytes: number; readonly sha256: string } | undefined

  constructor(
    rule: string,
    message: string,
    extra: { expected?: string; oversize?: { bytes: number; sha256: string } } = {},
  ) {
    this.fault = {
      code: "DECODE",
      step: "decode",
      rule,
      message,
      ...(extra.expected === undefined ? {} : { expected: extra.expected }),
    }
    this.oversize = extra.oversize
  }
}

/**
 * Records of text fields as ranges of bytes: what checks on bytes work on, without a record object. Field j of record i ends at
 * `ends[i * columns.length + j]`, whose upper two bits are flags, and begins one byte after the end of the one before, or at
 * `starts[i]`.
 */
export interface FieldRanges {
  readonly columns: readonly string[]
  /** The byte that quotes a field, and the one between two fields. */
  readonly quote: number
  readonly delimiter: number
  readonly bytes: Buffer
  readonly starts: Uint32Array
  readonly ends: Uint32Array
  /** Whether record i has fields at all: one that is not well formed has none. */
  readonly isWhole: (i: number) => boolean
  /** Whether all of `bytes` is UTF-8. */
  readonly isUtf8: () => boolean
  /** Whether fields without quotes are plain: printable ASCII that COPY, CSV and JSON write as it stands. May say no for lack of knowledge. */
  readonly isPlain: () => boolean
}

/** Records as lines of JSON, as ranges of bytes: line i goes from `starts[i]` to `ends[i]`. */
export interface LineRanges {
  readonly bytes: Buffer
  readonly starts: ArrayLike<number>
  readonly ends: ArrayLike<number>
  /** Whether all of `bytes` is UTF-8. */
  readonly isUtf8: () => boolean
}

/** Bits of `FieldRanges.ends`: the offset; the field is in quotes (which lie within its range); it has doubled quotes inside. */
export const FIELD_OFFSET = 0x3fff_ffff
export const FIELD_QUOTED = 0x4000_0000
export const FIELD_DOUBLED = 0x8000_0000

/**
 * The unit of reading, staging and resuming: a view over the bytes a source read, not an array of objects.
 * Records are numbered from 0. `record(i)` makes a fresh object on each call. A reader's batch is done with when the next one is
 * asked for; what has to live on (records and texts do) is copied.
 */
export interface Batch {
  readonly length: number
  /** Where the source resumes after this batch. */
  readonly position: Position
  /** Bytes of the source that this batch takes up, for progress. */
  readonly bytes: number
  /** The exact bytes of record i, without its line end (at most `maxRecordBytes`; only its head beyond that). */
  raw(i: number): Uint8Array
  /** Record i, decoded, or the reason why it cannot be. */
  record(i: number): RecordObject | DecodeFault
  /** The number that orders record i within its partition and names it in `_position`: strictly increasing; the physical line for files. */
  ordinal(i: number): number
  place(i: number): Place
  /** The same records as fields of text, for formats that have them and where blank is the only word for absent. */
  readonly fields?: FieldRanges | undefined
  /** The same records as lines of JSON, for formats that have them. */
  readonly lines?: LineRanges | undefined
}
