import pg from "pg"
import { afterEach, beforeEach, expect, test } from "vitest"
import { migrations } from "../../src/ledger/migrations/index.ts"
import { migrate, type Migration } from "../../src/postgres/migrate.ts"
import { freshDatabase, type FreshDatabase } from "./server.ts"

let database: FreshDatabase
let clients: pg.Client[]
beforeEach(async () => {
  database = await freshDatabase()
  clients = []
})
afterEach(async () => {
  await Promise.all(clients.map((client) => client.end()))
  await database.drop()
})

async function connect(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: database.url })
  client.on("error", () => undefined)
  clients.push(client)
  await client.connect()
  return client
}

const one: Migration = { number: 1, name: "one", sql: "CREATE TABLE one (id int); INSERT INTO one VALUES (1)" }
const two: Migration = { number: 2, name: "two", sql: "CREATE TABLE two (id int); ALTER TABLE one ADD COLUMN more int" }

test("applies what is missing, in order, and then nothing", async () => {
  const client = await connect()
  expect(await migrate(client, [one])).toEqual({ applied: [1], already: [] })
  expect(await migrate(client, [one, two])).toEqual({ applied: [2], already: [1] })
  const before = await client.query("SELECT xmin, * FROM ops.schema_migrations ORDER BY number")
  expect(await migrate(client, [one, two])).toEqual({ applied: [], already: [1, 2] })
  const after = await client.query("SELECT xmin, * FROM ops.schema_migrations ORDER BY number")
  expect(after.rows).toEqual(before.rows)
  expect(after.rows).toMatchObject([
    { number: 1, name: "one" },
    { number: 2, name: "two" },
  ])
  expect((await client.query("SELECT id, more FROM one")).rows).toEqual([{ id: 1, more: null }])
})

test("many at once apply each migration once", async () => {
  const sessions = await Promise.all(Array.from({ length: 6 }, connect))
  const results = await Promise.all(sessions.map((session) => migrate(session, [one, two])))
  expect(results.flatMap(({ applied }) => applied).sort()).toEqual([1, 2])
  expect(results.flatMap(({ already }) => already)).toHaveLength(10)
  expect((await sessions[0]!.query("SELECT count(*)::int AS n FROM one")).rows).toEqual([{ n: 1 }])
})

test("a migration that fails leaves nothing of itself, keeps those before it, and lets go of the lock", async () => {
  const client = await connect()
  const broken: Migration = { number: 2, name: "broken", sql: "CREATE TABLE half (id int); SELECT 1 / 0" }
  await expect(migrate(client, [one, broken])).rejects.toMatchObject({
    message: expect.stringMatching(/migration 2 \(broken\).*division by zero/) as string,
  })
  expect(
    (await client.query("SELECT to_regclass('half') AS half, to_regclass('one') IS NOT NULL AS one")).rows,
  ).toEqual([{ half: null, one: true }])
  expect(await migrate(await connect(), [one, two])).toEqual({ applied: [2], already: [1] })
})

test("a migration that was changed after it was applied is refused, and nothing after it applied", async () => {
  const client = await connect()
  await migrate(client, [one])
  await expect(migrate(client, [{ ...one, sql: `${one.sql} ` }, two])).rejects.toMatchObject({
    code: "CONFIG",
    hint: expect.any(String) as string,
  })
  await client.query("UPDATE ops.schema_migrations SET checksum = 'tampered'")
  await expect(migrate(client, [one, two])).rejects.toMatchObject({ code: "CONFIG" })
  expect((await client.query("SELECT to_regclass('two') AS two")).rows).toEqual([{ two: null }])
})

test("a database that a newer version migrated is refused by name", async () => {
  const client = await connect()
  await migrate(client, [one, two])
  await expect(migrate(client, [one])).rejects.toMatchObject({
    code: "CONFIG",
    message: expect.stringContaining("migration 2 (two)") as string,
    hint: expect.stringContaining("upgrade") as string,
  })
})

test("stops between migrations when asked to", async () => {
  const client = await connect()
  const reason = new Error("asked to stop")
  await expect(migrate(client, [one], { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  expect(await migrate(client, [one])).toEqual({ applied: [1], already: [] })
})

test("a connection lost in the middle is said as such, and the next call completes", async () => {
  const client = await connect()
  const suicidal: Migration = {
    ...two,
    sql: "CREATE TABLE gone (id int); SELECT pg_terminate_backend(pg_backend_pid())",
  }
  await expect(migrate(client, [one, suicidal])).rejects.toMatchObject({ code: "DB_UNAVAILABLE" })
  expect(await migrate(await connect(), [one, two])).toEqual({ applied: [2], already: [1] })
})

test("a user without the right to create schemas is told what is missing, but may use what is migrated", async () => {
  const admin = await connect()
  const role = `${database.name}_reader`
  await admin.query(`CREATE ROLE ${role}`)
  try {
    const client = await connect()
    await client.query(`SET ROLE ${role}`)
    await expect(migrate(client, [one])).rejects.toMatchObject({
      code: "AUTH",
      hint: expect.stringContaining("GRANT CREATE") as string,
    })
    await migrate(admin, [one])
    await admin.query(`GRANT USAGE ON SCHEMA ops TO ${role}; GRANT SELECT ON ops.schema_migrations TO ${role}`)
    expect(await migrate(client, [one])).toEqual({ applied: [], already: [1] })
  } finally {
    await admin.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`)
  }
})

test("Spillway's own migrations apply to an empty database, and again change nothing", async () => {
  const client = await connect()
  const numbers = migrations.map(({ number }) => number)
  expect(numbers).toEqual(numbers.map((_, i) => i + 1))
  expect(await migrate(client, migrations)).toEqual({ applied: numbers, already: [] })
  expect(await migrate(client, migrations)).toEqual({ applied: [], already: numbers })
  const { rows } = await client.query<{ name: string }>(
    "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'ops'",
  )
  expect(rows.map(({ name }) => name)).toEqual(
    expect.arrayContaining(
      (
        "runs processed_partitions processed_months source_positions source_files leases dead_letters dead_letter_groups replays touched_partitions " +
        "metrics quality_results incidents reviews breakers retry_budgets pipeline_checkpoint pipeline_logs schema_migrations"
      ).split(" "),
    ),
  )
})
