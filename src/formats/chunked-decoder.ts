import type { Decoder, DecoderOptions } from "../core/contracts.ts"
import { SpillwayError } from "../core/errors.ts"
import type { Batch, Position } from "../core/records.ts"
import { byteOrderMark, MARK_BYTES } from "./byte-order-mark.ts"
import { HeldBytes } from "./held-bytes.ts"
import { OversizeLineReader, type OversizeLine } from "./oversize-line.ts"

/** The first byte not yet cut into a record: its offset in the file and its physical line, from 1. */
export interface Cursor {
  offset: number
  line: number
}

/** What became of a try to cut a batch off the bytes at hand. */
export type Cut =
  /** Records were cut (`batch`), or only a header and blank lines (no batch). */
  | { readonly kind: "taken"; readonly bytes: number; readonly batch: Batch | undefined }
  /** The record after `bytes` does not end within what is at hand. */
  | { readonly kind: "incomplete"; readonly bytes: number }
  /** The line after `bytes` is longer than a record may be. */
  | { readonly kind: "oversize"; readonly bytes: number }

/** The part of a line-based format that knows what a record is. Moves the cursor past whatever it takes. */
export interface RecordCutter {
  readonly cursor: Cursor
  readonly columns: readonly string[] | undefined
  /**
   * Cuts one batch off the start of `bytes`, which begin at the cursor; `final`: the file ends with them. What comes out
   * must depend on the bytes of the file alone, never on where `bytes` happens to end.
   */
  cut(bytes: Buffer, final: boolean): Cut
  /** A batch of one: the line at the cursor, which was too long. */
  oversize(line: OversizeLine): Batch
  /** The batches cut before the last call are done with: what they lie in can be used again. */
  recycle(): void
}

/** How much is cut at once. */
export interface BatchLimits {
  /** A batch ends with the record that reaches this many bytes. */
  readonly bytes: number
  /** Most records of a batch. */
  readonly records: number
}

export const DEFAULT_LIMITS: BatchLimits = { bytes: 1 << 20, records: 16384 }

/** Gathers chunks until there is enough for a batch, has it cut, and reads past lines that are too long. */
export class ChunkedDecoder implements Decoder {
  readonly #cutter: RecordCutter
  readonly #batchBytes: number
  readonly #maxRecordBytes: number
  readonly #held = new HeldBytes()
  #needed: number
  #oversize: OversizeLineReader | undefined

  constructor(cutter: RecordCutter, batchBytes: number, maxRecordBytes: number) {
    this.#cutter = cutter
    this.#batchBytes = batchBytes
    this.#maxRecordBytes = maxRecordBytes
    this.#needed = Math.max(batchBytes, MARK_BYTES)
  }

  get columns(): readonly string[] | undefined {
    return this.#cutter.columns
  }

  push(chunk: Uint8Array): Batch[] {
    if (chunk.length === 0) return []
    this.#held.add(chunk)
    this.#cutter.recycle()
    return this.#drain(false)
  }

  end(): Batch[] {
    return this.#drain(true)
  }

  #drain(final: boolean): Batch[] {
    const batches: Batch[] = []
    for (;;) {
      if (this.#oversize) {
        const batch = this.#readPast(this.#oversize, final)
        if (batch === undefined) return batches
        batches.push(batch)
      }
      if (this.#held.length === 0 || (!final && this.#held.length < this.#needed)) return batches
      const batch = this.#cut(final)
      if (batch !== undefined) batches.push(batch)
    }
  }

  #cut(final: boolean): Batch | undefined {
    if (this.#cutter.cursor.offset === 0) this.#skipMark()
    const cut = this.#cutter.cut(this.#held.view(), final)
    this.#held.drop(cut.bytes)
    this.#needed = this.#batchBytes
    if (cut.kind === "taken") return cut.batch
    const held = this.#held.length
    if (cut.kind === "oversize") this.#oversize = new OversizeLineReader()
    // Doubling keeps a long record from being scanned once per chunk. Two bytes for the line end.
    else this.#needed = Math.max(this.#batchBytes, Math.min(2 * held, this.#maxRecordBytes + 2), held + 1)
    return undefined
  }

  #skipMark(): void {
    const length = byteOrderMark(this.#held.view())
    this.#held.drop(length)
    this.#cutter.cursor.offset += length
  }

  #readPast(reader: OversizeLineReader, final: boolean): Batch | undefined {
    if (this.#held.length > 0) {
      const { taken, over } = reader.push(this.#held.view())
      this.#held.drop(taken)
      if (over) return this.#finishOversize(reader, true)
    }
    return final ? this.#finishOversize(reader, false) : undefined
  }

  #finishOversize(reader: OversizeLineReader, fed: boolean): Batch {
    this.#oversize = undefined
    return this.#cutter.oversize(reader.finish(fed))
  }
}

/** Where a decoder starts: the start of the file, or the position it is to resume at. Throws `CHECKPOINT`. */
export function startingCursor(options: DecoderOptions): Cursor {
  if (options.position === undefined) return { offset: 0, line: 1 }
  return { offset: positionNumber(options.position, "offset"), line: positionNumber(options.position, "line") }
}

export function positionNumber(position: Position, name: string): number {
  const value = position[name]
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value
  throw unusable(position, name)
}

export function positionNames(position: Position, name: string): readonly string[] {
  const value = position[name]
  if (Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === "string")) return value
  throw unusable(position, name)
}

function unusable(position: Position, name: string): SpillwayError {
  return new SpillwayError(
    "CHECKPOINT",
    `the position to resume at has no usable "${name}": ${JSON.stringify(position)}`,
    {
      hint: "read the partition again from its start (--reset)",
    },
  )
}
