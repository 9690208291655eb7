// node bench/validate-zod.ts IN.csv GOOD.csv BAD.jsonl
// The rules of orders.ts as one writes them with csv-parse and zod: good rows as CSV, the others as JSON lines. Prints { good, bad }.
import { once } from "node:events"
import { createReadStream, createWriteStream, type WriteStream } from "node:fs"
import { finished } from "node:stream/promises"
import { parse } from "csv-parse"
import { z } from "zod"

const [input = "", goodPath = "", badPath = ""] = process.argv.slice(2)
const Order = z.object({
  order_id: z.string().min(1),
  customer_id: z.coerce.number().int().min(1),
  created_at: z.iso.datetime(),
  status: z.enum(["new", "paid", "shipped", "returned"]),
  product: z.string(),
  quantity: z.coerce.number().int().min(1).max(1000),
  price: z.string().regex(/^\d+(\.\d+)?$/),
  country: z.string().length(2),
  email: z.string(),
  note: z.string().optional(),
})

const good = createWriteStream(goodPath)
const bad = createWriteStream(badPath)
const counts = { good: 0, bad: 0 }
const write = async (stream: WriteStream, text: string): Promise<void> => {
  if (!stream.write(text)) await once(stream, "drain")
}
const field = (value: string | number | undefined): string => {
  const text = value === undefined ? "" : String(value)
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
const letter = (code: string, message: string, record: unknown, line: number): string =>
  `${JSON.stringify({ ts: new Date().toISOString(), error_code: code, error_msg: message, record, line })}\n`

const parser = parse({ columns: true, info: true, skip_records_with_error: true })
parser.on("skip", (error: Error & { lines?: number; record?: unknown }) => {
  counts.bad++
  bad.write(letter("DECODE", error.message, error.record ?? null, error.lines ?? 0))
})
createReadStream(input).pipe(parser)
let columns: readonly string[] | undefined
for await (const { record, info } of parser as AsyncIterable<{
  record: Record<string, string>
  info: { lines: number }
}>) {
  if (columns === undefined) {
    columns = Object.keys(record)
    await write(good, `${columns.join(",")}\n`)
  }
  const result = Order.safeParse(record)
  if (result.success) {
    counts.good++
    const row = result.data as Record<string, string | number | undefined>
    await write(good, `${columns.map((name) => field(row[name])).join(",")}\n`)
  } else {
    counts.bad++
    const message = result.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; ")
    await write(bad, letter("VALIDATION", message, record, info.lines))
  }
}
good.end()
bad.end()
await Promise.all([finished(good), finished(bad)])
console.log(JSON.stringify(counts))
