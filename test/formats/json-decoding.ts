import { DecodeFault } from "../../src/core/records.ts"
import type { Batch, Position } from "../../src/core/records.ts"
import { jsonInBatches } from "../../src/formats/json.ts"
import type { BatchLimits } from "../../src/formats/chunked-decoder.ts"
import { takeLate } from "./decoding.ts"

export interface SeenElement {
  readonly ordinal: number
  readonly line: number | undefined
  readonly offset: number | undefined
  readonly raw: string
  /** The record, or `!rule`. */
  readonly value: unknown
}

export interface JsonReading {
  readonly elements: SeenElement[]
  /** After each batch: where to resume, and the elements up to there. */
  readonly positions: { readonly position: Position; readonly elements: number }[]
  readonly bytes: number
}

export interface JsonDecodeOptions {
  readonly limits?: BatchLimits
  readonly chunk?: number
  readonly position?: Position
  readonly maxRecordBytes?: number
  readonly exact?: readonly string[]
}

/** Decodes a JSON document (from the position's offset on) in chunks of a size. */
export function decodeJson(input: string | Uint8Array, options: JsonDecodeOptions = {}): JsonReading {
  const whole = typeof input === "string" ? Buffer.from(input) : Buffer.from(input)
  const bytes = whole.subarray(options.position === undefined ? 0 : Number(options.position["offset"]))
  const decoder = jsonInBatches(options.limits ?? { bytes: 1 << 20, records: 16384 }).decoder({
    position: options.position,
    exact: new Set(options.exact ?? []),
    maxRecordBytes: options.maxRecordBytes ?? 1 << 24,
  })
  const elements: SeenElement[] = []
  const positions: JsonReading["positions"] = []
  let taken = 0
  const take = (batches: readonly Batch[]): void => {
    for (const batch of batches) {
      for (let i = 0; i < batch.length; i++) elements.push(seeElement(batch, i))
      positions.push({ position: batch.position, elements: elements.length })
      taken += batch.bytes
    }
  }
  const chunk = options.chunk ?? Math.max(1, bytes.length)
  takeLate(decoder, bytes, chunk, take)
  return { elements, positions, bytes: taken }
}

function seeElement(batch: Batch, i: number): SeenElement {
  const record = batch.record(i)
  const { line, offset } = batch.place(i)
  const value = record instanceof DecodeFault ? `!${record.fault.rule}` : record
  return { ordinal: batch.ordinal(i), line, offset, raw: Buffer.from(batch.raw(i)).toString("latin1"), value }
}
