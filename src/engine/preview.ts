import { systemPorts, type Ports } from "../core/ports.ts"
import { SpillwayError } from "../core/errors.ts"
import { DecodeFault, type Fault, type Place, type RecordObject } from "../core/records.ts"
import type { Pipeline } from "./definition.ts"
import { Expanded, FILTERED, recordPath, Rejected, type Outcome } from "./pipeline/record-path.ts"

/** One record beside itself at every step. A step that was not reached is undefined. */
export interface PreviewRecord {
  readonly partition: string
  readonly place: Place
  /** As it stands in the source; bytes that are not UTF-8 are shown as U+FFFD. */
  readonly raw: string
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
  signal?: AbortSignal
}

/** Takes the first records through every step. Reads the source; opens no database and writes nothing. */
export async function previewPipeline(pipeline: Pipeline, options: PreviewOptions): Promise<PreviewRecord[]> {
  const context = {
    ports: options.ports ?? systemPorts,
    directory: options.directory,
    signal: options.signal ?? new AbortController().signal,
    exact: pipeline.schema.exact,
    maxRecordBytes: pipeline.maxRecordBytes,
  }
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
        const decoded = batch.record(i)
        const outcome = await path.process(batch, i)
        const added = path.newValues()
        shown.push({
          partition: partition.key,
          place: batch.place(i),
          raw: new TextDecoder().decode(batch.raw(i)),
          decoded: decoded instanceof DecodeFault ? undefined : decoded,
          prepared:
            decoded instanceof DecodeFault || pipeline.prepare === undefined
              ? undefined
              : prepared(pipeline.prepare, batch.record(i)),
          output: rowsOf(outcome).map((row) => (added === undefined ? row : { ...row, ...added })),
          filtered: outcome === FILTERED,
          faults: outcome instanceof Rejected ? outcome.faults : [],
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
function prepared(prepare: NonNullable<Pipeline["prepare"]>, record: RecordObject | DecodeFault): unknown {
  if (record instanceof DecodeFault) return undefined
  try {
    return prepare(record)
  } catch {
    return undefined
  }
}
