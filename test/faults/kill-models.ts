// node test/faults/kill-models.ts [N] [--seed S] [--only K]
//
// Kills a run of a project (a pipeline, two models by month, two stages) at every failpoint and at N random moments, lets an
// ordinary run follow, and looks whether all months are right, none is there twice, and nothing is left over.
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import pg from "pg"
import { seededRandom } from "../../src/core/random.ts"
import { partitionsOf, run } from "../../src/index.ts"
import { migrations } from "../../src/ledger/migrations/index.ts"
import { migrate } from "../../src/postgres/migrate.ts"
import { database } from "../../src/postgres/session.ts"
import { FAILPOINTS } from "../../src/testing/index.ts"
import type { ModelOrders } from "./kill-models-child.ts"
import {
  changedSales,
  killProject,
  makeSales,
  monthsOf,
  tablesOf,
  writeSales,
  type SoldFiles,
} from "./kill-models-project.ts"
import { KillServer } from "./kill-server.ts"
import { trailOf } from "./stepping-process.ts"

const CHILD = fileURLToPath(new URL("kill-models-child.ts", import.meta.url))
const DONE = "END completed completed completed completed"

/** Empty tables, or those of an earlier run with files that changed since. */
const SCENARIOS = ["first run", "changed files"] as const
type Scenario = (typeof SCENARIOS)[number]

/** Queries that give nothing when all is well. */
const LEFT_OVER: Readonly<Record<string, string>> = {
  "a partition in progress": `SELECT pipeline_name || ' ' || partition_key AS line FROM ops.processed_partitions WHERE status <> 'completed'`,
  "a month in progress": `SELECT pipeline_name || ' ' || month_key AS line FROM ops.processed_months WHERE status <> 'completed'`,
  "an open checkpoint": `SELECT run_id || ' ' || stage || ' ' || checkpoint_key AS line FROM ops.pipeline_checkpoint WHERE status = 'in_progress'`,
  "a lease": `SELECT pipeline_name || ' ' || partition_key AS line FROM ops.leases WHERE holder IS NOT NULL`,
  "an open run": `SELECT pipeline_name || ' ' || run_id AS line FROM ops.runs WHERE status = 'running' OR holder IS NOT NULL`,
  "staged progress": `SELECT run_id || ' ' || partition_key AS line FROM ops_staging.progress`,
  "a staging table": `SELECT relname AS line FROM pg_class WHERE relnamespace = 'ops_staging'::regnamespace AND relkind = 'r'
                        AND relname NOT IN ('progress', 'dead_letters')`,
}

const TABLES: Readonly<Record<string, string>> = {
  "bronze.sales": "concat_ws(' ', sold, product, cents)",
  "silver.daily": "concat_ws(' ', sold, product, lines, cents)",
  "gold.monthly": "concat_ws(' ', month_key, lines, cents)",
  "gold.products": "concat_ws(' ', product, lines, cents)",
  "gold.total": "concat_ws(' ', name, lines, cents)",
}

/** What is wrong with a database whose last run came to its end. */
async function faultsOf(url: string, sales: SoldFiles): Promise<string[]> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  const lines = async (query: string): Promise<string[]> =>
    (await client.query<{ line: string }>(query)).rows.map(({ line }) => line).sort()
  try {
    const faults: string[] = []
    for (const [name, should] of Object.entries(tablesOf(sales))) {
      const is = await lines(`SELECT ${TABLES[name]} AS line FROM ${name}`)
      const more = subtract(is, should)
      const less = subtract(should, is)
      if (is.join("\n") !== should.join("\n"))
        faults.push(
          `${name}: ${is.length} rows for ${should.length}; ${more.length} too many: ${more[0]}; ${less.length} missing: ${less[0]}`,
        )
    }
    for (const [what, query] of Object.entries(LEFT_OVER)) {
      const found = await lines(query)
      if (found.length > 0) faults.push(`${what} is left, ${found.length} times: ${found[0]}`)
    }
    for (const name of ["daily", "monthly"]) {
      const months = await lines(`SELECT month_key AS line FROM ops.processed_months WHERE pipeline_name = '${name}'`)
      if (months.join() !== monthsOf(sales).join()) faults.push(`months of ${name}: ${months.join(" ")}`)
    }
    for (const runnable of killProject().pipelines)
      if (runnable.kind !== "pipeline")
        for (const { part, key, reason } of await partitionsOf(runnable, { database: url }))
          if (reason !== "unchanged") faults.push(`${part} ${key} is still to be done: ${reason}`)
    return faults
  } finally {
    await client.end()
  }
}

/** Lines of `from`, without as many equal ones as there are in `what`. */
function subtract(from: readonly string[], what: readonly string[]): string[] {
  const left = [...what]
  return from.filter((line) => {
    const at = left.indexOf(line)
    if (at >= 0) left.splice(at, 1)
    return at < 0
  })
}

class Bench {
  readonly #server: KillServer
  readonly #before: SoldFiles
  readonly #after: SoldFiles

  constructor(server: KillServer, seed: number) {
    this.#server = server
    this.#before = makeSales(seed)
    this.#after = changedSales(this.#before)
  }

  salesOf(scenario: Scenario): SoldFiles {
    return scenario === "first run" ? this.#before : this.#after
  }

  /** Databases to start from, and what an undisturbed run of each scenario does. */
  async prepare(): Promise<Record<Scenario, string[]>> {
    for (const scenario of SCENARIOS) await writeSales(this.#folder(scenario), this.salesOf(scenario))
    await this.#server.query("CREATE DATABASE first_run TEMPLATE template0")
    const session = await database(this.#server.urlOf("first_run")).connect()
    await migrate(session, migrations)
    await session.end()
    const first = await this.#undisturbed("first run", "first_run", "changed_files")
    const changed = await this.#undisturbed("changed files", "changed_files", "last")
    return { "first run": first, "changed files": changed }
  }

  async #undisturbed(scenario: Scenario, from: string, name: string): Promise<string[]> {
    await this.#server.query(`CREATE DATABASE ${name} TEMPLATE ${from}`)
    const trail = await this.#run(scenario, name, undefined)
    const faults = await faultsOf(this.#server.urlOf(name), this.salesOf(scenario))
    if (trail.at(-1) !== DONE || faults.length > 0)
      throw new Error(`the undisturbed ${scenario} is wrong: ${trail.at(-1)}\n  ${faults.join("\n  ")}`)
    return trail.slice(0, -1)
  }

  /** A kill, the ordinary run after it, and what is wrong then. */
  async kill(scenario: Scenario, killAt: number): Promise<{ last: string; faults: string[] }> {
    const name = await this.#server.copy(scenario === "first run" ? "first_run" : "changed_files", false)
    try {
      const trail = await this.#run(scenario, name, killAt)
      const faults: string[] = []
      const options = { database: this.#server.urlOf(name), directory: this.#folder(scenario) }
      for (const runnable of killProject().pipelines) {
        const report = await run(runnable, options)
        if (report.status !== "completed")
          faults.push(`the next run of ${runnable.name} ended ${report.status}: ${report.error?.message}`)
      }
      return {
        last: trail.at(-1) ?? "",
        faults: [...faults, ...(await faultsOf(options.database, this.salesOf(scenario)))],
      }
    } catch (error) {
      return { last: "", faults: [`the next run threw ${String(error)}`] }
    } finally {
      await this.#server.drop(name)
    }
  }

  #run(scenario: Scenario, name: string, killAt: number | undefined): Promise<string[]> {
    const orders: ModelOrders = { url: this.#server.urlOf(name), directory: this.#folder(scenario), killAt }
    return trailOf(CHILD, orders, join(this.#server.directory, "compiled"))
  }

  #folder(scenario: Scenario): string {
    return join(this.#server.directory, scenario.replace(" ", "-"))
  }
}

interface Moment {
  readonly kind: string
  readonly scenario: Scenario
  readonly killAt: number
}

/** Each failpoint once in each scenario, at one of its hits by chance; then anywhere. */
function momentsOf(trails: Record<Scenario, string[]>, random: number, seed: number): Moment[] {
  const { next } = seededRandom(seed)
  const one = <T>(among: readonly T[]): T => among[Math.floor(next() * among.length)] as T
  const moments: Moment[] = []
  for (const name of FAILPOINTS)
    for (const scenario of SCENARIOS) {
      const hits = trails[scenario].flatMap((line, i) => (line === `F ${name}` ? [i + 1] : []))
      if (hits.length === 0) throw new Error(`an undisturbed ${scenario} never comes to ${name}`)
      moments.push({ kind: name, scenario, killAt: one(hits) })
    }
  for (let n = 0; n < random; n++) {
    const scenario = SCENARIOS[n % SCENARIOS.length] as Scenario
    moments.push({ kind: "at random", scenario, killAt: 1 + Math.floor(next() * trails[scenario].length) })
  }
  return moments
}

async function main(): Promise<boolean> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { seed: { type: "string" }, only: { type: "string" } },
  })
  const random = Number(positionals[0] ?? "20")
  if (!Number.isInteger(random) || random < 0) throw new Error(`N is not a whole number: ${positionals[0]}`)
  const seed = values.seed === undefined ? Math.floor(Math.random() * 1e6) : Number(values.seed)
  const server = await KillServer.start()
  const passed = new Map<string, number>()
  const failed = new Map<string, number>()
  try {
    const bench = new Bench(server, seed)
    const trails = await bench.prepare()
    const moments = momentsOf(trails, random, seed)
    console.log(
      `seed ${seed}: ${moments.length} kills, of runs of ${SCENARIOS.map((name) => trails[name].length).join(" and ")} steps`,
    )
    for (const [i, { kind, scenario, killAt }] of moments.entries()) {
      if (values.only !== undefined && Number(values.only) !== i + 1) continue
      const { last, faults } = await bench.kill(scenario, killAt)
      const counts = faults.length === 0 ? passed : failed
      counts.set(kind, (counts.get(kind) ?? 0) + 1)
      if (faults.length > 0)
        console.log(
          `FAILED  --seed ${seed} --only ${i + 1}: ${kind}, ${scenario}, after "${last}"\n  ${faults.join("\n  ")}`,
        )
    }
  } finally {
    await server.remove()
  }
  const sum = (counts: ReadonlyMap<string, number>): number => [...counts.values()].reduce((a, b) => a + b, 0)
  for (const kind of [...FAILPOINTS, "at random"])
    console.log(`${kind.padEnd(22)} ${passed.get(kind) ?? 0} passed, ${failed.get(kind) ?? 0} failed`)
  console.log(`${sum(passed)} passed, ${sum(failed)} failed`)
  return sum(failed) === 0
}

process.exitCode = (await main()) ? 0 : 1
