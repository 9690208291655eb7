// An embedded PostgreSQL of the kill test's own: databases copied from templates, and its sudden death.
import { chmod, mkdtemp, readdir, readFile, readlink, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import pg from "pg"
import { openDatabase } from "../../src/index.ts"
import { migrations } from "../../src/ledger/migrations/index.ts"
import { startEmbedded, stopEmbedded } from "../../src/postgres/embedded.ts"
import { migrate } from "../../src/postgres/migrate.ts"
import { database } from "../../src/postgres/session.ts"

/** Characters. */
const LOG_SHOWN = 4_000

export class KillServer {
  readonly directory: string
  #url: string
  #dataDirectory: string
  #made = 0

  private constructor(directory: string, url: string, dataDirectory: string) {
    this.directory = directory
    this.#url = url
    this.#dataDirectory = dataDirectory
  }

  static async start(): Promise<KillServer> {
    const directory = await mkdtemp(join(tmpdir(), "spillway-kill-"))
    // Below a folder that only root may enter, the data would lie elsewhere.
    await chmod(directory, 0o755)
    const { url, dataDirectory } = await startEmbedded(directory)
    return new KillServer(directory, url, dataDirectory)
  }

  /** Folder for what node makes of the sources that processes load. */
  get cache(): string {
    return join(this.directory, "compiled")
  }

  /** The URL of a database on it. */
  urlOf(name: string): string {
    const url = new URL(this.#url)
    url.pathname = `/${name}`
    return url.href
  }

  /** A new database, with all that `template` holds; its name. `toCrash`: so that it survives a crash of the server. */
  async copy(template: string, toCrash: boolean): Promise<string> {
    const name = `kill_${++this.#made}`
    await this.query(`CREATE DATABASE ${name} TEMPLATE ${template}`)
    // PostgreSQL logs a sequence only every 32 values; of a copied one it would give values twice after a crash, unless
    // a checkpoint makes it log the next value.
    if (toCrash) await this.query("CHECKPOINT")
    return name
  }

  /** A copy for as long as `body` lasts. */
  async withCopy<T>(template: string, body: (name: string) => Promise<T>, toCrash = false): Promise<T> {
    const name = await this.copy(template, toCrash)
    try {
      const result = await body(name)
      await this.drop(name)
      return result
    } catch (error) {
      // What went wrong first is what is wanted.
      await this.drop(name).catch(() => undefined)
      throw error
    }
  }

  /** A new database with the tables that Spillway keeps for itself. */
  async create(name: string): Promise<void> {
    await this.query(`CREATE DATABASE ${name} TEMPLATE template0`)
    const session = await database(this.urlOf(name)).connect()
    await migrate(session, migrations)
    await session.end()
  }

  async drop(name: string): Promise<void> {
    await this.query(`DROP DATABASE ${name} WITH (FORCE)`)
  }

  async query(sql: string, name?: string): Promise<Record<string, unknown>[]> {
    const client = new pg.Client({ connectionString: name === undefined ? this.#url : this.urlOf(name) })
    client.on("error", () => undefined)
    await client.connect()
    try {
      return (await client.query<Record<string, unknown>>(sql)).rows
    } finally {
      await client.end()
    }
  }

  /** Kills the server's main process and every process of it, at once and without a word. */
  async kill(): Promise<void> {
    for (;;) {
      const processes = await this.#processes()
      if (processes.length === 0) return
      for (const pid of processes) {
        try {
          process.kill(pid, "SIGKILL")
        } catch {
          // It died with its parent.
        }
      }
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** As the next command would: finds it dead, starts it, and lets it recover. Throws with the end of its log. */
  async restart(): Promise<void> {
    try {
      const { url } = await openDatabase({ directory: this.directory, env: {} })
      this.#url = url
    } catch (error) {
      const log = await readFile(join(this.directory, ".spillway", "postgres", "server.log"), "utf8")
      throw new Error(`the killed server did not come back; its log ends:\n${log.slice(-LOG_SHOWN)}`, { cause: error })
    }
  }

  async remove(): Promise<void> {
    await stopEmbedded(this.directory)
    await rm(this.#dataDirectory, { recursive: true, force: true })
    await rm(this.directory, { recursive: true, force: true })
  }

  /** Every process of a server works in its data directory. */
  async #processes(): Promise<number[]> {
    const found: number[] = []
    for (const name of await readdir("/proc")) {
      if (!/^\d+$/.test(name)) continue
      if ((await readlink(`/proc/${name}/cwd`).catch(() => "")) === this.#dataDirectory) found.push(Number(name))
    }
    return found
  }
}
