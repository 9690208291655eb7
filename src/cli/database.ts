import { database, type Database, type Session } from "../postgres/session.ts"
import type { Host } from "./host.ts"

/** Runs `body` on a session of the project's database, which is started and migrated if need be. */
export async function withDatabase<T>(
  host: Host,
  directory: string,
  body: (session: Session) => Promise<T>,
): Promise<T> {
  const { openDatabase } = await import("../engine/database.ts")
  const opened = await openDatabase({
    directory,
    env: host.env,
    on: (note) => {
      if (host.output.verbose) host.output.note(note)
    },
  })
  return inSession(opened, body)
}

/**
 * The same, but undefined where the project has no database yet: reading must not create one. A server of one's own
 * that was never migrated counts as none.
 */
export async function withExistingDatabase<T>(
  host: Host,
  directory: string,
  body: (session: Session) => Promise<T>,
): Promise<T | undefined> {
  const { databaseSettings } = await import("../postgres/settings.ts")
  const settings = await databaseSettings(directory, host.env)
  if (settings.kind === "embedded") {
    const { embeddedStatus } = await import("../postgres/embedded.ts")
    if ((await embeddedStatus(directory)).state === "absent") return undefined
  } else if (!(await inSession(database(settings.url), isMigrated))) return undefined
  return withDatabase(host, directory, body)
}

async function isMigrated(session: Session): Promise<boolean> {
  const { rows } = await session.query<{ there: boolean }>(`SELECT to_regclass('ops.runs') IS NOT NULL AS there`)
  return rows[0]?.there === true
}

export async function inSession<T>(from: Database, body: (session: Session) => Promise<T>): Promise<T> {
  const session = await from.connect({ applicationName: "spillway-cli" })
  try {
    return await body(session)
  } finally {
    await session.end()
  }
}
