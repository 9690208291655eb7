import type { Format, RecordSchema } from "../core/contracts.ts"
import { SpillwayError } from "../core/errors.ts"
import type { Batch } from "../core/records.ts"
import { shown } from "../core/shown.ts"
import { Rejected, type RecordPath } from "../engine/pipeline/record-path.ts"
import { isArrowTable } from "./arrow-table.ts"
import { frameRows, isColumnFrame } from "./data-frame.ts"
import { RecordsBatch } from "./records-batch.ts"

/** One record, records in any kind of sequence (arrays, iterators, generators, object streams), or a data frame by columns. */
export type ValidateInput = object

export interface RecordsOptions {
  /** Values are text, as from a CSV: whole numerals become numbers, blanks are absent. Default false. */
  readonly untyped?: boolean
  /** The input is a sequence of bytes or text in this format: `csv()`, `jsonl()`, `json()`. */
  readonly format?: Format
  /**
   * Whether an object of lists is a data frame (true) or one record (false). Default: a record when the schema accepts
   * it as one, otherwise a frame when its lists are of one length.
   */
  readonly frame?: boolean
}

/** Values taken together, so that there is no promise for each. */
const RECORDS_AT_ONCE = 1_000
const MAX_RECORD_BYTES = 16 * 1024 * 1024

/** Any input as batches of records. Throws `CONFIG` for what holds no records. */
export async function* batchesOf(
  schema: RecordSchema,
  input: ValidateInput,
  options: RecordsOptions,
  path: RecordPath,
): AsyncGenerator<Batch, void, void> {
  const given: unknown = input
  if (typeof given !== "object" || given === null) throw notRecords(given)
  const { format, untyped = false } = options
  if (format !== undefined) yield* decoded(format, sequenceOf(given), schema, path)
  else if (isArrowTable(given)) yield* together(frameRows(given, schema) ?? [], untyped)
  else {
    const sequence = sequenceOf(given)
    if (sequence === undefined) yield* together(await recordOrRows(schema, given, options, path), untyped)
    else if (Symbol.iterator in sequence) yield* together(sequence, untyped)
    else yield* inTurn(sequence, untyped)
  }
}

/** An object as a sequence, where it is one; an iterator that cannot be iterated over by itself counts as asynchronous. */
function sequenceOf(input: object): Iterable<unknown> | AsyncIterable<unknown> | undefined {
  if (ArrayBuffer.isView(input)) return [input]
  // A stream of Node has both; its chunks come by the asynchronous one.
  if (Symbol.asyncIterator in input) return input as AsyncIterable<unknown>
  if (Symbol.iterator in input) return input as Iterable<unknown>
  if (!("next" in input) || typeof input.next !== "function") return undefined
  const iterator = input as AsyncIterator<unknown>
  return {
    [Symbol.asyncIterator]: () => ({
      next: async () => iterator.next(),
      return: async () => (await iterator.return?.()) ?? { done: true, value: undefined },
    }),
  }
}

function* together(values: Iterable<unknown>, untyped: boolean): Generator<Batch, void, void> {
  let gathered: unknown[] = []
  let first = 0
  for (const value of values) {
    if (ArrayBuffer.isView(value)) throw notRecords(value)
    if (gathered.push(value) < RECORDS_AT_ONCE) continue
    yield new RecordsBatch(gathered, first, untyped)
    first += gathered.length
    gathered = []
  }
  if (gathered.length > 0) yield new RecordsBatch(gathered, first, untyped)
}

/** One at a time: the next may be long in coming. */
async function* inTurn(values: AsyncIterable<unknown>, untyped: boolean): AsyncGenerator<Batch, void, void> {
  let first = 0
  for await (const value of values) {
    // Chunks of a stream whose format nobody named.
    if (typeof value === "string" || ArrayBuffer.isView(value)) throw notRecords(value)
    yield new RecordsBatch([value], first++, untyped)
  }
}

async function* decoded(
  format: Format,
  chunks: Iterable<unknown> | AsyncIterable<unknown> | undefined,
  { exact }: RecordSchema,
  path: RecordPath,
): AsyncGenerator<Batch, void, void> {
  if (chunks === undefined) throw notBytes("an object")
  const decoder = format.decoder({ exact, maxRecordBytes: MAX_RECORD_BYTES })
  let met = false
  const meet = (batches: readonly Batch[]): readonly Batch[] => {
    if (!met && decoder.columns !== undefined) {
      met = true
      path.meetColumns(decoder.columns)
    }
    return batches
  }
  for await (const chunk of chunks) yield* meet(decoder.push(bytesOf(chunk)))
  yield* meet(decoder.end())
}

function bytesOf(chunk: unknown): Uint8Array {
  if (typeof chunk === "string") return Buffer.from(chunk)
  if (chunk instanceof Uint8Array) return chunk
  throw notBytes(shown(chunk))
}

/** A single object: one record, or a data frame. */
async function recordOrRows(
  schema: RecordSchema,
  input: object,
  { frame, untyped = false }: RecordsOptions,
  path: RecordPath,
): Promise<Iterable<unknown>> {
  if (frame === false || !isColumnFrame(input)) {
    if (frame !== true) return [input]
    throw new SpillwayError("CONFIG", "the data frame's columns are not lists of one length", {
      hint: "give { column: [ … ], … } with as many values in each",
    })
  }
  if (frame === undefined) {
    const outcome = await path.process(new RecordsBatch([input], 0, untyped), 0)
    if (!(outcome instanceof Rejected)) return [input]
  }
  return frameRows(input, schema) ?? [input]
}

function notRecords(value: unknown): SpillwayError {
  const what = ArrayBuffer.isView(value) ? "bytes" : shown(value)
  return new SpillwayError("CONFIG", `expected a record, got ${what}`, {
    hint: "for bytes or text name the format: validate(schema, stream, { format: csv() }); else give objects",
  })
}

function notBytes(what: string): SpillwayError {
  return new SpillwayError("CONFIG", `expected bytes or text, since a format is given, got ${what}`, {
    hint: "give a stream of bytes, or leave out format for records",
  })
}
