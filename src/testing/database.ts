import { openDatabase } from "../engine/database.ts"
import { systemRandom } from "../core/random.ts"
import { database, type Database } from "../postgres/session.ts"
import { migrate } from "../postgres/migrate.ts"
import { migrations } from "../ledger/migrations/index.ts"

export interface ThrowAwayDatabase extends Database {
  /** Removes it; connections to it are cut. */
  drop(): Promise<void>
}

/**
 * A new database with the `ops` schema and nothing else, for one test. It is made on the server that `url` names, or else
 * on the one of the project in `directory` (by default the embedded server of the working directory).
 */
export async function throwAwayDatabase(
  on: { url: string } | { directory: string } = { directory: process.cwd() },
): Promise<ThrowAwayDatabase> {
  const server = "url" in on ? database(on.url) : await openDatabase(on)
  const name = `test_${systemRandom.hex(8)}`
  await once(server, `CREATE DATABASE ${name} TEMPLATE template0`)
  const url = new URL(server.url)
  url.pathname = `/${name}`
  const made = database(url.href)
  const session = await made.connect()
  try {
    await migrate(session, migrations)
  } finally {
    await session.end()
  }
  return { ...made, drop: () => once(server, `DROP DATABASE IF EXISTS ${name} WITH (FORCE)`) }
}

async function once(server: Database, sql: string): Promise<void> {
  const session = await server.connect()
  try {
    await session.query(sql)
  } finally {
    await session.end()
  }
}
