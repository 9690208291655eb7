// What the killed replays work on: orders of three files, a fifth of them broken in one of two ways, and a model by month.
import { mkdir, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { z } from "zod"
import { mergePatch } from "../../src/dead-letters/patch.ts"
import { csv, files, model, month, pipeline, table, type Model, type Pipeline } from "../../src/index.ts"
import type { ReplaySelection } from "../../src/engine/replay/replay.ts"

const FILES = 3
const ROWS = 300

interface Order {
  readonly file: string
  readonly line: number
  readonly id: number
  readonly name: string
  readonly price: string
  readonly day: string
}

/** What is written, by a rule of numbers alone: every fifth price is negative, every eleventh name too long. */
export const ORDERS: readonly Order[] = Array.from({ length: FILES * ROWS }, (_, n) => ({
  file: `in/${Math.floor(n / ROWS)}.csv`,
  line: (n % ROWS) + 2,
  id: n,
  name: n % 11 === 10 ? "much too long" : `n${n % 7}`,
  price: n % 5 === 4 ? `-${n}.25` : `${n}.75`,
  day: `2026-0${1 + (n % 6)}-15`,
}))

export const PATCHED_PRICE = "1.50"

export async function writeOrders(directory: string): Promise<void> {
  await mkdir(join(directory, "in"), { recursive: true })
  for (const [file, orders] of Map.groupBy(ORDERS, (order) => order.file)) {
    const lines = orders.map(({ id, name, price, day }) => `${id},${name},${price},${day}\n`)
    await writeFile(join(directory, file), `id,name,price,day\n${lines.join("")}`)
  }
}

export type Mode = "upsert" | "append"

export const killOrders = (mode: Mode): Pipeline =>
  pipeline({
    name: "orders",
    source: files("in/*.csv", { format: csv() }),
    schema: z.object({ id: z.int(), name: z.string().max(8), price: z.number().min(0), day: z.iso.date() }),
    sink: mode === "append" ? table("shop.orders", { mode }) : table("shop.orders", { key: ["id"] }),
  })

export const monthly = (): Model =>
  model({
    name: "monthly",
    from: "shop.orders",
    partition: month("day"),
    sql: `SELECT \${partition.key} AS month_key, count(*) AS orders FROM shop.orders
          WHERE day >= \${partition.start} AND day < \${partition.end}`,
    sink: table("shop.monthly", { key: ["month_key"] }),
  })

/** Batches of a hundred, so that there are several: what a watched share of failures has. */
export const replayOf = (database: string, directory: string) =>
  ({
    database,
    directory,
    patch: mergePatch({ price: PATCHED_PRICE }),
    requestedBy: "the test",
    abortAbove: 1,
  }) satisfies ReplaySelection & { requestedBy: string; abortAbove: number }
