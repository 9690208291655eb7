import { appendFile, chown, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import type { Clock } from "../core/clock.ts"
import { SpillwayError } from "../core/errors.ts"
import type { Random } from "../core/random.ts"
import type { Binaries } from "./embedded-binaries.ts"
import { claimData, type Site } from "./embedded-site.ts"
import { runAs } from "./embedded-user.ts"

/** The superuser of the embedded server, and the database that is handed out. */
export const EMBEDDED_NAME = "spillway"

/** Lies in the data directory, so that data and password come into being, move and go together. */
const PASSWORD_FILE = "spillway.password"
const ABANDONED_AFTER_MS = 3_600_000

export const readPassword = async (dataDirectory: string): Promise<string> =>
  (await readFile(join(dataDirectory, PASSWORD_FILE), "utf8")).trim()

/**
 * Makes the site's data directory. All is done beside it and renamed into place at the end: who is killed leaves nothing
 * half done, and of several at once one wins. Throws `RESOURCE` with what initdb said.
 */
export async function initialise(site: Site, binaries: Binaries, clock: Clock, random: Random): Promise<void> {
  const parent = dirname(site.dataDirectory)
  const prefix = `${basename(site.dataDirectory)}.init-`
  await removeAbandoned(parent, prefix, clock)
  const workshop = join(parent, prefix + random.hex(6))
  const data = join(workshop, "data")
  try {
    await mkdir(workshop, { mode: 0o700 })
    const password = join(workshop, "password")
    await writeFile(password, random.hex(24), { mode: 0o600 })
    if (site.user !== undefined)
      for (const path of [workshop, password]) await chown(path, site.user.uid, site.user.gid)
    await createCluster(site, binaries, data, password)
    await rename(password, join(data, PASSWORD_FILE))
    await claimData(data, site.project, site.user)
    await moveIntoPlace(data, site.dataDirectory)
  } finally {
    await rm(workshop, { recursive: true, force: true })
  }
}

async function createCluster(site: Site, binaries: Binaries, data: string, password: string): Promise<void> {
  const step = async (file: string, args: string[], input?: string): Promise<void> => {
    const { code, output } = await runAs(site.user, file, args, dirname(data), input)
    if (code !== 0) throw initError(output, site)
  }
  await step(binaries.initdb, [
    `--pgdata=${data}`,
    `--username=${EMBEDDED_NAME}`,
    `--pwfile=${password}`,
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--locale=C",
  ])
  const lz4 = await runAs(
    site.user,
    binaries.postgres,
    ["-D", data, "-C", "wal_compression", "-c", "wal_compression=lz4"],
    dirname(data),
  )
  await appendFile(join(data, "postgresql.conf"), serverSettings(lz4.code === 0))
  await step(binaries.postgres, ["--single", "-D", data, "postgres"], `CREATE DATABASE ${EMBEDDED_NAME}\n`)
}

const serverSettings = (lz4: boolean): string => `
# Set by Spillway. Durability (fsync, synchronous_commit, full_page_writes) is as PostgreSQL ships it.
listen_addresses = '127.0.0.1'    # this machine only; the port is given at each start
unix_socket_directories = ''      # a project's path may be longer than a socket's may be (107 bytes)
max_connections = 100
shared_buffers = 256MB            # a load's working set of index pages
max_wal_size = 4GB                # a load of millions of rows must not be one checkpoint after another,
checkpoint_timeout = 15min        # each followed by full images of all pages that are touched again
timezone = 'UTC'
log_timezone = 'UTC'
wal_compression = ${lz4 ? "lz4" : "off"}            # full page images: worth it where lz4 is built in, pglz costs more than it saves
`

async function moveIntoPlace(data: string, target: string): Promise<void> {
  try {
    await rename(data, target)
  } catch (error) {
    const other = await stat(join(target, "PG_VERSION")).catch(() => undefined)
    if (other === undefined) throw error
    return
  }
  if (process.platform === "win32") return
  const parent = await open(dirname(target), "r")
  try {
    await parent.sync()
  } finally {
    await parent.close()
  }
}

async function removeAbandoned(parent: string, prefix: string, clock: Clock): Promise<void> {
  for (const name of await readdir(parent)) {
    if (!name.startsWith(prefix)) continue
    const path = join(parent, name)
    const found = await stat(path).catch(() => undefined)
    if (found !== undefined && clock.now() - found.mtimeMs > ABANDONED_AFTER_MS)
      await rm(path, { recursive: true, force: true })
  }
}

function initError(output: string, site: Site): SpillwayError {
  const lines = output.trim().split("\n").slice(-8).join("\n")
  const nameless = output.includes("could not look up effective user ID")
  return new SpillwayError("RESOURCE", `the embedded PostgreSQL could not make its data directory:\n${lines}`, {
    where: site.dataDirectory,
    hint: nameless
      ? "this user has no entry in /etc/passwd: add one, or set DATABASE_URL"
      : "mend what it says (room on the disk, permissions), or set DATABASE_URL",
  })
}
