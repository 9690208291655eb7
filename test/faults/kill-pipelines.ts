// The pipelines of the kill test, the same in the process that is killed and in the one that goes on.
import { z } from "zod"
import type { PartitionReader, Source } from "../../src/core/contracts.ts"
import { csvInBatches } from "../../src/formats/csv.ts"
import { files, passRate, pipeline, rowCount, table, type Pipeline } from "../../src/index.ts"
import { decimal, timestamp } from "../../src/schema/index.ts"
import type { Mode } from "./kill-data.ts"

/** Most records of a batch. */
export const BATCH_RECORDS = 100

/** As many bytes as make two files share a transaction, so that one group is published while the next is staged. */
const PRETENDED_BYTES = 1_400_000

const Order = z.object({
  order_id: z.string(),
  at: timestamp({ zone: "UTC" }),
  amount: decimal({ precision: 12, scale: 2, min: 0 }),
  quantity: z.int(),
  ip: z.string().optional(),
  note: z.string().optional(),
})

/** The files as a source; `taken` is told of every batch that the engine takes from it. */
function watched(taken: (file: string, records: number) => void): Source {
  const source = files("orders-*", { format: csvInBatches({ bytes: 1 << 14, records: BATCH_RECORDS }) })
  return {
    ...source,
    list: async (context, known) =>
      (await source.list(context, known)).map((partition) => ({ ...partition, bytes: PRETENDED_BYTES })),
    read(partition, from, context): PartitionReader {
      const reader = source.read(partition, from, context)
      return {
        get columns() {
          return reader.columns
        },
        prepare: () => reader.prepare?.(),
        async *[Symbol.asyncIterator]() {
          for await (const batch of reader) {
            taken(partition.key, batch.length)
            yield batch
          }
        },
      }
    },
  }
}

export const targetOf = (mode: Mode): string => (mode === "append" ? "shop.events" : "shop.orders")

export function killPipeline(mode: Mode, taken: (file: string, records: number) => void): Pipeline {
  const append = mode === "append"
  return pipeline({
    name: `kill_${mode}`,
    source: watched(taken),
    schema: Order,
    columns: { ip: { type: "inet" } },
    transform: append
      ? (record) => {
          if (record["note"] === "boom") throw new Error("boom")
          if (record["note"] === "skip") return undefined
          if (record["note"] !== "twice") return record
          return [record, { ...record, quantity: (record["quantity"] as number) * 2 }]
        }
      : (record) => {
          if (record["note"] === "boom") throw new Error("boom")
          return record["note"] === "skip" ? undefined : record
        },
    checks: [passRate(0.8), rowCount({ min: 1 }, { severity: "warn" })],
    sink: append ? table(targetOf(mode), { mode: "append" }) : table(targetOf(mode), { key: ["order_id"] }),
  })
}
