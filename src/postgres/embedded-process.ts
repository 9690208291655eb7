import { link, readdir, readFile, readlink, realpath, rename, rm } from "node:fs/promises"
import { basename, join } from "node:path"
import { systemCode } from "../core/errors.ts"
import type { Random } from "../core/random.ts"
import { runAs } from "./embedded-user.ts"

/** What a server says of itself in `postmaster.pid`. */
export interface LockFile {
  readonly pid: number
  /** 0 until the server has written it. */
  readonly port: number
  /** It takes connections. */
  readonly ready: boolean
}

/** The data directory's `postmaster.pid`; undefined when there is none, or its writer has only just made it. */
export async function readLockFile(dataDirectory: string): Promise<LockFile | undefined> {
  let text: string
  try {
    text = await readFile(join(dataDirectory, "postmaster.pid"), "utf8")
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined
    throw error
  }
  const lines = text.split("\n")
  // A stand-alone backend writes its pid as a negative number.
  const pid = Math.abs(Number(lines[0]))
  if (!Number.isInteger(pid) || pid === 0) return undefined
  return { pid, port: Number(lines[3] ?? 0) || 0, ready: lines[7]?.trim() === "ready" }
}

/** The lock file of a server that is alive, or undefined. */
export async function readLiveLockFile(dataDirectory: string): Promise<LockFile | undefined> {
  const lock = await readLockFile(dataDirectory)
  return lock !== undefined && (await isServerOn(lock.pid, dataDirectory)) ? lock : undefined
}

/**
 * Removes a lock file whose process id now belongs to another program: PostgreSQL would refuse to start because of it.
 * (It deals itself with one whose process is gone.)
 */
export async function removeForeignLock(dataDirectory: string, random: Random): Promise<void> {
  const lock = await readLockFile(dataDirectory)
  if (lock === undefined || !isAlive(lock.pid) || (await isServerOn(lock.pid, dataDirectory))) return
  const path = join(dataDirectory, "postmaster.pid")
  const aside = `${path}.${random.hex(6)}`
  try {
    await rename(path, aside)
  } catch (error) {
    if (systemCode(error) === "ENOENT") return
    throw error
  }
  // Between reading and renaming, another command may have started a server: then this is its file, and goes back.
  const moved = Number((await readFile(aside, "utf8")).split("\n")[0])
  if (moved !== lock.pid) await link(aside, path).catch(() => undefined)
  await rm(aside, { force: true })
}

/** Whether process `pid` is a PostgreSQL server on this data directory. In doubt yes: then nothing of it is touched. */
export async function isServerOn(pid: number, dataDirectory: string): Promise<boolean> {
  if (!isAlive(pid)) return false
  return process.platform === "linux" ? isServerOnLinux(pid, dataDirectory) : isServerByPs(pid, dataDirectory)
}

async function isServerOnLinux(pid: number, dataDirectory: string): Promise<boolean> {
  try {
    const command = (await readFile(`/proc/${pid}/cmdline`, "utf8")).split("\0")[0] ?? ""
    if (basename(command) !== "postgres") return false
    // A server's working directory is its data directory, however it was started.
    return (await readlink(`/proc/${pid}/cwd`)) === (await realpath(dataDirectory))
  } catch (error) {
    return !["ENOENT", "ESRCH"].includes(systemCode(error) ?? "")
  }
}

/**
 * Ends what a killed server left behind: its sessions notice its death only when they next wait for something, and until
 * then their memory keeps a new server from starting. On Linux only; elsewhere they are waited for.
 */
export async function endRemains(dataDirectory: string): Promise<void> {
  if (process.platform !== "linux") return
  const folder = await realpath(dataDirectory)
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue
    try {
      if (!(await readFile(`/proc/${name}/cmdline`, "utf8")).startsWith("postgres: ")) continue
      if ((await readlink(`/proc/${name}/cwd`)) !== folder) continue
      const parent = /^PPid:\s*(\d+)/m.exec(await readFile(`/proc/${name}/status`, "utf8"))?.[1]
      // A child of a living server is no orphan: another command has started one meanwhile.
      if (await isServerOn(Number(parent), dataDirectory)) continue
      // PostgreSQL's own way out after a crash: nothing is written, recovery does the rest.
      process.kill(Number(name), "SIGQUIT")
    } catch {
      // Gone by now, or of another account and so not ours.
    }
  }
}

async function isServerByPs(pid: number, dataDirectory: string): Promise<boolean> {
  try {
    const { code, output } = await runAs(undefined, "ps", ["-ww", "-o", "args=", "-p", String(pid)], "/")
    return code === 0 && output.includes("postgres") && output.includes(dataDirectory)
  } catch {
    return true
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return systemCode(error) === "EPERM"
  }
}
