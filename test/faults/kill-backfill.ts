// node test/faults/kill-backfill.ts [N] [--seed S] [--only K] [--at-a-time 2]
//
// N times (default 10) a backfill of 24 months, or a worker that takes part in one, is killed at a random statement. Then a
// backfill goes on: all months must be right, none published twice, and nothing left over. In turn:
//   resume   the backfill is killed, `backfill --resume` goes on
//   worker   a worker is killed, the backfill that it helped goes on by itself
//   again    the backfill is killed, the same backfill and a worker go on
import { fileURLToPath } from "node:url"
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
import type { CommandOrders } from "./kill-backfill-child.ts"
import type { KillServer } from "./kill-server.ts"
import { LEFT_OVER, whatIsLeft } from "./left-over.ts"
import { SteppingProcess } from "./stepping-process.ts"
import type { KillAt } from "./stepping.ts"
import { killTest, trialArguments, wholeNumber } from "./trials.ts"

const CHILD = fileURLToPath(new URL("kill-backfill-child.ts", import.meta.url))
const MONTHS = monthsOf(24)
const BUILD_MS = 20
const BACKFILL = ["backfill", MODEL, "--concurrency", "2", "--json"]
const WORK = ["work", "--concurrency", "2"]
/** Exit code of --resume when there is nothing to resume. */
const NOT_FOUND = 4

const KINDS = ["resume", "worker", "again"] as const
type Kind = (typeof KINDS)[number]

/** Queries that give nothing when all is well. */
const UNFINISHED: Readonly<Record<string, string>> = {
  ...LEFT_OVER,
  "a partition is not completed": `SELECT partition_key || ' ' || status AS line FROM ops.processed_partitions WHERE status <> 'completed'`,
  "a month is not completed": `SELECT month_key || ' ' || status AS line FROM ops.processed_months WHERE status <> 'completed'`,
  "a partition of the backfill is not done": `SELECT partition_key || ' ' || status AS line FROM ops.backfill_partitions WHERE status <> 'done'`,
  "a backfill is not completed": `SELECT backfill_id || ' ' || status AS line FROM ops.backfills WHERE status <> 'completed'`,
  "a job is left": `SELECT singleton_key || ' ' || state AS line FROM ops_queue.job WHERE state IN ('created', 'retry', 'active')`,
}

type Victim = SteppingProcess<CommandOrders>

/** A process that waits to carry out a command. */
const victimIn = (place: Place): Victim =>
  new SteppingProcess(CHILD, {
    cache: place.server.cache,
    directory: place.project.directory,
    env: environmentOf(place),
  })

class Kill {
  readonly #place: Place
  readonly #faults: string[] = []

  constructor(place: Place) {
    this.#place = place
  }

  /** What is wrong after a kill at that step of the victim. */
  async play(kind: Kind, killAt: KillAt): Promise<readonly string[]> {
    if (kind === "worker") await this.#killWorker(killAt)
    else await this.#killBackfill(kind, killAt)
    await this.#judge()
    return this.#faults
  }

  async #killWorker(killAt: KillAt): Promise<void> {
    const victim = victimIn(this.#place)
    const backfill = new Command(this.#place, BACKFILL)
    try {
      const over = backfill.ended.then(() => victim.kill())
      await victim.follow({ args: WORK, killAt })
      await this.#outlive(victim)
      this.#requireDone(await backfill.ended)
      await over
    } finally {
      victim.kill()
      await backfill.kill()
    }
  }

  async #killBackfill(kind: Kind, killAt: KillAt): Promise<void> {
    const victim = victimIn(this.#place)
    await victim.follow({ args: BACKFILL, killAt })
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
  async #outlive({ pid }: Victim): Promise<void> {
    if (!(await this.#there("ops_queue.job"))) return
    const held = (await this.#query(
      `SELECT partition_key, worker FROM ops.backfill_partitions WHERE status = 'active'`,
    )) as { partition_key: string; worker: string }[]
    const keys = held.filter(({ worker }) => pidOf(worker) === pid).map((row) => `partition:${row.partition_key}`)
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
    this.#faults.push(...(await whatIsLeft(UNFINISHED, (query) => this.#lines(query))))
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
  const alone = await server.withCopy("loaded", (database) =>
    stepsOf(victimIn({ server, project, database }).follow({ args: BACKFILL, killAt: undefined })),
  )
  const helping = await server.withCopy("loaded", async (database) => {
    const place = { server, project, database }
    const worker = victimIn(place)
    const steps = stepsOf(worker.follow({ args: WORK, killAt: undefined }))
    await new Command(place, BACKFILL).ended
    worker.interrupt()
    return steps
  })
  return { resume: alone, worker: helping, again: alone }
}

async function stepsOf(following: Promise<readonly string[]>): Promise<number> {
  const trail = await following
  if (trail.at(-1)?.startsWith("END exit code") !== true)
    throw new Error(`an undisturbed command ended so: ${trail.at(-1)}`)
  return trail.length - 1
}

const args = trialArguments(10, { "at-a-time": "2" })
const atATime = wholeNumber("--at-a-time", args.further["at-a-time"])
await killTest(args, async (server, trials) => {
  const project = await monthsProject(MONTHS)
  try {
    await loadedDatabase({ server, project, database: "loaded" }, { months: MONTHS, buildMs: BUILD_MS })
    const steps = await undisturbed(server, project)
    const { count, seed } = args
    console.log(`seed ${seed}: ${count} kills, of a backfill of ${steps.resume} and a worker of ${steps.worker} steps`)
    const { next } = seededRandom(seed)
    const kills = Array.from({ length: count }, (_, n) => {
      const kind = KINDS[n % KINDS.length] as Kind
      // As a share of the way, since the number of statements is not the same every time.
      const killAt = { step: 1 + Math.floor(next() * steps[kind]) }
      return { kind, killAt, about: `step ${killAt.step}` }
    })
    const play = ({ kind, killAt }: (typeof kills)[number]) =>
      server.withCopy("loaded", async (database) => ({
        faults: await new Kill({ server, project, database }).play(kind, killAt),
      }))
    await trials.play(kills, play, atATime)
  } finally {
    await project.remove()
  }
})
