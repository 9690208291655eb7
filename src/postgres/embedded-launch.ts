import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { open, stat } from "node:fs/promises"
import { createServer, type AddressInfo } from "node:net"
import { dirname } from "node:path"
import type { Clock } from "../core/clock.ts"
import { SpillwayError } from "../core/errors.ts"
import type { Binaries } from "./embedded-binaries.ts"
import { readLockFile } from "./embedded-process.ts"
import { inheritOwner, type Site } from "./embedded-site.ts"
import { identity, serverEnvironment } from "./embedded-user.ts"

/**
 * How a launch ended. `ready`: it takes connections. `outrun`: another server has the data directory. `port-taken`: another
 * program has the port. `crash-remains`: processes of a killed server still hold its memory. `memory-refused`: the machine
 * does not give that much shared memory.
 */
export type Launch = "ready" | "outrun" | "port-taken" | "crash-remains" | "memory-refused"

export interface LaunchOptions {
  readonly port: number
  /** Ask for little shared memory. */
  readonly lean: boolean
}

const POLL_MS = 15
const LOG_LINES_SHOWN = 12
const LEAN_SETTINGS = ["-c", "shared_buffers=16MB"]

const REFUSALS: readonly (readonly [RegExp, Launch])[] = [
  [
    /lock file "postmaster\.pid" (already exists|is empty)|could not create lock file "postmaster\.pid": File exists/,
    "outrun",
  ],
  [/could not create any TCP\/IP sockets|Address already in use/, "port-taken"],
  [/pre-existing shared memory block .* is still in use/, "crash-remains"],
  [/could not (map anonymous shared memory|create shared memory segment)/, "memory-refused"],
]

/**
 * Starts the server in a session of its own, so that neither Ctrl-C in the terminal nor the end of this process reaches it,
 * and waits until it takes connections or gives up. Throws `RESOURCE` with the end of its log when it fails for good.
 */
export async function launch(site: Site, binaries: Binaries, options: LaunchOptions, clock: Clock): Promise<Launch> {
  const log = await open(site.log, "a", 0o600)
  let child: ChildProcess
  let logStart: number
  try {
    await inheritOwner(site.home, site.log)
    logStart = (await log.stat()).size
    // Not pg_ctl: it hands the paths to a shell, in double quotes.
    child = spawn(
      binaries.postgres,
      ["-D", site.dataDirectory, "-c", `port=${options.port}`, ...(options.lean ? LEAN_SETTINGS : [])],
      {
        ...identity(site.user),
        cwd: dirname(site.dataDirectory),
        env: serverEnvironment(),
        detached: true,
        stdio: ["ignore", log.fd, log.fd],
      },
    )
    await once(child, "spawn")
  } finally {
    await log.close()
  }
  child.unref()
  while (child.exitCode === null && child.signalCode === null) {
    const lock = await readLockFile(site.dataDirectory)
    if (lock?.pid === child.pid && lock?.ready) return "ready"
    await clock.sleep(POLL_MS)
  }
  return judgeExit(site, await readLog(site.log, logStart), child.pid)
}

function judgeExit(site: Site, log: string, pid: number | undefined): Launch {
  // Several commands may be writing to one log; each line that PostgreSQL writes names its process.
  const lines = log.split("\n")
  const own = lines.filter((line) => line.includes(`[${pid}]`))
  const said = (own.length > 0 ? own : lines).join("\n").trim()
  const known = REFUSALS.find(([pattern]) => pattern.test(said))
  if (known !== undefined) return known[1]
  // What stops a server in its recovery is said by a process of its own.
  const fatal = lines.filter((line) => own.includes(line) || / (?:FATAL|PANIC): /.test(line)).join("\n")
  throw new SpillwayError(
    "RESOURCE",
    `the embedded PostgreSQL did not start:\n${lastLines(fatal === "" ? said : fatal)}`,
    {
      where: site.log,
      hint: startHint(fatal === "" ? said : fatal),
    },
  )
}

function startHint(said: string): string {
  if (/No space left on device|Disk quota exceeded/.test(said))
    return "make room on the disk, then run the command again"
  if (/Read-only file system/.test(said)) return "the disk is mounted read-only: mount it writable, or set DATABASE_URL"
  if (/Permission denied|wrong ownership|invalid permissions/.test(said))
    return "the data directory must belong to, and be reachable for, the account that runs the server"
  return "server.log says why; set DATABASE_URL to use another server"
}

/** The last lines of the server's log, for messages; empty when there is none. */
export async function logTail(site: Site): Promise<string> {
  const { size } = await stat(site.log).catch(() => ({ size: 0 }))
  return size === 0 ? "" : lastLines((await readLog(site.log, Math.max(0, size - 8192))).trim())
}

const lastLines = (text: string): string => text.split("\n").slice(-LOG_LINES_SHOWN).join("\n")

async function readLog(path: string, start: number): Promise<string> {
  const handle = await open(path, "r")
  try {
    const { size } = await handle.stat()
    const buffer = Buffer.alloc(Math.max(0, size - start))
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, start)
    return buffer.toString("utf8", 0, bytesRead)
  } finally {
    await handle.close()
  }
}

/** A port of 127.0.0.1 that is free at the moment: `preferred` when it is. */
export async function freePort(preferred?: number): Promise<number> {
  const server = createServer()
  const listening = once(server, "listening")
  server.listen(preferred ?? 0, "127.0.0.1")
  try {
    await listening
  } catch (error) {
    if (preferred === undefined) throw error
    return freePort()
  }
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, "close")
  return port
}
