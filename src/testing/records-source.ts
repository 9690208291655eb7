import { createHash } from "node:crypto"
import type { PartitionReader, Source } from "../core/contracts.ts"
import { canonicalJson } from "../core/json.ts"
import type { Batch, RecordObject } from "../core/records.ts"

/** Partitions by key, each with its records in order. */
export type RecordsByPartition = Record<string, readonly RecordObject[]>

/**
 * A source over objects in memory, for testing a pipeline without files. What `partitions()` gives is read anew at each run,
 * so a test may change it in between. `batchSize` defaults to 100 records.
 */
export function recordsSource(partitions: () => RecordsByPartition, options: { batchSize?: number } = {}): Source {
  const batchSize = options.batchSize ?? 100
  return {
    kind: "records",
    unit: "query",
    untyped: false,
    resumable: true,
    description: { source: "records" },
    list: () =>
      Promise.resolve(
        Object.entries(partitions()).map(([key, records]) => ({
          key,
          version: createHash("sha256").update(canonicalJson(records)).digest("hex"),
          bytes: undefined,
          stamp: null,
        })),
      ),
    read(partition, from, { signal }): PartitionReader {
      const records = partitions()[partition.key] ?? []
      const start = typeof from?.["after"] === "number" ? from["after"] : 0
      return {
        columns: undefined,
        async *[Symbol.asyncIterator]() {
          for (let at = start; at < records.length; at += batchSize) {
            signal.throwIfAborted()
            yield await Promise.resolve(batchOf(records.slice(at, at + batchSize), at))
          }
        },
      }
    },
  }
}

function batchOf(records: readonly RecordObject[], first: number): Batch {
  const raw = (i: number): Uint8Array => new TextEncoder().encode(canonicalJson(records[i]))
  return {
    length: records.length,
    position: { after: first + records.length },
    bytes: records.length,
    raw,
    record: (i) => structuredClone(records[i]) as RecordObject,
    ordinal: (i) => first + i + 1,
    place: (i) => ({ offset: first + i }),
  }
}
