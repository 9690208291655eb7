// npm run bench:validate [-- --rows 1000000 --runs 5 --piped 0]
// A file of orders into good rows and dead letters: `spillway validate`, DuckDB (2 threads) and csv-parse with zod, each a whole
// process, in turn in one run; medians and their ratios. `--piped 50000000`: so many rows through a pipe, for the memory.
import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import { chmod, mkdtemp, rm } from "node:fs/promises"
import { loadavg, tmpdir } from "node:os"
import { join } from "node:path"
import { pipeline } from "node:stream/promises"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { orderLines, writeOrders } from "./orders.ts"
import { runProcess, type MeasuredProcess } from "./processes.ts"
import { median, seconds, spread } from "./server.ts"

const { values } = parseArgs({
  options: {
    rows: { type: "string", default: "1000000" },
    runs: { type: "string", default: "5" },
    piped: { type: "string", default: "0" },
  },
})
const rows = Number(values.rows)
const runs = Number(values.runs)
const LIMIT_MIB = 200
const FLAT_FROM = 1_000_000
const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const SPILLWAY = here("../bin/spillway.js")
const SCHEMA = `${here("./orders.ts")}#Order`

interface Counts {
  readonly good: number
  readonly bad: number
}

const folder = await mkdtemp(join(tmpdir(), "spillway-bench-"))
const at = (name: string): string => join(folder, name)
try {
  await chmod(folder, 0o755)
  await compare()
  await shares()
  if (Number(values.piped) > 0) await piped(Number(values.piped))
} finally {
  await rm(folder, { recursive: true, force: true })
}

/** All three over the same file, in turn. */
async function compare(): Promise<void> {
  const made = await writeOrders(at("orders.csv"), rows)
  const expected: Counts = { good: made.good, bad: rows - made.good }
  console.log(
    `${rows} orders, ${(made.bytes / 1e6).toFixed(0)} MB, ${expected.bad} bad; median of ${runs}; load ${loadavg()[0]?.toFixed(1)}\n`,
  )
  const ours: MeasuredProcess[] = []
  const duck: MeasuredProcess[] = []
  const hand: MeasuredProcess[] = []
  for (let n = 0; n < runs; n++) {
    ours.push(await validate("orders.csv", expected))
    duck.push(await other("./validate-duckdb.ts", "duckdb", expected))
    if (n === 0) hand.push(await other("./validate-zod.ts", "zod", expected))
  }
  await expectSameRows("good.csv", "duckdb.csv")
  tell("spillway validate", ours)
  tell("DuckDB, 2 threads", duck)
  tell("csv-parse + zod", hand)
  console.log(`  speed against DuckDB: ${ratio(duck, ours)} (goal 1.00, at least 0.80)`)
  const byHand = median(hand.map(({ wallMs }) => wallMs)) / median(ours.map(({ wallMs }) => wallMs))
  console.log(`  speed against csv-parse + zod (one run): ${byHand.toFixed(2)} (at least 11.00)\n`)
}

/** What bad rows cost; in the last file hardly a bad value comes twice. */
async function shares(): Promise<void> {
  const files = [
    { what: "0 % bad", badShare: 0 },
    { what: "20 % bad", badShare: 0.2 },
    { what: "100 % bad", badShare: 1 },
    { what: "100 % bad, values all different", badShare: 1, distinct: true },
  ].map((file, n) => ({ ...file, name: `bad-${n}.csv`, good: 0, measured: [] as MeasuredProcess[] }))
  for (const file of files) file.good = (await writeOrders(at(file.name), rows, file)).good
  for (let n = 0; n < runs; n++)
    for (const { name, good, measured } of files) measured.push(await validate(name, { good, bad: rows - good }))
  const [none = [], ...bad] = files.map(({ measured }) => measured)
  for (const { what, measured } of files) tell(what, measured)
  for (const [n, goal] of ["at most 1.50", "at most 3.00", "no goal"].entries())
    console.log(`  time of ${files[n + 1]?.what} against none: ${ratio(bad[n] ?? [], none)} (${goal})`)
  console.log()
}

/** Rows through a pipe, so that no disk is filled: memory has to stay as it is. */
async function piped(most: number): Promise<void> {
  const peaks: number[] = []
  for (const count of [Math.min(rows, most), most]) {
    const args = ["validate", "--in-file", "-", "--format", "csv", "--schema", SCHEMA, "--report", "json"]
    const outputs = ["--good-out", "/dev/null", "--dead-letter", "/dev/null"]
    const run = await runProcess(SPILLWAY, [...args, ...outputs], { exits: [1], feed: lines(count) })
    const report = JSON.parse(run.stdout) as Counts & { readonly read: number }
    if (report.read !== count) throw new Error(`read ${report.read} of ${count} rows`)
    tell(`${count} rows through a pipe`, [run])
    peaks.push(run.peakBytes ?? Number.NaN)
  }
  const [few = Number.NaN, many = Number.NaN] = peaks
  console.log(`  memory against fewer rows: ${(many / few).toFixed(2)} (at most 1.10)`)
  // A short run does not reach the memory that a long one stays at.
  const hasGrown = rows >= FLAT_FROM && many > few * 1.1
  if (hasGrown || many > LIMIT_MIB * 2 ** 20) process.exitCode = 1
}

function* lines(count: number): Generator<string, void, void> {
  for (const { all } of orderLines(count)) yield all
}

async function validate(input: string, expected: Counts): Promise<MeasuredProcess> {
  const args = ["validate", "--in-file", at(input), "--schema", SCHEMA, "--report", "json"]
  const outputs = ["--good-out", at("good.csv"), "--dead-letter", at("bad.jsonl")]
  const run = await runProcess(SPILLWAY, [...args, ...outputs], { exits: [0, 1] })
  return checked("spillway", run, expected)
}

async function other(program: string, name: string, expected: Counts): Promise<MeasuredProcess> {
  const run = await runProcess(process.execPath, [
    here(program),
    at("orders.csv"),
    at(`${name}.csv`),
    at(`${name}.jsonl`),
  ])
  return checked(name, run, expected)
}

function checked(name: string, run: MeasuredProcess, expected: Counts): MeasuredProcess {
  const { good, bad } = JSON.parse(run.stdout) as Counts
  if (good !== expected.good || bad !== expected.bad)
    throw new Error(`${name}: ${good} good and ${bad} bad, expected ${expected.good} and ${expected.bad}`)
  return run
}

async function expectSameRows(one: string, two: string): Promise<void> {
  if ((await digest(at(one))) !== (await digest(at(two)))) throw new Error(`${one} and ${two} hold other rows`)
}

async function digest(path: string): Promise<string> {
  const hash = createHash("sha256")
  await pipeline(createReadStream(path), hash)
  return hash.digest("hex")
}

function tell(what: string, measured: readonly MeasuredProcess[]): void {
  const times = measured.map(({ wallMs }) => wallMs)
  const peak = Math.max(...measured.map(({ peakBytes }) => peakBytes ?? 0)) / 2 ** 20
  console.log(`${what.padEnd(32)} ${seconds(median(times))}   (${spread(times)}), peak ${peak.toFixed(0)} MiB`)
}

/** The median of the ratios of pairs: what slows the machine down for a while slows both. */
function ratio(slower: readonly MeasuredProcess[], faster: readonly MeasuredProcess[]): string {
  return median(slower.map(({ wallMs }, n) => wallMs / (faster[n]?.wallMs ?? Number.NaN))).toFixed(2)
}
