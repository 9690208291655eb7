import { execFile } from "node:child_process"
import { chmod, chown, mkdtemp, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import pg from "pg"
import { afterEach, expect, test } from "vitest"
import { z } from "zod"
import { csv, files, openDatabase, pipeline, runPipeline, table } from "../../src/index.ts"
import { migrations } from "../../src/ledger/migrations/index.ts"
import { startEmbedded, stopEmbedded } from "../../src/postgres/embedded.ts"
import { migrate } from "../../src/postgres/migrate.ts"
import { database } from "../../src/postgres/session.ts"
import { systemClock, systemPorts, type Clock } from "../../src/testing/index.ts"
import { testDatabaseUrl } from "../postgres/server.ts"

const command = promisify(execFile)
const clients = new Map<string, pg.Client>()
const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  for (const url of [...clients.keys()]) await disconnect(url)
})

/** A disk of its own of so many MB, in memory. Needs the right to mount. */
async function smallDisk(megabytes: number): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "spillway-disk-"))
  await command("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m,mode=0755`, "tmpfs", folder])
  cleanups.push(async () => {
    await command("umount", ["-l", folder])
    await rm(folder, { recursive: true, force: true })
  })
  return folder
}

const ROWS = 60_000
/** Three files of some 7 MB each. */
async function data(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "spillway-full-"))
  cleanups.push(() => rm(folder, { recursive: true, force: true }))
  for (const [n, name] of ["a", "b", "c"].entries()) {
    const lines = Array.from({ length: ROWS }, (_, i) => `${n * ROWS + i},${"x".repeat(100)}${i % 7}\n`)
    await writeFile(join(folder, `${name}.csv`), `id,what\n${lines.join("")}`)
  }
  return folder
}

const orders = pipeline({
  name: "orders",
  source: files("*.csv", { format: csv() }),
  schema: z.object({ id: z.int(), what: z.string() }),
  sink: table("orders", { key: ["id"] }),
  // A run that could not give its leases back is waited for until they expire.
  leaseMs: 2_000,
})

/** Waits take a twentieth of their time, and so do the two minutes for which a run rides out a database that is away. */
const hastyClock: Clock = {
  ...systemClock,
  monotonic: () => systemClock.monotonic() * 20,
  sleep: (ms, signal) => systemClock.sleep(ms / 20, signal),
  after: (ms, task) => systemClock.after(ms / 20, task),
}
const ports = { ...systemPorts, clock: hastyClock }

/** By one connection for each address, made before its disk is full: a server without room may refuse a new one, too. */
async function query<T>(url: string, sql: string): Promise<T[]> {
  let client = clients.get(url)
  if (client === undefined) {
    client = new pg.Client({ connectionString: url })
    clients.set(url, client)
    // One whose server ended is not asked again.
    client.on("error", () => clients.delete(url))
    await client.connect()
  }
  return (await client.query(sql)).rows as T[]
}

/** To drop what it is connected to. */
async function disconnect(url: string): Promise<void> {
  const client = clients.get(url)
  clients.delete(url)
  await client?.end()
}

/** Whole files only, or no table at all. */
async function wholeFiles(url: string): Promise<string[]> {
  const [found] = await query<{ there: boolean }>(url, `SELECT to_regclass('orders') IS NOT NULL AS there`)
  if (!found?.there) return []
  const rows = await query<{ source: string; count: number }>(
    url,
    `SELECT _source AS source, count(*)::int FROM orders GROUP BY 1`,
  )
  for (const row of rows) expect(row).toEqual({ source: row.source, count: ROWS })
  return rows.map((row) => row.source)
}

async function expectAllLoaded(url: string): Promise<void> {
  expect((await wholeFiles(url)).sort()).toEqual(["a.csv", "b.csv", "c.csv"])
  expect(await query(url, `SELECT count(*)::int, min(id)::int, max(id)::int FROM orders`)).toEqual([
    { count: 3 * ROWS, min: 0, max: 3 * ROWS - 1 },
  ])
  expect(
    await query(
      url,
      `SELECT relname FROM pg_class WHERE relnamespace = 'ops_staging'::regnamespace AND relname ~ '^run_'`,
    ),
  ).toEqual([])
}

test("no room for tables: RESOURCE with a hint, whole files or nothing; with room the same command completes", async () => {
  const admin = await testDatabaseUrl()
  const disk = await smallDisk(28)
  const [{ directory } = { directory: "" }] = await query<{ directory: string }>(
    admin,
    `SELECT setting AS directory FROM pg_settings WHERE name = 'data_directory'`,
  )
  const owner = await stat(directory)
  await chown(disk, owner.uid, owner.gid)
  const name = `full_${process.pid}`
  await query(admin, `CREATE TABLESPACE ${name} LOCATION '${disk}'`)
  cleanups.push(() => query(admin, `DROP TABLESPACE ${name}`))
  await query(admin, `CREATE DATABASE ${name} TEMPLATE template0 TABLESPACE ${name}`)
  cleanups.push(() => query(admin, `DROP DATABASE ${name} WITH (FORCE)`))
  const url = new URL(admin)
  url.pathname = `/${name}`
  cleanups.push(() => disconnect(url.href))
  const session = await database(url.href).connect()
  await migrate(session, migrations)
  await session.end()

  const directoryOfFiles = await data()
  const run = (partitions?: string[]) =>
    runPipeline(orders, {
      database: url.href,
      directory: directoryOfFiles,
      ports,
      ...(partitions ? { partitions } : {}),
    })
  expect(await run(["a.csv"])).toMatchObject({ status: "completed", counts: { inserted: ROWS } })
  expect(await wholeFiles(url.href)).toEqual(["a.csv"])
  const full = await run()
  expect(full).toMatchObject({
    status: "failed",
    held: [],
    error: { code: "RESOURCE", hint: expect.stringMatching(/disk space|make room/) as string },
  })
  expect(await wholeFiles(url.href)).toEqual(["a.csv"])

  await command("mount", ["-o", "remount,size=300m", disk])
  const resumed = await run()
  expect(resumed).toMatchObject({ status: "completed", runId: full.runId, attempt: 2 })
  expect(resumed.counts).toMatchObject({ read: 2 * ROWS, inserted: 2 * ROWS })
  await expectAllLoaded(url.href)
})

test("no room for anything, the server's log included: the run ends with a hint, and the same command completes once there is", async () => {
  const project = await smallDisk(320)
  await chmod(project, 0o755)
  cleanups.push(() => stopEmbedded(project))
  const opened = await openDatabase({ directory: project, env: {} })
  const { dataDirectory } = await startEmbedded(project)
  const ballast = join(project, "ballast")
  const { stdout } = await command("df", ["--output=avail", "-B1M", dataDirectory])
  const free = Number(stdout.trim().split("\n").at(-1))
  expect(dataDirectory.startsWith(project)).toBe(true)
  await writeFile(ballast, Buffer.alloc((free - 12) << 20))

  const directory = await data()
  const first = await runPipeline(orders, { database: opened, directory, ports }).then(
    (report) => report.error,
    (error: unknown) => error,
  )
  expect(["RESOURCE", "DB_UNAVAILABLE"]).toContain((first as { code?: string } | undefined)?.code)
  expect(first).toMatchObject({ hint: expect.stringMatching(/\w/) as string })

  await rm(ballast)
  const again = await openDatabase({ directory: project, env: {} })
  await wholeFiles(again.url)
  const second = await runPipeline(orders, { database: again, directory, ports })
  expect(second).toMatchObject({ status: "completed", error: undefined })
  await expectAllLoaded(again.url)
})
