// node test/faults/fan-out.ts [--rounds N] [--read-ms 150]
//
// Three workers and one backfill share 120 partitions, of which 5 fail twice and one always; once undisturbed, and N times
// with a worker killed in the middle. What must come out is the same.
import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { connectionsOf } from "../../src/scheduler/worker.ts"
import { amountOf, BROKEN, FLAKY, fanOutProject, KEYS, PIPELINE, ROWS_PER_FILE } from "./fan-out-project.ts"
import { KillServer } from "./kill-server.ts"
import { until } from "./waiting.ts"

const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url))
const WORKERS = 3
const WORKER_CONCURRENCY = 2
const BACKFILL_CONCURRENCY = 4
const PIPELINES_ONLY = { connectionsPerRun: 4 }
const CONNECTIONS =
  WORKERS * connectionsOf(PIPELINES_ONLY, WORKER_CONCURRENCY) + connectionsOf(PIPELINES_ONLY, BACKFILL_CONCURRENCY)
const DEADLINE_MS = 300_000
/** Ended partitions after which a worker is killed. */
const KILL_AFTER = 30

/** Every publication of a partition leaves a row, whatever the ledger says of it afterwards. */
const AUDIT = `
  CREATE TABLE public.published (key text, at timestamptz DEFAULT clock_timestamp());
  CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO public.published (key) VALUES (NEW.partition_key); RETURN NEW; END $$;
  CREATE TRIGGER note AFTER UPDATE ON ops.source_positions FOR EACH ROW
    WHEN (NEW.position <> 'null' AND NEW.commit_id IS DISTINCT FROM OLD.commit_id) EXECUTE FUNCTION public.note();`

interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

class Process {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>

  constructor(args: readonly string[], directory: string, url: string) {
    this.child = spawn(process.execPath, [MAIN, ...args], {
      cwd: directory,
      env: { ...process.env, DATABASE_URL: url },
      stdio: ["ignore", "pipe", "pipe"],
    })
    let stdout = ""
    let stderr = ""
    this.child.stdout?.on("data", (chunk: Buffer) => (stdout += chunk.toString()))
    this.child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()))
    this.ended = once(this.child, "close").then(() => ({ code: this.child.exitCode, stdout, stderr }))
  }
}

class Round {
  readonly #server: KillServer
  readonly #database: string
  readonly #directory: string
  readonly #faults: string[] = []
  #mostConnections = 0

  constructor(server: KillServer, database: string, directory: string) {
    this.#server = server
    this.#database = database
    this.#directory = directory
  }

  /** What was not as it must be. */
  async play(kill: boolean): Promise<readonly string[]> {
    const url = this.#server.urlOf(this.#database)
    const start = (...args: string[]): Process => new Process(args, this.#directory, url)
    const init = await start("init").ended
    this.#expect("init ends with", init.code, 0)
    await this.#query(AUDIT)
    const workers = Array.from({ length: WORKERS }, () => start("work", "--concurrency", String(WORKER_CONCURRENCY)))
    const backfill = start("backfill", PIPELINE, "--concurrency", String(BACKFILL_CONCURRENCY), "--json")
    const stopWatching = this.#watchConnections()
    try {
      if (kill) await this.#killOne(workers)
      const result = await Promise.race([backfill.ended, deadline()])
      await this.#judge(result, kill)
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
      for (const { child } of [...workers, backfill]) child.kill("SIGKILL")
    }
    this.#expect("connections within the bound", this.#mostConnections <= CONNECTIONS, true)
    if (this.#faults.length > 0) this.#faults.push(...(await this.#unplanned()))
    console.log(`  most connections at a time ${this.#mostConnections}, bound ${CONNECTIONS}`)
    return this.#faults
  }

  /** Kills a worker that has a partition in hand, and sees how soon another takes it. */
  async #killOne(workers: readonly Process[]): Promise<void> {
    const victims = workers.map(({ child }) => child.pid)
    let held: { partition_key: string; worker: string }[] = []
    await until(
      "a worker has a partition in hand in the middle",
      async () => {
        const [row] = await this.#query(
          `SELECT count(*) FILTER (WHERE status = 'done')::int AS done FROM ops.backfill_partitions`,
        )
        if (Number(row?.["done"]) < KILL_AFTER) return false
        const rows = await this.#query(
          `SELECT partition_key, worker FROM ops.backfill_partitions WHERE status = 'active'`,
        )
        held = rows as typeof held
        return held.some(({ worker }) => victims.includes(pidOf(worker)))
      },
      120_000,
    )
    const victim = held.find(({ worker }) => victims.includes(pidOf(worker)))
    const pid = pidOf(victim?.worker ?? "")
    process.kill(pid, "SIGKILL")
    const killedAt = performance.now()
    const orphans = held.filter(({ worker }) => pidOf(worker) === pid).map(({ partition_key: key }) => key)
    void until(
      "taken over",
      async () => {
        const rows = await this.#query(
          `SELECT FROM ops.backfill_partitions WHERE partition_key = ANY('{${orphans.join(",")}}') AND worker = '${victim?.worker}' AND status = 'active'`,
        )
        return rows.length === 0
      },
      60_000,
    ).then(
      () =>
        console.log(
          `  killed with ${orphans.join(", ")} in hand; taken over after ${((performance.now() - killedAt) / 1000).toFixed(1)} s`,
        ),
      (error: unknown) => this.#faults.push(String(error)),
    )
  }

  async #judge({ code, stdout, stderr }: Ended, killed: boolean): Promise<void> {
    this.#expect("the backfill ends with", code, 6)
    if (code !== 6) {
      this.#faults.push(stderr.slice(-4_000), stdout.slice(-2_000))
      return
    }
    const { data } = JSON.parse(stdout || "{}") as { data?: Report }
    const { total, done, failed, skipped, failures } = data ?? {}
    this.#expect("the summary", { total, done, failed, skipped }, { total: 120, done: 119, failed: 1, skipped: 0 })
    const failure = failures?.[0]
    this.#expect("the failed one", failure?.key, BROKEN)
    this.#expect("its reason", failure?.error?.code, "NETWORK")
    this.#expect("its attempts", killed ? (failure?.attempts ?? 0) >= 4 : failure?.attempts, killed ? true : 4)

    const published = await this.#query(
      `SELECT key, count(*)::int AS times FROM public.published GROUP BY key ORDER BY key`,
    )
    const wanted = KEYS.filter((key) => key !== BROKEN).map((key) => ({ key, times: 1 }))
    this.#expect("publications", published, wanted)
    const rows = await this.#query(`SELECT count(*)::int AS rows, sum(amount)::int AS amount FROM bronze.orders`)
    this.#expect("the table", rows[0], expectedTable())
    const [open] = await this.#query(
      `SELECT (SELECT count(*) FROM ops.leases WHERE holder IS NOT NULL)::int AS leases,
              (SELECT count(*) FROM ops.backfill_partitions WHERE status IN ('queued', 'active'))::int AS partitions,
              (SELECT count(*) FROM ops.runs WHERE status = 'running')::int AS runs,
              (SELECT string_agg(status, ',') FROM ops.backfills) AS backfills,
              (SELECT count(*) FROM ops.dead_letters)::int AS letters`,
    )
    const runs = killed ? (open?.["runs"] ?? 0) : 0
    this.#expect("what is left open", open, { leases: 0, partitions: 0, runs, backfills: "partial", letters: 0 })
    if (killed) return
    const marks = readdirSync(join(this.#directory, "marks"))
    const readings = (key: string): number => marks.filter((mark) => mark.startsWith(key.slice("data/".length))).length
    this.#expect(
      "readings of the flaky ones",
      FLAKY.map(readings),
      FLAKY.map(() => 3),
    )
    this.#expect("readings of the broken one", readings(BROKEN), 4)
    this.#expect("readings in all", marks.length, 120 - 6 + 5 * 3 + 4)
  }

  /** Warnings and errors of the log that were not planted, and attempts that should not have been: for whoever looks for the fault. */
  async #unplanned(): Promise<string[]> {
    const lines = await this.#query(
      `SELECT to_char(timestamp, 'HH24:MI:SS.MS') || ' ' || level || ' ' || coalesce(run_id, '') || ' ' || left(message, 300) AS text
       FROM ops.pipeline_logs WHERE level IN ('WARNING', 'ERROR', 'CRITICAL') AND message NOT LIKE '%NETWORK%'
         AND message NOT LIKE 'run partial%' ORDER BY id LIMIT 40`,
    )
    const attempts = await this.#query(
      `SELECT partition_key || ' ' || status || ' after ' || attempts || ' attempts' AS text FROM ops.backfill_partitions
       WHERE attempts > 1 ORDER BY ordinal`,
    )
    const runs = await this.#query(
      `SELECT run_id || ' attempt ' || attempt || ' ' || status || ' ' || coalesce(left(error_message, 200), '') AS text FROM ops.runs
       WHERE attempt > 1 OR status NOT IN ('completed', 'partial') ORDER BY run_no`,
    )
    return [...lines, ...attempts, ...runs].map(({ text }) => String(text))
  }

  #watchConnections(): () => Promise<void> {
    let going = true
    const watching = (async () => {
      while (going) {
        const [row] = await this.#query(
          `SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = '${this.#database}' AND application_name LIKE 'spillway%'`,
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
    return this.#server.query(sql, this.#database)
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
    readonly error?: { readonly code: string }
  }[]
}

/** From the data alone. */
function expectedTable(): { rows: number; amount: number } {
  let [rows, amount] = [0, 0]
  for (const [n, key] of KEYS.entries()) {
    if (key === BROKEN) continue
    for (let row = 0; row < ROWS_PER_FILE; row++) {
      rows++
      amount += amountOf(n, row)
    }
  }
  return { rows, amount }
}

/** A worker's id ends with its process and a few random digits. */
const pidOf = (worker: string): number => Number(worker.split("_").at(-2))

const deadline = (): Promise<Ended> =>
  new Promise((resolve) => {
    setTimeout(
      () => resolve({ code: null, stdout: "", stderr: "the backfill did not end in time" }),
      DEADLINE_MS,
    ).unref()
  })

async function main(): Promise<boolean> {
  const { values } = parseArgs({
    options: { rounds: { type: "string", default: "1" }, "read-ms": { type: "string", default: "150" } },
  })
  const rounds = Number(values.rounds)
  const server = await KillServer.start()
  let failed = 0
  try {
    for (let round = 0; round <= rounds; round++) {
      const name = round === 0 ? "undisturbed" : `a worker killed (${round})`
      console.log(name)
      const project = await fanOutProject(Number(values["read-ms"]))
      const database = await server.copy("template0", false)
      const faults = await new Round(server, database, project.directory).play(round > 0)
      if (faults.length > 0) {
        failed++
        console.log(`FAILED  ${name}\n  ${faults.join("\n  ")}`)
      }
      await project.remove()
      await server.drop(database)
    }
  } finally {
    await server.remove()
  }
  console.log(`${rounds + 1 - failed} passed, ${failed} failed`)
  return failed === 0
}

process.exitCode = (await main()) ? 0 : 1
