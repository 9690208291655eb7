// npm run bench [-- --rows 1000000 --runs 5]
// Every figure and its counterpart are measured in this one run, in turn; the medians and their ratio are printed.
import { createReadStream } from "node:fs"
import { copyFile, mkdir } from "node:fs/promises"
import { join } from "node:path"
import { pipeline as pipe } from "node:stream/promises"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import pg from "pg"
import { from as copyFrom } from "pg-copy-streams"
import { runCommand, type Measured } from "./command.ts"
import { writeOrders } from "./orders.ts"
import { benchServer, median, seconds, spread } from "./server.ts"

const { values } = parseArgs({
  options: { rows: { type: "string", default: "1000000" }, runs: { type: "string", default: "5" } },
})
const rows = Number(values.rows)
const runs = Number(values.runs)
const ORDERS = fileURLToPath(new URL("./orders-project.ts", import.meta.url))
const RETAIL = fileURLToPath(new URL("../examples/retail", import.meta.url))

const server = await benchServer()
const data = join(server.directory, "orders")
const good = join(server.directory, "good.csv")
await mkdir(data)
const made = await writeOrders(join(data, "a.csv"), rows, { goodPath: good })
try {
  console.log(
    `${made.rows} orders, ${(made.bytes / 1e6).toFixed(0)} MB, ${made.good} good; median of ${runs}; fsync on, logged target, gate on\n`,
  )

  const copies: number[] = []
  const first: Measured[] = []
  const again: Measured[] = []
  for (let n = 0; n < runs; n++) {
    const db = await server.fresh()
    first.push(await load(db.url, data))
    copies.push(await rawCopy(db.url, good))
    again.push(await loadAgain(db.url, data))
    await db.drop()
  }
  const copy = median(copies)
  const load1 = median(first.map((m) => m.wallMs))
  const load2 = median(again.map((m) => m.wallMs))
  console.log(`raw COPY of the good rows into the same keyed table   ${seconds(copy)}   (${spread(copies)})`)
  tell("first load, the whole command", first)
  console.log(
    `  speed against raw COPY: ${(copy / load1).toFixed(2)} (at least 0.50); without starting Node: ${(copy / median(first.map((m) => m.report.durationMs))).toFixed(2)}`,
  )
  tell("the same rows from another file", again)
  console.log(
    `  time against the first load: ${(load2 / load1).toFixed(2)} (at most 1.30); tuples written: ${again[0]?.report.counts.inserted}`,
  )

  const retail: Measured[] = []
  const nothing: Measured[] = []
  for (let n = 0; n < runs; n++) {
    const db = await server.fresh()
    retail.push(await runCommand(RETAIL, { DATABASE_URL: db.url }))
    nothing.push(await runCommand(RETAIL, { DATABASE_URL: db.url }))
    await db.drop()
  }
  tell(`retail, ${retail[0]?.report.partitions.published} files, ${retail[0]?.report.counts.read} records`, retail)
  tell("retail again, nothing to do", nothing)
} finally {
  await server.stop()
}

function tell(what: string, measured: readonly Measured[]): void {
  const times = measured.map((m) => m.wallMs)
  const peaks = measured.map((m) => m.peakBytes ?? 0)
  console.log(
    `${what.padEnd(53)} ${seconds(median(times))}   (${spread(times)}), peak ${(Math.max(...peaks) / 2 ** 20).toFixed(0)} MiB`,
  )
}

async function load(url: string, data: string): Promise<Measured> {
  const measured = await runCommand(ORDERS, { DATABASE_URL: url, BENCH_DATA: data })
  const { counts } = measured.report
  if (counts.inserted !== made.good || counts.deadLettered !== made.rows - made.good)
    throw new Error(`loaded ${JSON.stringify(counts)}`)
  return measured
}

/** The second file has the same rows under another name; not one tuple of the table may change. */
async function loadAgain(url: string, data: string): Promise<Measured> {
  const other = join(server.directory, "other")
  await mkdir(other, { recursive: true })
  await copyFile(join(data, "a.csv"), join(other, "b.csv"))
  const before = await digest(url)
  const measured = await runCommand(ORDERS, { DATABASE_URL: url, BENCH_DATA: other })
  const { counts } = measured.report
  if (counts.unchanged !== made.good || (await digest(url)) !== before)
    throw new Error(`rows were written: ${JSON.stringify(counts)}`)
  return measured
}

async function digest(url: string): Promise<string> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const { rows: found } = await client.query<{ digest: string }>(
    "SELECT md5(string_agg(ctid::text || xmin::text, ',' ORDER BY ctid)) AS digest FROM shop.orders",
  )
  await client.end()
  return found[0]?.digest ?? ""
}

/** What one would do by hand: COPY of rows known to be good into a table like the one that Spillway made, key included. */
async function rawCopy(url: string, path: string): Promise<number> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  await client.query(
    `CREATE TABLE shop.by_hand (LIKE shop.orders);
     ALTER TABLE shop.by_hand ALTER _source DROP NOT NULL, ALTER _position DROP NOT NULL, ALTER _seq DROP NOT NULL, ALTER _run_id DROP NOT NULL,
       ADD PRIMARY KEY (order_id)`,
  )
  await client.query("CHECKPOINT")
  const start = performance.now()
  const columns = "order_id, customer_id, created_at, status, product, quantity, price, country, email, note"
  await pipe(
    createReadStream(path, { highWaterMark: 1 << 20 }),
    client.query(copyFrom(`COPY shop.by_hand (${columns}) FROM STDIN (FORMAT csv, HEADER)`)),
  )
  const took = performance.now() - start
  await client.query("DROP TABLE shop.by_hand")
  await client.end()
  return took
}
