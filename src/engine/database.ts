import { database, type Database } from "../postgres/session.ts"
import { databaseSettings } from "../postgres/settings.ts"

export interface OpenDatabaseOptions {
  /** The project's folder: its `.env` is read, and the embedded server keeps its data below it. */
  directory: string
  env?: NodeJS.ProcessEnv
  /** Told what takes a while: starting a server, migrating. */
  on?: (note: string) => void
}

/**
 * The database of a project: the one that `DATABASE_URL` or `DB_*` name, otherwise the embedded server, found or started.
 * The `ops` schema is created or migrated. Throws `CONFIG`, `DB_UNAVAILABLE`, `AUTH` or `RESOURCE`.
 */
export async function openDatabase(options: OpenDatabaseOptions): Promise<Database> {
  const settings = await databaseSettings(options.directory, options.env)
  let opened: Database
  if (settings.kind === "url") {
    opened = database(settings.url)
  } else {
    const { startEmbedded } = await import("../postgres/embedded.ts")
    const server = await startEmbedded(options.directory)
    if (server.started) options.on?.(`started the embedded PostgreSQL ${server.version} on port ${server.port}`)
    opened = database(server.url)
  }
  const { migrate } = await import("../postgres/migrate.ts")
  const { migrations } = await import("../ledger/migrations/index.ts")
  const session = await opened.connect()
  try {
    const { applied, already } = await migrate(session, migrations)
    if (applied.length > 0) options.on?.(`${already.length === 0 ? "created" : "migrated"} the ops schema`)
  } finally {
    await session.end()
  }
  return opened
}
