import { spawn } from "node:child_process"
import { once } from "node:events"
import { readdir, readFile, rename, stat, writeFile } from "node:fs/promises"
import { createServer, type AddressInfo } from "node:net"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { systemClock } from "../../src/core/clock.ts"
import { systemRandom } from "../../src/core/random.ts"
import { findBinariesPackage, prepareBinaries } from "../../src/postgres/embedded-binaries.ts"
import { launch } from "../../src/postgres/embedded-launch.ts"
import { findSite } from "../../src/postgres/embedded-site.ts"
import { embeddedStatus, embeddedUrl, startEmbedded, stopEmbedded } from "../../src/postgres/embedded.ts"
import { postmastersOn, projectFolder, query, removeProjects, SCRIPT, startElsewhere } from "./projects.ts"

afterAll(removeProjects)

describe("a project's server", () => {
  let project: string
  beforeAll(async () => {
    project = await projectFolder()
    await startEmbedded(project)
    await query((await embeddedUrl(project))!, "CREATE TABLE kept AS SELECT 1 AS id")
  })

  test("is a real PostgreSQL, as durable as it is shipped, on this machine's loopback only", async () => {
    const { url, version } = await startEmbedded(project)
    const [settings] = await query(
      url,
      `SELECT current_setting('server_version') AS version, current_setting('server_encoding') AS encoding, current_setting('listen_addresses') AS addresses,
         current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commit, current_setting('full_page_writes') AS pages,
         current_setting('TimeZone') AS zone, current_setting('max_wal_size') AS wal, current_setting('shared_buffers') AS buffers,
         (SELECT datlocprovider::text || datlocale FROM pg_database WHERE datname = current_database()) AS locale`,
    )
    expect(settings).toEqual({
      version,
      encoding: "UTF8",
      addresses: "127.0.0.1",
      fsync: "on",
      commit: "on",
      pages: "on",
      zone: "UTC",
      wal: "4GB",
      buffers: "256MB",
      locale: "bC.UTF-8",
    })
  })

  test("asks for its password", async () => {
    const url = new URL((await startEmbedded(project)).url)
    url.password = "wrong"
    await expect(query(url.href, "SELECT 1")).rejects.toMatchObject({ code: "28P01" })
  })

  test("is kept out of version control, its secrets out of others' sight", async () => {
    expect(await readFile(join(project, ".spillway", ".gitignore"), "utf8")).toBe("*\n")
    const { mode } = await stat(join(project, ".spillway", "postgres", "data"))
    expect(mode & 0o077).toBe(0)
    for (const name of ["state.json", "server.log", "data/spillway.password"])
      expect((await stat(join(project, ".spillway", "postgres", name))).mode & 0o077).toBe(0)
  })

  test("is found again by another process", async () => {
    const ours = await startEmbedded(project)
    const { printed } = await startElsewhere(project)
    expect(printed).toEqual({ ...ours, started: false })
    expect(await embeddedStatus(project)).toMatchObject({
      state: "running",
      pid: ours.pid,
      port: ours.port,
      url: ours.url,
    })
  })

  test("outlives the command that started it, whatever ends that command's process group", async () => {
    await stopEmbedded(project)
    for (const signal of ["SIGINT", "SIGKILL"] as const) {
      const { printed, child } = await startElsewhere(project, { stay: true, detached: true })
      const ended = once(child, "exit")
      process.kill(-child.pid!, signal)
      await ended
      expect(await startEmbedded(project)).toEqual({ ...printed, started: false })
    }
  })

  test("is stopped once, and started again at its old address with its data", async () => {
    const before = await startEmbedded(project)
    expect(await Promise.all([stopEmbedded(project), stopEmbedded(project)])).toContain(true)
    expect(await stopEmbedded(project)).toBe(false)
    expect(await postmastersOn(before.dataDirectory)).toEqual([])
    expect(await embeddedStatus(project)).toMatchObject({ state: "stopped", dataDirectory: before.dataDirectory })
    expect(await embeddedUrl(project)).toBe(before.url)
    const after = await startEmbedded(project)
    expect(after).toEqual({ ...before, pid: after.pid, started: true })
    expect(await query(after.url, "SELECT id FROM kept")).toEqual([{ id: 1 }])
  })

  test("takes another port when its own is taken meanwhile, and remembers it", async () => {
    const before = await startEmbedded(project)
    await stopEmbedded(project)
    const squatter = createServer().listen(before.port, "127.0.0.1")
    await once(squatter, "listening")
    try {
      const after = await startEmbedded(project)
      expect(after.port).not.toBe(before.port)
      expect(await query(after.url, "SELECT id FROM kept")).toEqual([{ id: 1 }])
      expect((await startElsewhere(project)).printed).toEqual({ ...after, started: false })
    } finally {
      squatter.close()
    }
  })

  test("tells a port that was taken at the last moment from a failure", async () => {
    await startEmbedded(project)
    await stopEmbedded(project)
    const site = (await findSite(project))!
    const binaries = await prepareBinaries(
      await findBinariesPackage([import.meta.url]),
      site.user,
      site.home,
      systemRandom,
    )
    const squatter = createServer().listen(0, "127.0.0.1")
    await once(squatter, "listening")
    const { port } = squatter.address() as AddressInfo
    try {
      expect(await launch(site, binaries, { port, lean: false }, systemClock)).toBe("port-taken")
    } finally {
      squatter.close()
    }
    const server = await startEmbedded(project)
    expect(await launch(site, binaries, { port, lean: false }, systemClock)).toBe("outrun")
    expect((await startEmbedded(project)).pid).toBe(server.pid)
  })

  test("is started again after it was killed, with all that was committed, even while a session of it goes on computing", async () => {
    const before = await startEmbedded(project)
    await query(before.url, "INSERT INTO kept VALUES (2)")
    // A session that does not wait for anything does not notice that its server is gone, and holds its memory.
    const busy = query(before.url, "SELECT count(*) FROM generate_series(1, 100000000000) g WHERE g % 2 = 3").catch(
      () => "cut",
    )
    await expect
      .poll(() =>
        query(
          before.url,
          "SELECT 1 AS busy FROM pg_stat_activity WHERE query LIKE '%g \\% 2 = 3%' AND pid <> pg_backend_pid()",
        ),
      )
      .toEqual([{ busy: 1 }])
    process.kill(before.pid, "SIGKILL")
    const after = await startEmbedded(project)
    expect(after).toEqual({ ...before, pid: after.pid, started: true })
    expect(after.pid).not.toBe(before.pid)
    expect(await query(after.url, "SELECT id FROM kept ORDER BY id")).toEqual([{ id: 1 }, { id: 2 }])
    expect(await busy).toBe("cut")
  })

  test("is started although a stale pid file names a process that is gone, or one that is something else", async () => {
    const before = await startEmbedded(project)
    const lockFile = join(before.dataDirectory, "postmaster.pid")
    const content = await readFile(lockFile, "utf8")
    const { uid, gid } = await stat(before.dataDirectory)
    // PostgreSQL itself only trusts pids of its own account.
    const other = spawn("sleep", ["600"], { uid, gid })
    await once(other, "spawn")
    const gone = spawn("true")
    await once(gone, "exit")
    try {
      for (const pid of [gone.pid!, other.pid!]) {
        await stopEmbedded(project)
        await writeFile(lockFile, content.replace(/^\d+/, String(pid)))
        expect(await embeddedStatus(project)).toMatchObject({ state: "stopped" })
        const after = await startEmbedded(project)
        expect(after.started).toBe(true)
        expect(await query(after.url, "SELECT count(*)::int AS n FROM kept")).toEqual([{ n: 2 }])
      }
      expect(other.exitCode).toBe(null)
      expect((await readdir(before.dataDirectory)).filter((name) => name.startsWith("postmaster.pid"))).toEqual([
        "postmaster.pid",
      ])
    } finally {
      other.kill()
    }
  })

  test("is not started on data of another major version: the error names both", async () => {
    const { dataDirectory, version } = await startEmbedded(project)
    await stopEmbedded(project)
    const file = join(dataDirectory, "PG_VERSION")
    const original = await readFile(file, "utf8")
    await writeFile(file, "15\n")
    await expect(startEmbedded(project)).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringMatching(`PostgreSQL 15.*PostgreSQL ${version.split(".")[0]}$`) as string,
      where: dataDirectory,
      hint: expect.stringContaining("dump") as string,
    })
    await writeFile(file, original)
    await startEmbedded(project)
  })

  test("fails with what its log says when it cannot start", async () => {
    const { dataDirectory } = await startEmbedded(project)
    await stopEmbedded(project)
    const file = join(dataDirectory, "postgresql.conf")
    const original = await readFile(file, "utf8")
    await writeFile(file, `${original}\nmax_connections = many\n`)
    await expect(startEmbedded(project)).rejects.toMatchObject({
      code: "RESOURCE",
      message: expect.stringContaining("max_connections") as string,
      where: join(project, ".spillway", "postgres", "server.log"),
    })
    await writeFile(file, original)
    await startEmbedded(project)
  })

  test("goes with its folder when that is moved", async () => {
    const before = await startEmbedded(project)
    await stopEmbedded(project)
    const moved = await projectFolder()
    await rename(join(project, ".spillway"), join(moved, ".spillway"))
    const after = await startEmbedded(moved)
    expect(after).toMatchObject({ port: before.port, dataDirectory: join(moved, ".spillway", "postgres", "data") })
    expect(await query(after.url, "SELECT count(*)::int AS n FROM kept")).toEqual([{ n: 2 }])
    expect(await embeddedStatus(project)).toEqual({ state: "absent" })
  })
})

test("several commands that start at once in a new project get one and the same server", async () => {
  const project = await projectFolder()
  const [here, again, ...elsewhere] = await Promise.all([
    startEmbedded(project),
    startEmbedded(project),
    ...Array.from({ length: 3 }, async () => (await startElsewhere(project)).printed),
  ])
  const all = [here, again, ...elsewhere]
  expect(new Set(all.map(({ url, pid }) => `${url} ${pid}`)).size).toBe(1)
  expect(all.filter(({ started }) => started)).toHaveLength(1)
  expect(await postmastersOn(here.dataDirectory)).toEqual([here.pid])
  expect((await readdir(join(project, ".spillway", "postgres"))).sort()).toEqual(["data", "server.log", "state.json"])
})

test("a start that is killed while it makes the data directory leaves nothing in the way", async () => {
  const project = await projectFolder()
  const home = join(project, ".spillway", "postgres")
  const remains = async () => (await readdir(home).catch(() => [])).filter((name) => name.startsWith("data"))
  const child = spawn(process.execPath, [SCRIPT, project], { detached: true, stdio: "ignore" })
  const ended = once(child, "exit")
  await expect
    .poll(async () => readdir(join(home, (await remains())[0] ?? "none", "data")).catch(() => []), { interval: 5 })
    .toContain("base")
  process.kill(-child.pid!, "SIGKILL")
  await ended
  expect(await remains()).toEqual([expect.stringMatching(/^data\.init-/)])

  const server = await startEmbedded(project)
  expect(await query(server.url, "SELECT 1 AS one")).toEqual([{ one: 1 }])
  await stopEmbedded(project)
  await rename(server.dataDirectory, join(home, "elsewhere"))
  // What was left may be another command's at work, until it is too old for that.
  const twoHoursLater = { ...systemClock, now: () => systemClock.now() + 7_200_000 }
  await startEmbedded(project, { clock: twoHoursLater })
  expect(await remains()).toEqual(["data"])
})

test("a folder that does not exist, and one without a server", async () => {
  await expect(startEmbedded("/nonexistent/project")).rejects.toMatchObject({
    code: "CONFIG",
    where: "/nonexistent/project",
  })
  const project = await projectFolder()
  expect(await embeddedStatus(project)).toEqual({ state: "absent" })
  expect(await embeddedUrl(project)).toBe(undefined)
  expect(await stopEmbedded(project)).toBe(false)
  expect(await readdir(project)).toEqual([])
})
