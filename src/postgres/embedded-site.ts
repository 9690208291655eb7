import { createHash } from "node:crypto"
import { chown, mkdir, readFile, realpath, rename, rm, stat, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { SpillwayError, systemCode } from "../core/errors.ts"
import type { Random } from "../core/random.ts"
import { existingSharedFolders, sharedFolder } from "./embedded-binaries.ts"
import { canEnter, chooseServerUser, isRoot, type ServerUser } from "./embedded-user.ts"

/** Where the embedded server of a project lives. */
export interface Site {
  /** The project folder, without symbolic links. */
  readonly project: string
  /** `.spillway/postgres` in it: `server.log`, `state.json` and, unless the server's user cannot reach it, `data`. */
  readonly home: string
  readonly log: string
  readonly dataDirectory: string
  readonly user: ServerUser
}

/** `state.json`: what was true when the server was last started. The data directory itself is what counts. */
export interface State {
  readonly project: string
  readonly dataDirectory: string
  readonly port: number
  readonly version: string
}

/** In a data directory: the project folder it belongs to. */
const PROJECT_FILE = "spillway.project"

/** The site of a project that has a data directory, or undefined. Throws `RESOURCE` when it belongs to somebody else. */
export async function findSite(directory: string): Promise<Site | undefined> {
  const { project, home, log } = await homeOf(directory)
  for (const dataDirectory of await candidates(project, home)) {
    const found = await stat(dataDirectory).catch(() => undefined)
    if (found?.isDirectory()) return { project, home, log, dataDirectory, user: ownerOf(dataDirectory, found) }
  }
  return undefined
}

/** The site that a project without a data directory gets; makes its folders. */
export async function newSite(directory: string): Promise<Site> {
  const { project, home, log } = await homeOf(directory)
  await makeHome({ project, home })
  const user = await chooseServerUser(project)
  const reachable = await canEnter(user, home)
  const dataDirectory = reachable ? join(home, "data") : await sharedPlace(await sharedFolder(), project)
  return { project, home, log, dataDirectory, user }
}

export async function readState(home: string): Promise<State | undefined> {
  try {
    return JSON.parse(await readFile(join(home, "state.json"), "utf8")) as State
  } catch {
    // It only saves a search: without it the usual places are looked at.
    return undefined
  }
}

export async function writeState(site: Site, state: State, random: Random): Promise<void> {
  const path = join(site.home, "state.json")
  const temporary = `${path}.${random.hex(6)}.tmp`
  try {
    await writeFile(temporary, `${JSON.stringify(state, undefined, 2)}\n`, { mode: 0o600 })
    await inheritOwner(site.home, temporary)
    await rename(temporary, path)
  } finally {
    await rm(temporary, { force: true })
  }
}

/** What root made in somebody's folder is that somebody's: the next command may run without root. */
export async function inheritOwner(parent: string, path: string): Promise<void> {
  if (!isRoot()) return
  const { uid, gid } = await stat(parent)
  if (uid !== 0) await chown(path, uid, gid)
}

async function homeOf(directory: string): Promise<{ project: string; home: string; log: string }> {
  const project = await realpath(directory).catch((error: unknown) => {
    throw new SpillwayError("CONFIG", "the project folder does not exist", {
      where: directory,
      cause: error,
      hint: "check the path given to --project",
    })
  })
  const home = join(project, ".spillway", "postgres")
  return { project, home, log: join(home, "server.log") }
}

/** The folders in the project, ignored by version control. */
export async function makeHome({ project, home }: Pick<Site, "project" | "home">): Promise<void> {
  const top = join(project, ".spillway")
  for (const [parent, folder] of [
    [project, top],
    [top, home],
  ] as const) {
    try {
      await mkdir(folder)
      await inheritOwner(parent, folder)
    } catch (error) {
      if (systemCode(error) !== "EEXIST") throw error
    }
  }
  const ignore = join(top, ".gitignore")
  try {
    await writeFile(ignore, "*\n", { flag: "wx" })
    await inheritOwner(top, ignore)
  } catch (error) {
    if (systemCode(error) !== "EEXIST") throw error
  }
}

async function candidates(project: string, home: string): Promise<string[]> {
  const local = join(home, "data")
  const state = await readState(home)
  const recorded = state !== undefined && !(await isCopy(state, project)) ? [state.dataDirectory] : []
  const shared = isRoot() ? await existingSharedFolders() : []
  return [local, ...recorded, ...(await Promise.all(shared.map((folder) => sharedPlace(folder, project))))]
}

/** A project that was moved keeps its data; one that was copied must not share them with the original. */
async function isCopy(state: State, project: string): Promise<boolean> {
  if (state.project === project) return false
  return (await readState(join(state.project, ".spillway", "postgres")))?.dataDirectory === state.dataDirectory
}

/** Where the data of a project lie, or would lie, in a shared folder. Its first place may be taken: by what was a project here before and moved. */
async function sharedPlace(folder: string, project: string): Promise<string> {
  const hash = createHash("sha256").update(project).digest("hex").slice(0, 16)
  for (let n = 1; ; n++) {
    const place = join(folder, n === 1 ? `data-${hash}` : `data-${hash}-${n}`)
    const owner = await readFile(join(place, PROJECT_FILE), "utf8").catch(() => undefined)
    if (owner === undefined || owner === project) return place
  }
}

/** Writes into a data directory which project it belongs to. */
export async function claimData(dataDirectory: string, project: string, user: ServerUser): Promise<void> {
  const path = join(dataDirectory, PROJECT_FILE)
  await writeFile(path, project, { mode: 0o600 })
  if (user !== undefined) await chown(path, user.uid, user.gid)
}

function ownerOf(dataDirectory: string, found: { uid: number; gid: number }): ServerUser {
  const uid = process.getuid?.()
  if (uid === undefined || uid === found.uid) {
    if (uid !== 0) return undefined
    throw new SpillwayError("RESOURCE", "the data directory belongs to root, as whom PostgreSQL refuses to run", {
      where: dataDirectory,
      hint: "give it back to the account it was made by (chown -R), or move it away to start over",
    })
  }
  if (uid === 0) return { uid: found.uid, gid: found.gid }
  throw new SpillwayError("RESOURCE", `the data directory belongs to another user (uid ${found.uid})`, {
    where: dataDirectory,
    hint: "run as that user or as root, or set DATABASE_URL",
  })
}
