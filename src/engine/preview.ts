import { systemPorts, type Ports } from "../core/ports.ts"
import { SpillwayError } from "../core/errors.ts"
import { DecodeFault, type Fault, type Place, type RecordObject } from "../core/records.ts"
import { withoutSecrets, type SecretFields } from "../core/secret-fields.ts"
import { keysOf } from "../dead-letters/described-letter.ts"
import {
  hiddenFields,
  hidesAnything,
  masked,
  maskedMessage,
  masking,
  withSecretFields,
  type Masking,
} from "../dead-letters/masking.ts"
import { secretFields, type Pipeline } from "./definition.ts"
import { sourceContext } from "./source-context.ts"
import { Expanded, FILTERED, recordPath, Rejected, type Outcome } from "./pipeline/record-path.ts"

/** One record beside itself at every step. A step that was not reached is undefined. */
export interface PreviewRecord {
  readonly partition: string
  readonly place: Place
  /** As it stands in the source; bytes that are not UTF-8 are shown as U+FFFD. Undefined where secret fields may stand in it. */
  readonly raw: string | undefined
  readonly decoded: unknown
  readonly prepared: unknown
  /** The rows it becomes; empty when it is filtered or set aside. */
  readonly output: readonly RecordObject[]
  readonly filtered: boolean
  readonly faults: readonly Fault[]
}

export interface PreviewOptions {
  directory: string
  ports?: Ports
  /** Records to show. */
  limit: number
  /** Only this partition; default: the first ones. */
  partition?: string | undefined
  /** Which fields are shown as `***`. Default: those that are secret by their name, the schema or the pipeline. */
  masking?: Masking | undefined
  signal?: AbortSignal
}

/** Takes the first records through every step. Reads the source; opens no database and writes nothing. */
export async function previewPipeline(pipeline: Pipeline, options: PreviewOptions): Promise<PreviewRecord[]> {
  const { directory, ports = systemPorts, signal = new AbortController().signal } = options
  const rule = withSecretFields(options.masking ?? masking(), secretFields(pipeline))
  const secrets = hiddenFields(rule)
  const context = sourceContext(pipeline, { ports, directory, signal })
  const listed = await pipeline.source.list(context, new Map())
  const partitions =
    options.partition === undefined ? listed : listed.filter((partition) => partition.key === options.partition)
  if (options.partition !== undefined && partitions.length === 0)
    throw new SpillwayError("CONFIG", `the source has no partition ${JSON.stringify(options.partition)}`, {
      hint:
        listed.length === 0
          ? "it has none at all"
          : `it has ${listed.length}, such as ${JSON.stringify(listed[0]?.key)}`,
      context: { notFound: true },
    })
  const shown: PreviewRecord[] = []
  for (const partition of partitions) {
    if (shown.length >= options.limit) break
    const path = recordPath(pipeline, partition.key, () => undefined)
    const reader = pipeline.source.read(partition, undefined, context)
    for await (const batch of reader) {
      path.meetColumns(reader.columns)
      for (let i = 0; i < batch.length && shown.length < options.limit; i++) {
        const read = batch.record(i)
        const decoded = read instanceof DecodeFault ? undefined : read
        const outcome = await path.process(batch, i)
        const added = path.newValues()
        const output = rowsOf(outcome).map((row) => (added === undefined ? row : { ...row, ...added }))
        const faults = outcome instanceof Rejected ? outcome.faults : []
        const hidden = secrets.size > 0 || hidesAnything(decoded, rule)
        shown.push({
          partition: partition.key,
          place: batch.place(i),
          raw: hidden ? undefined : new TextDecoder().decode(batch.raw(i)),
          decoded: masked(decoded, rule),
          prepared: decoded && masked(prepared(pipeline.prepare, batch.record(i)), rule),
          output: output.map((row) => masked(row, rule) as RecordObject),
          filtered: outcome === FILTERED,
          faults: faults.map((fault) => shownFault(fault, decoded, secrets, rule)),
        })
      }
      if (shown.length >= options.limit) break
    }
  }
  return shown
}

function rowsOf(outcome: Outcome): readonly RecordObject[] {
  if (outcome === FILTERED || outcome instanceof Rejected) return []
  return outcome instanceof Expanded ? outcome.records : [outcome]
}

/** The record after `prepare`; one that throws is among the faults already. */
function prepared(prepare: Pipeline["prepare"], record: RecordObject | DecodeFault): unknown {
  if (prepare === undefined || record instanceof DecodeFault) return undefined
  try {
    return prepare(record)
  } catch {
    return undefined
  }
}

/** A fault of a record without what the record's hidden fields hold. */
function shownFault(fault: Fault, decoded: RecordObject | undefined, hidden: SecretFields, rule: Masking): Fault {
  const { message } = withoutSecrets(fault, decoded, hidden)
  return { ...fault, message: maskedMessage(message, keysOf(decoded, fault.path ?? ""), rule) }
}
