// node test/faults/kill-backfill.ts [N] [--seed S] [--only K] [--at-a-time 2]
//
// N times (default 10) a backfill of 24 months, or a worker that takes part in one, is killed at a random statement. Then a
// backfill goes on: all months must be right, none published twice, and nothing left over. In turn:
//   resume   the backfill is killed, `backfill --resume` goes on
//   worker   a worker is killed, the backfill that it helped goes on by itself
//   again    the backfill is killed, the same backfill and a worker go on
import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import type { Readable } from "node:stream"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { seededRandom } from "../../src/core/random.ts"
import { Command, environmentOf, loadedDatabase, pidOf, type Ended, type Place } from "./fan-out-process.ts"
import {
  CALLS,
  expectedGold,
  FOUND_GOLD,
  MODEL,
  monthsOf,
  monthsProject,
  PUBLICATIONS,
  type MonthsProject,
} from "./fan-out-project.ts"
import { KillServer } from "./kill-server.ts"

const CHILD = fileURLToPath(new URL("kill-backfill-child.ts", import.meta.url))
const MONTHS = monthsOf(24)
const BUILD_MS = 20
const BACKFILL = ["backfill", MODEL, "--concurrency", "2", "--json"]
const WORK = ["work", "--concurrency", "2"]
/** A step that no process reaches. */
const NEVER = 0
/** Exit code of --resume when there is nothing to resume. */
const NOT_FOUND = 4

const KINDS = ["resume", "worker", "again"] as const
type Kind = (typeof KINDS)[number]

/** Queries that give nothing when all is well. */
const LEFT_OVER: Readonly<Record<string, string>> = {
  "a partition that is not completed": `SELECT partition_key || ' ' || status AS line FROM ops.processed_partitions WHERE status <> 'completed'`,
  "a month that is not completed": `SELECT month_key || ' ' || status AS line FROM ops.processed_months WHERE status <> 'completed'`,
  "a partition of the backfill that is not done": `SELECT partition_key || ' ' || status AS line FROM ops.backfill_partitions WHERE status <> 'done'`,
  "a backfill that is not completed": `SELECT backfill_id || ' ' || status AS line FROM ops.backfills WHERE status <> 'completed'`,
  "a job": `SELECT singleton_key || ' ' || state AS line FROM ops_queue.job WHERE state IN ('created', 'retry', 'active')`,
  "a lease": `SELECT partition_key AS line FROM ops.leases WHERE holder IS NOT NULL`,
  "an open run": `SELECT run_id AS line FROM ops.runs WHERE status = 'running' OR holder IS NOT NULL`,
  "an open checkpoint": `SELECT run_id || ' ' || stage || ' ' || checkpoint_key AS line FROM ops.pipeline_checkpoint WHERE status = 'in_progress'`,
  "staged progress": `SELECT run_id || ' ' || partition_key AS line FROM ops_staging.progress`,
  "a staging table": `SELECT relname AS line FROM pg_class WHERE relnamespace = 'ops_staging'::regnamespace AND relkind = 'r'
                        AND relname NOT IN ('progress', 'dead_letters')`,
}

/** The process that is killed. */
class Victim {
  readonly child: ChildProcess
  /** The steps it took, where it was not killed. */
  readonly ended: Promise<number | undefined>

  constructor(place: Place, killAt: number, args: readonly string[]) {
    this.child = spawn(process.execPath, [CHILD, String(killAt), ...args], {
      cwd: place.project.directory,
      env: environmentOf(place),
      stdio: ["ignore", "ignore", "ignore", "pipe"],
    })
    this.ended = this.#follow()
  }

  async #follow(): Promise<number | undefined> {
    const exited = once(this.child, "exit")
    let steps: number | undefined
    for await (const line of createInterface(this.child.stdio[3] as Readable)) {
      if (line === "KILL") this.child.kill("SIGKILL")
      else steps = Number(line.split(" ")[1])
    }
    await exited
    return steps
  }
}

class Trial {
  readonly #place: Place
  readonly #faults: string[] = []

  constructor(place: Place) {
    this.#place = place
  }

  /** What is wrong after a kill at that step of the victim. */
  async play(kind: Kind, killAt: number): Promise<readonly string[]> {
    if (kind === "worker") await this.#killWorker(killAt)
    else await this.#killBackfill(kind, killAt)
    await this.#judge()
    return this.#faults
  }

  async #killWorker(killAt: number): Promise<void> {
    const victim = new Victim(this.#place, killAt, WORK)
    const backfill = new Command(this.#place, BACKFILL)
    try {
      const over = backfill.ended.then(() => victim.child.kill("SIGKILL"))
      await victim.ended
      await this.#outlive(victim)
      this.#requireDone(await backfill.ended)
      await over
    } finally {
      victim.child.kill("SIGKILL")
      await backfill.kill()
    }
  }

  async #killBackfill(kind: Kind, killAt: number): Promise<void> {
    const victim = new Victim(this.#place, killAt, BACKFILL)
    await victim.ended
    await this.#outlive(victim)
    const worker = kind === "again" ? new Command(this.#place, WORK) : undefined
    try {
      const args = kind === "resume" ? ["backfill", MODEL, "--resume", "--json"] : BACKFILL
      const first = await new Command(this.#place, args).ended
      const nothingBegun = kind === "resume" && first.code === NOT_FOUND && !(await this.#unfinished())
      this.#requireDone(nothingBegun ? await new Command(this.#place, BACKFILL).ended : first)
    } finally {
      await worker?.kill()
    }
  }

  /** As if the time had passed after which a claim that is not touched ends. */
  async #outlive({ child }: Victim): Promise<void> {
    if (!(await this.#there("ops_queue.job"))) return
    const held = (await this.#query(
      `SELECT partition_key, worker FROM ops.backfill_partitions WHERE status = 'active'`,
    )) as { partition_key: string; worker: string }[]
    const keys = held.filter(({ worker }) => pidOf(worker) === child.pid).map((row) => `partition:${row.partition_key}`)
    await this.#query(
      `UPDATE ops_queue.job SET heartbeat_on = heartbeat_on - interval '1 minute'
       WHERE state = 'active' AND singleton_key = ANY('{${keys.join(",")}}')`,
    )
  }

  async #unfinished(): Promise<boolean> {
    return (await this.#query(`SELECT FROM ops.backfills WHERE status = 'running'`)).length > 0
  }

  #requireDone({ code, stdout, stderr }: Ended): void {
    if (code !== 0) this.#faults.push(`the backfill that goes on ended with ${code}: ${stderr.slice(-2_000)} ${stdout}`)
  }

  async #judge(): Promise<void> {
    const gold = await this.#lines(FOUND_GOLD)
    if (gold.join("\n") !== expectedGold(MONTHS).join("\n"))
      this.#faults.push(`the table has ${gold.length} rows: ${gold.join(", ")}`)
    const published = await this.#query(PUBLICATIONS)
    const once = MONTHS.map((key) => ({ key, times: 1 }))
    if (JSON.stringify(published) !== JSON.stringify(once))
      this.#faults.push(`publications: ${JSON.stringify(published)}`)
    // Of two in hand each may have been begun once more, and none a third time.
    const calls = (await this.#query(CALLS)) as { key: string; times: number }[]
    const more = calls.filter(({ times }) => times > 1)
    if (calls.some(({ times }) => times < 1 || times > 2) || more.length > 2)
      this.#faults.push(`queries begun: ${calls.map(({ key, times }) => `${key} ${times}`).join(", ")}`)
    const months = await this.#lines(
      `SELECT month_key AS line FROM ops.processed_months WHERE pipeline_name = '${MODEL}'`,
    )
    if (months.sort().join() !== MONTHS.join()) this.#faults.push(`processed months: ${months.join(" ")}`)
    for (const [what, query] of Object.entries(LEFT_OVER)) {
      const found = await this.#lines(query)
      if (found.length > 0) this.#faults.push(`${what} is left, ${found.length} times: ${found[0]}`)
    }
  }

  async #there(table: string): Promise<boolean> {
    const [row] = await this.#query(`SELECT to_regclass('${table}') IS NOT NULL AS there`)
    return row?.["there"] === true
  }

  async #lines(sql: string): Promise<string[]> {
    return (await this.#query(sql)).map(({ line }) => String(line))
  }

  #query(sql: string): Promise<Record<string, unknown>[]> {
    return this.#place.server.query(sql, this.#place.database)
  }
}

/** Statements of a backfill that works alone, and of a worker while it helps one. */
async function undisturbed(server: KillServer, project: MonthsProject): Promise<Record<Kind, number>> {
  const database = await server.copy("loaded", false)
  const place = { server, project, database }
  const alone = await new Victim(place, NEVER, BACKFILL).ended
  await server.drop(database)
  if (alone === undefined) throw new Error("an undisturbed backfill did not end")
  const other = await server.copy("loaded", false)
  const helped = { server, project, database: other }
  const worker = new Victim(helped, NEVER, WORK)
  await new Command(helped, BACKFILL).ended
  worker.child.kill("SIGINT")
  const helping = await worker.ended
  await server.drop(other)
  if (helping === undefined) throw new Error("an undisturbed worker did not end")
  return { resume: alone, worker: helping, again: alone }
}

async function main(): Promise<boolean> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seed: { type: "string" },
      only: { type: "string" },
      "at-a-time": { type: "string", default: "2" },
    },
  })
  const trials = Number(positionals[0] ?? "10")
  if (!Number.isInteger(trials) || trials < 1) throw new Error(`N is not a whole number: ${positionals[0]}`)
  const seed = values.seed === undefined ? Math.floor(Math.random() * 1e6) : Number(values.seed)
  const { next } = seededRandom(seed)
  // As shares of the way, since the number of statements is not the same every time.
  const moments = Array.from({ length: trials }, (_, n) => ({ n: n + 1, kind: KINDS[n % 3] as Kind, share: next() }))
  const server = await KillServer.start()
  const project = await monthsProject(MONTHS)
  const passed: Record<Kind, number> = { resume: 0, worker: 0, again: 0 }
  const failed: Record<Kind, number> = { resume: 0, worker: 0, again: 0 }
  try {
    await loadedDatabase({ server, project, database: "loaded" }, { months: MONTHS, buildMs: BUILD_MS })
    const steps = await undisturbed(server, project)
    console.log(`seed ${seed}: ${trials} kills, of a backfill of ${steps.resume} and a worker of ${steps.worker} steps`)
    const todo = moments.filter(({ n }) => values.only === undefined || Number(values.only) === n)
    const one = async (): Promise<void> => {
      for (let moment = todo.shift(); moment !== undefined; moment = todo.shift()) {
        const { n, kind, share } = moment
        const killAt = 1 + Math.floor(share * steps[kind])
        const database = await server.copy("loaded", false)
        const faults = await new Trial({ server, project, database }).play(kind, killAt)
        await server.drop(database)
        ;(faults.length === 0 ? passed : failed)[kind]++
        if (faults.length > 0)
          console.log(`FAILED  ${trials} --seed ${seed} --only ${n}: ${kind}, step ${killAt}\n  ${faults.join("\n  ")}`)
      }
    }
    await Promise.all(Array.from({ length: Number(values["at-a-time"]) }, one))
  } finally {
    await project.remove()
    await server.remove()
  }
  let [allPassed, allFailed] = [0, 0]
  for (const kind of KINDS) {
    console.log(`${kind.padEnd(8)} ${passed[kind]} passed, ${failed[kind]} failed`)
    allPassed += passed[kind]
    allFailed += failed[kind]
  }
  console.log(`${allPassed} passed, ${allFailed} failed`)
  return allFailed === 0
}

process.exitCode = (await main()) ? 0 : 1
