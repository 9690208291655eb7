// What the fault tests load: orders from memory or from a JSON file, and what must be in the database afterwards.
import { readFileSync } from "node:fs"
import { z } from "zod"
import { pipeline, table, type Pipeline, type TableMode } from "../../src/engine/definition.ts"
import { seededRandom } from "../../src/core/random.ts"
import { recordsSource, type RecordsByPartition } from "../../src/testing/index.ts"

export interface Order extends Record<string, unknown> {
  readonly amount: number
  readonly id: string
  readonly note: string | null
}

export type Orders = Record<string, readonly Order[]>

const BATCH_SIZE = 20

/** About one order in ten is refused by the schema; in `upsert` tables about every third id comes up again. */
export function ordersOf(seed: number, partitions: number, records: number, first = 1): Orders {
  const { next } = seededRandom(seed * 1_000 + first)
  const order = (): Order => ({
    amount: Math.floor(next() * 1_000) - (next() < 0.1 ? 1_000 : 0),
    id: `o${Math.floor(next() * partitions * records * 1.5)}`,
    note: next() < 0.2 ? null : `note ${Math.floor(next() * 50)}`,
  })
  return Object.fromEntries(
    Array.from({ length: partitions }, (_, p) => [
      `p${String(first + p).padStart(2, "0")}`,
      Array.from({ length: records }, order),
    ]),
  )
}

export interface OrdersPipeline {
  readonly name: string
  readonly mode: TableMode
  readonly orders: (() => RecordsByPartition) | { readonly file: string }
  readonly leaseMs?: number
}

/** A pipeline into `public.<name>`; each partition is published by itself. */
export function ordersPipeline({ name, mode, orders, leaseMs }: OrdersPipeline): Pipeline {
  const read = typeof orders === "function" ? orders : () => JSON.parse(readFileSync(orders.file, "utf8")) as Orders
  return pipeline({
    name,
    source: recordsSource(read, { batchSize: BATCH_SIZE }),
    schema: z.object({ id: z.string(), amount: z.int().min(0), note: z.string().nullable() }),
    sink: table(name, mode === "append" ? { mode } : { key: ["id"] }),
    ...(leaseMs === undefined ? {} : { leaseMs }),
  })
}
