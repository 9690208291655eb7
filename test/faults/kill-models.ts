// node test/faults/kill-models.ts [N] [--seed S] [--only K]
//
// Kills a run of a project (a pipeline, two models by month, two stages) at every failpoint and at N random moments, lets an
// ordinary run follow, and looks whether all months are right, none is there twice, and nothing is left over.
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import pg from "pg"
import { seededRandom } from "../../src/core/random.ts"
import { partitionsOf, run } from "../../src/index.ts"
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
import { killsOf, placeOf } from "./kill-moments.ts"
import type { KillServer } from "./kill-server.ts"
import { LEFT_OVER, whatIsLeft } from "./left-over.ts"
import { SteppingProcess } from "./stepping-process.ts"
import type { KillAt } from "./stepping.ts"
import { killTest, trialArguments, type Outcome } from "./trials.ts"

const CHILD = fileURLToPath(new URL("kill-models-child.ts", import.meta.url))
const DONE = "END completed completed completed completed"

/** Empty tables, or those of an earlier run with files that changed since. */
const SCENARIOS = ["first run", "changed files"] as const
type Scenario = (typeof SCENARIOS)[number]

/** Queries that give nothing when all is well. */
const UNFINISHED: Readonly<Record<string, string>> = {
  ...LEFT_OVER,
  "a partition is in progress": `SELECT pipeline_name || ' ' || partition_key AS line FROM ops.processed_partitions WHERE status <> 'completed'`,
  "a month is in progress": `SELECT pipeline_name || ' ' || month_key AS line FROM ops.processed_months WHERE status <> 'completed'`,
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
    faults.push(...(await whatIsLeft(UNFINISHED, lines)))
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
    await this.#server.create("first_run")
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
  kill(scenario: Scenario, killAt: KillAt): Promise<Outcome> {
    return this.#server.withCopy(scenario === "first run" ? "first_run" : "changed_files", async (name) => {
      const trail = await this.#run(scenario, name, killAt)
      const faults: string[] = []
      const options = { database: this.#server.urlOf(name), directory: this.#folder(scenario) }
      for (const runnable of killProject().pipelines) {
        const report = await run(runnable, options)
        if (report.status !== "completed")
          faults.push(`the next run of ${runnable.name} ended ${report.status}: ${report.error?.message}`)
      }
      faults.push(...(await faultsOf(options.database, this.salesOf(scenario))))
      return { last: trail.at(-1) ?? "", faults }
    })
  }

  #run(scenario: Scenario, name: string, killAt: KillAt | undefined): Promise<string[]> {
    const orders: ModelOrders = { url: this.#server.urlOf(name), directory: this.#folder(scenario), killAt }
    return new SteppingProcess<ModelOrders>(CHILD, { cache: this.#server.cache }).follow(orders)
  }

  #folder(scenario: Scenario): string {
    return join(this.#server.directory, scenario.replace(" ", "-"))
  }
}

const args = trialArguments(20, {})
await killTest(args, async (server, trials) => {
  const bench = new Bench(server, args.seed)
  const trails = await bench.prepare()
  const random = seededRandom(args.seed)
  const kills = killsOf(trails, FAILPOINTS, { count: args.count, random }).map((kill) => ({
    ...kill,
    about: `${kill.run}, ${placeOf(kill.killAt)}`,
  }))
  const steps = SCENARIOS.map((name) => trails[name].length)
  console.log(`seed ${args.seed}: ${kills.length} kills, of runs of ${steps.join(" and ")} steps`)
  await trials.play(kills, (kill) => bench.kill(kill.run, kill.killAt))
})
