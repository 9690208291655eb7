import type { RecordSchema } from "../core/contracts.ts"
import { SpillwayError } from "../core/errors.ts"
import { DecodeFault, type Batch, type Fault, type Place, type RecordObject } from "../core/records.ts"
import { Expanded, FILTERED, recordPath, Rejected, type Outcome } from "../engine/pipeline/record-path.ts"
import { toRecordSchema, type AnySchema } from "../schema/adapter.ts"
import type { StandardSchema } from "../schema/standard.ts"
import { batchesOf, type RecordsOptions, type ValidateInput } from "./record-batches.ts"
import { stepsFor } from "./steps.ts"

/** What a schema makes of a valid record. */
export type OutputOf<S> = S extends StandardSchema ? NonNullable<S["~standard"]["types"]>["output"] : RecordObject

/** A record that is not valid. */
export interface BadRecord {
  /** From 0, in the order of the input. */
  readonly index: number
  /** The record as it came; undefined when it could not be decoded. */
  readonly record: RecordObject | undefined
  /** Line and byte offset, where the input has them. */
  readonly place: Place
  readonly faults: readonly [Fault, ...Fault[]]
  /** All faults in one sentence: field, expected, got. */
  readonly message: string
}

export type Judged<T> =
  { readonly ok: true; readonly index: number; readonly value: T } | ({ readonly ok: false } & BadRecord)

export interface ValidateResult<T> {
  readonly read: number
  readonly good: T[]
  readonly bad: BadRecord[]
}

/**
 * Judges records by the path that pipelines use. `collect` (default) gives all that are valid, typed by the schema, and all that are not
 * with every fault; `fail-fast` throws `VALIDATION` (or the first fault's own code) at the first that is not. Throws `CONFIG` for what is no schema or no
 * records, and what the input itself throws.
 */
export async function validate<const S extends AnySchema>(
  schema: S,
  input: ValidateInput,
  options: RecordsOptions & { readonly mode?: "collect" | "fail-fast" } = {},
): Promise<ValidateResult<OutputOf<S>>> {
  const good: OutputOf<S>[] = []
  const bad: BadRecord[] = []
  for await (const judged of judgedBatches(toRecordSchema(schema), input, options))
    for (const record of judged) {
      if (record.ok) good.push(record.value as OutputOf<S>)
      else if (options.mode === "fail-fast") throw refusal(record)
      else bad.push(record)
    }
  return { read: good.length + bad.length, good, bad }
}

/** The same one by one, in constant memory, for inputs without end. */
export async function* validateEach<const S extends AnySchema>(
  schema: S,
  input: ValidateInput,
  options: RecordsOptions = {},
): AsyncGenerator<Judged<OutputOf<S>>, void, void> {
  for await (const judged of judgedBatches(toRecordSchema(schema), input, options))
    yield* judged as Judged<OutputOf<S>>[]
}

function refusal({ index, place, faults, message }: BadRecord): SpillwayError {
  const where = place.line === undefined ? `record ${index}` : `line ${place.line}`
  return new SpillwayError(faults[0].code, message, {
    where,
    hint: 'mend the record, or collect what is not valid with mode: "collect"',
    context: { index, faults },
  })
}

async function* judgedBatches(
  schema: RecordSchema,
  input: ValidateInput,
  options: RecordsOptions,
): AsyncGenerator<Judged<RecordObject>[], void, void> {
  const untyped = options.untyped ?? options.format?.untyped ?? false
  const path = recordPath(stepsFor(schema, untyped), "input", () => undefined)
  let index = 0
  for await (const batch of batchesOf(schema, input, options, path)) {
    const judged: Judged<RecordObject>[] = []
    for (let i = 0; i < batch.length; i++) {
      const outcome = path.process(batch, i)
      judged.push(asJudged(batch, i, index++, outcome instanceof Promise ? await outcome : outcome))
    }
    yield judged
  }
}

function asJudged(batch: Batch, i: number, index: number, outcome: Outcome): Judged<RecordObject> {
  if (outcome === FILTERED || outcome instanceof Expanded)
    throw new SpillwayError("UNKNOWN", "a schema alone neither filters nor expands records", { hint: "report this" })
  if (!(outcome instanceof Rejected)) return { ok: true, index, value: outcome }
  const { faults } = outcome
  const record = batch.record(i)
  return {
    ok: false,
    index,
    record: record instanceof DecodeFault ? undefined : record,
    place: batch.place(i),
    faults,
    message: faults.map((fault) => fault.message).join("; "),
  }
}
