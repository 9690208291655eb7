import type { Decoder, Format } from "../../src/core/contracts.ts"
import { DecodeFault, type Batch, type Position } from "../../src/core/records.ts"

/** All there is to see of a decoded record. */
export interface Seen {
  readonly line: number
  readonly offset: number | undefined
  readonly raw: string
  readonly value: unknown
}

export interface Reading {
  readonly records: Seen[]
  /** After each batch: the position, and how many records came up to there. */
  readonly positions: { readonly position: Position; readonly records: number }[]
  readonly columns: readonly string[] | undefined
  readonly bytes: number
}

export interface DecodeOptions {
  readonly chunk?: number
  readonly position?: Position
  readonly maxRecordBytes?: number
  readonly exact?: readonly string[]
}

/** Decodes `input` (from the position's offset on) in chunks of a size. */
export function decodeAll(format: Format, input: string | Uint8Array, options: DecodeOptions = {}): Reading {
  const whole = Buffer.from(input as Uint8Array)
  const bytes = whole.subarray(options.position === undefined ? 0 : (options.position["offset"] as number))
  const chunk = options.chunk ?? Math.max(1, bytes.length)
  const decoder = format.decoder({
    position: options.position,
    exact: new Set(options.exact ?? []),
    maxRecordBytes: options.maxRecordBytes ?? 1 << 24,
  })
  const records: Seen[] = []
  const positions: Reading["positions"] = []
  let taken = 0
  const take = (batches: readonly Batch[]): void => {
    for (const batch of batches) {
      for (let i = 0; i < batch.length; i++) records.push(see(batch, i))
      positions.push({ position: batch.position, records: records.length })
      taken += batch.bytes
    }
  }
  takeLate(decoder, bytes, chunk, take)
  return { records, positions, columns: decoder.columns, bytes: taken }
}

/** Takes the batches as late as may be: until the next bytes have been pushed they have to stay as they are. */
export function takeLate(
  decoder: Decoder,
  bytes: Uint8Array,
  chunk: number,
  take: (batches: readonly Batch[]) => void,
): void {
  let latest: readonly Batch[] = []
  for (let at = 0; at < bytes.length; at += chunk) {
    const next = decoder.push(bytes.subarray(at, at + chunk))
    take(latest)
    latest = next
  }
  const rest = decoder.end()
  take(latest)
  take(rest)
}

export function see(batch: Batch, i: number): Seen {
  const record = batch.record(i)
  const { line, offset } = batch.place(i)
  if (line !== batch.ordinal(i)) throw new Error(`line ${line} is not ordinal ${batch.ordinal(i)}`)
  return {
    line: batch.ordinal(i),
    offset,
    raw: Buffer.from(batch.raw(i)).toString("latin1"),
    value: record instanceof DecodeFault ? faultText(record) : record,
  }
}

/** `!rule`, so that expectations are short. */
const faultText = (fault: DecodeFault): string => `!${fault.fault.rule}`

/** `line: rule or values` of each record. */
export function outline(reading: Reading): string[] {
  return reading.records.map(({ line, value }) =>
    typeof value === "string" ? `${line}: ${value}` : `${line}: ${JSON.stringify(Object.values(value as object))}`,
  )
}
