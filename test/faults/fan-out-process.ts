// Commands of the fan-out and backfill tests in processes of their own, and the database that all their trials begin with.
import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { faultsSql, type Faults, type MonthsProject } from "./fan-out-project.ts"
import type { KillServer } from "./kill-server.ts"
import { until } from "./waiting.ts"

const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url))

export interface Ended {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** Where commands find their project and their database. */
export interface Place {
  readonly server: KillServer
  readonly database: string
  readonly project: MonthsProject
}

/** The environment of a command. */
export const environmentOf = ({ server, database }: Place): NodeJS.ProcessEnv => ({
  ...process.env,
  DATABASE_URL: server.urlOf(database),
  NODE_COMPILE_CACHE: server.cache,
})

/** `spillway …`, running. */
export class Command {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>

  constructor(place: Place, args: readonly string[]) {
    this.child = spawn(process.execPath, [MAIN, ...args], {
      cwd: place.project.directory,
      env: environmentOf(place),
      stdio: ["ignore", "pipe", "pipe"],
    })
    let stdout = ""
    let stderr = ""
    this.child.stdout?.on("data", (chunk: Buffer) => (stdout += chunk.toString()))
    this.child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()))
    this.ended = once(this.child, "close").then(() => ({ code: this.child.exitCode, stdout, stderr }))
  }

  /** Kills it and waits for its end; does nothing when it has ended. */
  async kill(): Promise<void> {
    this.child.kill("SIGKILL")
    await this.ended
  }
}

/** A database with the sales loaded and no month built: to be copied. */
export async function loadedDatabase(place: Place, faults: Faults): Promise<void> {
  const { server, database, project } = place
  await server.query(`CREATE DATABASE ${database} TEMPLATE template0`)
  for (const args of [["init"], ["run", project.pipeline]]) {
    const { code, stderr } = await new Command(place, args).ended
    if (code !== 0) throw new Error(`spillway ${args.join(" ")} ended with ${code}: ${stderr}`)
  }
  await server.query(faultsSql(faults), database)
  await until("the database can be copied", async () => {
    const [row] = await server.query(`SELECT count(*)::int AS n FROM pg_stat_activity WHERE datname = '${database}'`)
    return row?.["n"] === 0
  })
}

/** A worker's id, as `ops` has it, ends with its process and a few random digits. */
export const pidOf = (worker: string): number => Number(worker.split("_").at(-2))
