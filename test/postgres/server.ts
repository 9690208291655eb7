import { randomBytes } from "node:crypto"
import pg from "pg"

/** The URL of the test run's PostgreSQL, as its superuser. Tests make their own database on it: `freshDatabase()`. */
export function testDatabaseUrl(): Promise<string> {
  const url = process.env["SPILLWAY_TEST_DATABASE_URL"]
  if (url === undefined)
    throw new Error("SPILLWAY_TEST_DATABASE_URL is not set: run the tests with the project's vitest.config.ts")
  return Promise.resolve(url)
}

export interface FreshDatabase {
  readonly url: string
  readonly name: string
  /** Removes it; connections to it are cut. */
  drop(): Promise<void>
}

/** A new, empty database of its own on the test run's server. */
export async function freshDatabase(): Promise<FreshDatabase> {
  const admin = await testDatabaseUrl()
  const name = `t_${randomBytes(8).toString("hex")}`
  // wal_log (the default) copies template0 in a third of the time that file_copy, with its two checkpoints, takes.
  await once(admin, `CREATE DATABASE ${name} TEMPLATE template0`)
  const url = new URL(admin)
  url.pathname = `/${name}`
  return { url: url.href, name, drop: () => once(admin, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) }
}

async function once(url: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    await client.query(sql)
  } finally {
    await client.end()
  }
}
