// node test/faults/fan-out.ts [--rounds N] [--build-ms 100]
//
// Three workers and one backfill share 120 months of a model, of which 5 fail twice and one always; once undisturbed, and N
// times (default 1) with a worker killed in the middle. What must come out is the same.
import { parseArgs } from "node:util"
import { Command, loadedDatabase, pidOf, type Ended, type Place } from "./fan-out-process.ts"
import {
  CALLS,
  expectedGold,
  FOUND_GOLD,
  MODEL,
  monthsOf,
  monthsProject,
  PUBLICATIONS,
  type Faults,
} from "./fan-out-project.ts"
import { KillServer } from "./kill-server.ts"
import { until } from "./waiting.ts"

const MONTHS = monthsOf(120)
/** These fail the first two times, and this one always. */
const FLAKY = [3, 21, 47, 80, 113].map((n) => MONTHS[n] ?? "")
const BROKEN = MONTHS[60] ?? ""
const ALWAYS = 1_000
/** The first try and three more. */
const TRIES = 4

const WORKERS = 3
const WORKER_CONCURRENCY = 2
const BACKFILL_CONCURRENCY = 4
/** As the commands' help says: 4, and 4 for each partition at a time. */
const bound = (concurrency: number): number => 4 + 4 * concurrency
const CONNECTIONS = WORKERS * bound(WORKER_CONCURRENCY) + bound(BACKFILL_CONCURRENCY)

const DEADLINE_MS = 300_000
/** Ended partitions after which a worker is killed. */
const KILL_AFTER = 30

/** A worker that was killed, with the months it had in hand. */
interface Killed {
  readonly worker: string
  readonly months: readonly string[]
}

class Round {
  readonly #place: Place
  readonly #faults: string[] = []
  #mostConnections = 0

  constructor(place: Place) {
    this.#place = place
  }

  /** What was not as it must be. */
  async play(kill: boolean): Promise<readonly string[]> {
    const start = (...args: string[]): Command => new Command(this.#place, args)
    const workers = Array.from({ length: WORKERS }, () => start("work", "--concurrency", String(WORKER_CONCURRENCY)))
    const backfill = start("backfill", MODEL, "--concurrency", String(BACKFILL_CONCURRENCY), "--json")
    const stopWatching = this.#watchConnections()
    try {
      const killed = kill ? await this.#killOne(workers) : undefined
      await this.#judge(await Promise.race([backfill.ended, deadline()]), killed)
      for (const { child } of workers) child.kill("SIGINT")
      for (const { child, ended } of workers) {
        const { code, stderr } = await ended
        if (child.signalCode !== "SIGKILL")
          this.#expect(
            "a worker ends with",
            `${code} ${stderr.trim()}`,
            "130 giving back what is in hand; press Ctrl-C again to stop at once",
          )
      }
    } finally {
      await stopWatching()
      for (const command of [...workers, backfill]) await command.kill()
    }
    this.#expect("connections within the bound", this.#mostConnections <= CONNECTIONS, true)
    if (this.#faults.length > 0) this.#faults.push(...(await this.#unplanned()))
    console.log(`  most connections at a time ${this.#mostConnections}, bound ${CONNECTIONS}`)
    return this.#faults
  }

  /** Kills a worker that has a month in hand, and waits until nothing is in its hands any more. */
  async #killOne(workers: readonly Command[]): Promise<Killed> {
    const pids = workers.map(({ child }) => child.pid)
    const held = async (): Promise<{ month: string; worker: string }[]> => {
      const rows = await this.#query(
        `SELECT partition_key AS month, worker FROM ops.backfill_partitions WHERE status = 'active'`,
      )
      return rows as { month: string; worker: string }[]
    }
    let victim = ""
    await until(
      "a worker has a month in hand in the middle",
      async () => {
        const [row] = await this.#query(
          `SELECT count(*) FILTER (WHERE status = 'done')::int AS done FROM ops.backfill_partitions`,
        )
        if (Number(row?.["done"]) < KILL_AFTER) return false
        victim = (await held()).find(({ worker }) => pids.includes(pidOf(worker)))?.worker ?? ""
        return victim !== ""
      },
      DEADLINE_MS,
    )
    await workers.find(({ child }) => child.pid === pidOf(victim))?.kill()
    const ofVictim = async (): Promise<string[]> =>
      (await held()).filter(({ worker }) => worker === victim).map(({ month }) => month)
    const months = await ofVictim()
    await until("what a killed worker had in hand is taken over", async () => (await ofVictim()).length === 0, 60_000)
    console.log(`  killed with ${months.join(", ") || "nothing"} in hand`)
    return { worker: victim, months }
  }

  async #judge({ code, stdout, stderr }: Ended, killed: Killed | undefined): Promise<void> {
    this.#expect("the backfill ends with", code, 6)
    if (code !== 6) {
      this.#faults.push(stderr.slice(-4_000), stdout.slice(-2_000))
      return
    }
    const { data } = JSON.parse(stdout) as { data: Report }
    const { total, done, failed, skipped, failures } = data
    this.#expect("the summary", { total, done, failed, skipped }, { total: 120, done: 119, failed: 1, skipped: 0 })
    this.#expect(
      "what failed",
      failures.map(({ key, attempts, error }) => ({ key, attempts, code: error?.code, message: error?.message })),
      [
        {
          key: BROKEN,
          attempts: TRIES,
          code: "DB_CONSTRAINT",
          message: `${BROKEN}: the books of ${BROKEN} are not closed (call ${TRIES})`,
        },
      ],
    )
    await this.#judgeTables()
    await this.#judgeCalls(killed)
  }

  async #judgeTables(): Promise<void> {
    const built = MONTHS.filter((month) => month !== BROKEN)
    const once = built.map((key) => ({ key, times: 1 }))
    this.#expect("publications", await this.#query(PUBLICATIONS), once)
    const gold = (await this.#query(FOUND_GOLD)).map(({ line }) => line)
    const wanted = expectedGold(MONTHS).filter((line) => !line.startsWith(BROKEN))
    this.#expect("the table", gold, wanted)
    const statuses = `SELECT partition_key AS key, status FROM ops.processed_partitions WHERE pipeline_name = '${MODEL}' AND status <> 'completed'`
    this.#expect("partitions that are not completed", await this.#query(statuses), [{ key: BROKEN, status: "held" }])
    const months = `SELECT month_key AS key, status FROM ops.processed_months WHERE pipeline_name = '${MODEL}' AND status <> 'completed'`
    this.#expect("months that are not completed", await this.#query(months), [{ key: BROKEN, status: "failed" }])
    const [open] = await this.#query(
      `SELECT (SELECT count(*) FROM ops.leases WHERE holder IS NOT NULL)::int AS leases,
              (SELECT count(*) FROM ops.backfill_partitions WHERE status IN ('queued', 'active'))::int AS partitions,
              (SELECT count(*) FROM ops_queue.job WHERE state IN ('created', 'retry', 'active'))::int AS jobs,
              (SELECT count(*) FROM ops.runs WHERE status = 'running')::int AS runs,
              (SELECT string_agg(status, ',') FROM ops.backfills) AS backfills`,
    )
    this.#expect("what is left open", open, { leases: 0, partitions: 0, jobs: 0, runs: 0, backfills: "partial" })
  }

  /** Each month's query is begun as often as its failures make necessary; of what a killed worker had in hand, once more. */
  async #judgeCalls(killed: Killed | undefined): Promise<void> {
    const planned = (key: string): number => (key === BROKEN ? TRIES : FLAKY.includes(key) ? 3 : 1)
    const calls = (await this.#query(CALLS)) as { key: string; times: number }[]
    const wrong = calls.filter(({ key, times }) => {
      const more = times - planned(key)
      return killed?.months.includes(key) === true ? more !== 0 && more !== 1 : more !== 0
    })
    this.#expect("months", calls.length, MONTHS.length)
    this.#expect("months whose query was begun too often or not often enough", wrong, [])
  }

  /** What was not planned, for whoever looks for the fault: the log, attempts, claims that ended, runs. */
  async #unplanned(): Promise<string[]> {
    const lines = await this.#query(
      `SELECT to_char(timestamp, 'HH24:MI:SS.MS') || ' ' || level || ' ' || coalesce(run_id, '') || ' ' || left(message, 300) AS text
       FROM ops.pipeline_logs WHERE level IN ('WARNING', 'ERROR', 'CRITICAL') AND message NOT LIKE '%are not closed%'
         AND message NOT LIKE 'run partial%' ORDER BY id LIMIT 40`,
    )
    const attempts = await this.#query(
      `SELECT partition_key || ' ' || status || ' after ' || attempts || ' attempts' AS text FROM ops.backfill_partitions
       WHERE attempts > 1 ORDER BY ordinal`,
    )
    const jobs = await this.#query(
      `SELECT singleton_key || ' ' || state || ' claimed ' || retry_count || ' times more ' || coalesce(left(output::text, 200), '') AS text
       FROM ops_queue.job WHERE retry_count > 0 ORDER BY created_on`,
    )
    const runs = await this.#query(
      `SELECT run_id || ' attempt ' || attempt || ' ' || status || ' ' || coalesce(left(error_message, 200), '') AS text FROM ops.runs
       WHERE attempt > 1 OR status NOT IN ('completed', 'partial') ORDER BY run_no`,
    )
    return [...lines, ...attempts, ...jobs, ...runs].map(({ text }) => String(text))
  }

  #watchConnections(): () => Promise<void> {
    let going = true
    const watching = (async () => {
      while (going) {
        const [row] = await this.#query(
          `SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = '${this.#place.database}' AND application_name LIKE 'spillway%'`,
        ).catch(() => [])
        this.#mostConnections = Math.max(this.#mostConnections, Number(row?.["n"] ?? 0))
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    })()
    return () => {
      going = false
      return watching
    }
  }

  #query(sql: string): Promise<Record<string, unknown>[]> {
    return this.#place.server.query(sql, this.#place.database)
  }

  #expect(what: string, found: unknown, wanted: unknown): void {
    if (JSON.stringify(found) === JSON.stringify(wanted)) return
    const text = JSON.stringify(found) ?? "nothing"
    this.#faults.push(
      `${what}: ${text.length > 2_000 ? `${text.slice(0, 2_000)} …` : text}, not ${JSON.stringify(wanted).slice(0, 300)}`,
    )
  }
}

interface Report {
  readonly total: number
  readonly done: number
  readonly failed: number
  readonly skipped: number
  readonly failures: readonly {
    readonly key: string
    readonly attempts: number
    readonly error?: { readonly code: string; readonly message: string }
  }[]
}

const deadline = (): Promise<Ended> =>
  new Promise((resolve) => {
    setTimeout(
      () => resolve({ code: null, stdout: "", stderr: "the backfill did not end in time" }),
      DEADLINE_MS,
    ).unref()
  })

async function main(): Promise<boolean> {
  const { values } = parseArgs({
    options: { rounds: { type: "string", default: "1" }, "build-ms": { type: "string", default: "100" } },
  })
  const rounds = Number(values.rounds)
  const faults: Faults = {
    months: MONTHS,
    fails: new Map([...FLAKY.map((month) => [month, 2] as const), [BROKEN, ALWAYS]]),
    buildMs: Number(values["build-ms"]),
  }
  const server = await KillServer.start()
  const project = await monthsProject(MONTHS)
  let failed = 0
  try {
    await loadedDatabase({ server, project, database: "loaded" }, faults)
    for (let round = 0; round <= rounds; round++) {
      const name = round === 0 ? "undisturbed" : `a worker killed (${round})`
      console.log(name)
      const database = await server.copy("loaded", false)
      const found = await new Round({ server, database, project }).play(round > 0)
      if (found.length > 0) {
        failed++
        console.log(`FAILED  ${name}\n  ${found.join("\n  ")}`)
      }
      await server.drop(database)
    }
  } finally {
    await project.remove()
    await server.remove()
  }
  console.log(`${rounds + 1 - failed} passed, ${failed} failed`)
  return failed === 0
}

process.exitCode = (await main()) ? 0 : 1
