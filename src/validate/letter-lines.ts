import type { FieldRanges } from "../core/records.ts"
import type { LetterOrigin } from "../dead-letters/letter.ts"

/** What letters with equal faults have in common: all but id, record, place and original text. */
export interface LetterParts {
  readonly beforeRecord: Buffer
  /** The place for the id lies in it, `idAt` bytes behind its beginning. */
  readonly beforeLine: Buffer
  readonly idAt: number
  readonly beforeRaw: Buffer
  /** With the line end. */
  readonly behind: Buffer
}

/** What a letter has as its record: nothing, what has to be looked at byte by byte, or what can be copied. */
export const UNDECODED = 0
export const ESCAPED = 1
export const PLAIN = 2
export type RecordForm = typeof UNDECODED | typeof ESCAPED | typeof PLAIN

/** The records that letters are put together from. */
export type LetterSource = Pick<FieldRanges, "columns" | "bytes" | "starts" | "ends">

/** Where the records of a batch come from, and what of them there is as ranges of bytes. */
export interface LettersOfBatch {
  readonly origin: LetterOrigin
  readonly source: LetterSource | undefined
}

/** Takes the letters of a batch, in their order. */
export interface LetterLines {
  /**
   * A letter to be put together: of record `i`, whose bytes end at `to`. They are UTF-8, and hold nothing that JSON writes by number. Needs a
   * source.
   */
  fill(parts: LetterParts, form: RecordForm, i: number, to: number, line: number, offset: number): void
  /** The same, whose parts are those of no other letter. */
  fillOnce(parts: LetterParts, form: RecordForm, i: number, to: number, line: number, offset: number): void
  /** A letter that is there whole, with its line end. */
  add(line: string): void
  /** Letters are put together by another thread. */
  readonly isElsewhere: boolean
  /** Much has come together: it is time to send. */
  readonly isFull: boolean
  /** Sends on what has come together. To be awaited before the batch is done with. */
  send(): Promise<void>
}
