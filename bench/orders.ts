import { once } from "node:events"
import { createWriteStream } from "node:fs"
import { decimal, timestamp } from "spillway/schema"
import { z } from "zod"
import { seededRandom } from "../src/core/random.ts"

/** The schema of the generated orders. */
export const Order = z.object({
  order_id: z.string().min(1),
  customer_id: z.int().min(1),
  created_at: timestamp({ zone: "in text" }),
  status: z.enum(["new", "paid", "shipped", "returned"]),
  product: z.string(),
  quantity: z.int().min(1).max(1000),
  price: decimal({ min: 0 }),
  country: z.string().length(2),
  email: z.string(),
  note: z.string().optional(),
})

const STATUSES = ["new", "paid", "shipped", "returned"]
const COUNTRIES = ["DE", "FR", "GB", "US", "NL", "SE"]
const HEADER = "order_id,customer_id,created_at,status,product,quantity,price,country,email,note\n"

/** Rows written at a time. */
const CHUNK = 5_000

export interface OrdersFile {
  readonly rows: number
  readonly good: number
  readonly bytes: number
}

export interface OrdersOptions {
  /** The same seed gives the same orders. Default 1. */
  readonly seed?: number
  /** Of all rows, from 0 to 1. Default 0.02. */
  readonly badShare?: number
  /** Hardly a bad value comes twice. Default: five bad values, over and over. */
  readonly distinct?: boolean
}

/**
 * Orders of about 100 bytes, as CSV with a header: one in ten with a quoted note, one in a hundred of them all with a newline in
 * it, 2 % bad in five ways. `good` are the good rows of `all`, as COPY would take them.
 */
export function* orderLines(
  rows: number,
  { seed = 1, badShare = 0.02, distinct = false }: OrdersOptions = {},
): Generator<{ readonly all: string; readonly good: string; readonly goodRows: number }, void, void> {
  const random = seededRandom(seed)
  yield { all: HEADER, good: HEADER, goodRows: 0 }
  for (let from = 0; from < rows; from += CHUNK) {
    let all = ""
    let good = ""
    let goodRows = 0
    for (let n = from; n < Math.min(rows, from + CHUNK); n++) {
      const row = order(n, random.next)
      const bad = random.next() < badShare
      all += bad ? broken(row, n % 5, distinct ? String(n) : "") : row.join(",") + "\n"
      if (bad) continue
      goodRows++
      good += row.join(",") + "\n"
    }
    yield { all, good, goodRows }
  }
}

/** Writes `orderLines` to a file, and to `goodPath` the good ones alone. */
export async function writeOrders(
  path: string,
  rows: number,
  options: OrdersOptions & { readonly goodPath?: string } = {},
): Promise<OrdersFile> {
  const all = createWriteStream(path)
  const goodOnly = options.goodPath === undefined ? undefined : createWriteStream(options.goodPath)
  let good = 0
  let bytes = 0
  const write = async (stream: typeof all | undefined, text: string): Promise<void> => {
    if (stream === undefined || stream.write(text)) return
    await once(stream, "drain")
  }
  for (const lines of orderLines(rows, options)) {
    good += lines.goodRows
    bytes += Buffer.byteLength(lines.all)
    await write(all, lines.all)
    await write(goodOnly, lines.good)
  }
  for (const stream of [all, goodOnly]) if (stream) await new Promise<void>((done) => stream.end(() => done()))
  return { rows, good, bytes: bytes - HEADER.length }
}

function order(n: number, next: () => number): string[] {
  const pick = (from: readonly string[]): string => from[Math.floor(next() * from.length)] as string
  const day = String(1 + Math.floor(next() * 28)).padStart(2, "0")
  const month = String(1 + Math.floor(next() * 12)).padStart(2, "0")
  const time = `${String(Math.floor(next() * 24)).padStart(2, "0")}:${String(Math.floor(next() * 60)).padStart(2, "0")}:00`
  const kind = next()
  const note = kind < 0.01 ? '"two\nlines"' : kind < 0.1 ? '"said ""yes"", twice"' : ""
  return [
    `ord-${String(n).padStart(9, "0")}`,
    String(1 + Math.floor(next() * 90_000)),
    `2026-${month}-${day}T${time}Z`,
    pick(STATUSES),
    `product ${Math.floor(next() * 500)}`,
    String(1 + Math.floor(next() * 20)),
    (next() * 500).toFixed(2),
    pick(COUNTRIES),
    `user${Math.floor(next() * 90_000)}@example.com`,
    note,
  ]
}

/** `mark` makes a bad value one of its own. */
function broken(row: readonly string[], way: number, mark: string): string {
  const copy = [...row]
  if (way === 0) copy[5] = `a few${mark}`
  else if (way === 1) copy[2] = `${mark.padStart(4, "0").slice(-4).replace(/^0+$/, "2026")}-02-30T00:00:00Z`
  else if (way === 2) copy[3] = `lost${mark}`
  else if (way === 3) copy[6] = `-1${mark}.00`
  else copy.push(`surplus${mark}`)
  return copy.join(",") + "\n"
}
