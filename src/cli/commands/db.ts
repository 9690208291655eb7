import type { Command } from "commander"
import type { DatabaseSettings } from "../../postgres/settings.ts"
import { notFound, usageError } from "../errors.ts"
import type { CommandContext, Host } from "../host.ts"
import type { Outcome } from "../output.ts"
import { locateFolder } from "../project.ts"

export function dbCommand(program: Command, context: CommandContext): void {
  const db = program
    .command("db")
    .description("the embedded PostgreSQL of the project: start, stop, status, url")
    .addHelpText("after", '\nExamples:\n  spillway db status\n  psql "$(spillway db url)"\n  spillway db stop')
  db.command("start")
    .description("start the embedded server, unless it runs (other commands do it when needed)")
    .action(() => context.act(start))
  db.command("stop")
    .description("stop the embedded server")
    .action(() => context.act(stop))
  db.command("status")
    .description("say which database the project uses and whether it is up; exit 5 when it is not reachable")
    .action(() => context.act(status))
  db.command("url")
    .description("print the database's URL, password included, for psql and other programs")
    .action(() => context.act(url))
}

async function settingsOf(host: Host): Promise<{ directory: string; settings: DatabaseSettings }> {
  const directory = await locateFolder(host.projectOption, host.directory, host.ports.files)
  const { databaseSettings } = await import("../../postgres/settings.ts")
  return { directory, settings: await databaseSettings(directory, host.env) }
}

/** The folder of a project that uses the embedded server. Throws `CONFIG` for one that does not. */
async function embeddedDirectory(host: Host, what: string): Promise<string> {
  const { directory, settings } = await settingsOf(host)
  if (settings.kind === "embedded") return directory
  throw usageError(
    `this project uses a database of yours (${settings.from}): there is nothing to ${what}`,
    "spillway db status shows whether it is reachable",
  )
}

async function start(host: Host): Promise<Outcome> {
  const directory = await embeddedDirectory(host, "start")
  const { startEmbedded } = await import("../../postgres/embedded.ts")
  const server = await startEmbedded(directory)
  const { port, pid, version, dataDirectory, started } = server
  return {
    data: { started, port, pid, version, dataDirectory },
    text: `PostgreSQL ${version} ${started ? "started" : "runs already"} on port ${port} (process ${pid}), data in ${dataDirectory}`,
  }
}

async function stop(host: Host): Promise<Outcome> {
  const directory = await embeddedDirectory(host, "stop")
  const { stopEmbedded } = await import("../../postgres/embedded.ts")
  const stopped = await stopEmbedded(directory)
  return {
    data: { stopped },
    text: stopped ? "the embedded PostgreSQL is stopped" : "the embedded PostgreSQL was not running",
  }
}

async function status(host: Host): Promise<Outcome> {
  const { directory, settings } = await settingsOf(host)
  if (settings.kind === "url") return ownServerStatus(settings)
  const { embeddedStatus } = await import("../../postgres/embedded.ts")
  const found = await embeddedStatus(directory)
  switch (found.state) {
    case "absent":
      return {
        data: { kind: "embedded", state: "absent" },
        text: "embedded PostgreSQL: none yet; the first run makes it",
      }
    case "stopped":
      return {
        data: { kind: "embedded", state: "stopped", dataDirectory: found.dataDirectory, log: found.log },
        text: `embedded PostgreSQL: stopped; data in ${found.dataDirectory}`,
      }
    case "starting":
    case "running":
      return {
        data: {
          kind: "embedded",
          state: found.state,
          port: found.port,
          pid: found.pid,
          dataDirectory: found.dataDirectory,
          log: found.log,
        },
        text: `embedded PostgreSQL: ${found.state} on port ${found.port} (process ${found.pid}); data in ${found.dataDirectory}`,
      }
  }
}

async function ownServerStatus(settings: Extract<DatabaseSettings, { kind: "url" }>): Promise<Outcome> {
  const { redactUrl } = await import("../../postgres/settings.ts")
  const { database } = await import("../../postgres/session.ts")
  const { inSession } = await import("../database.ts")
  const shown = redactUrl(settings.url)
  const version = await inSession(database(settings.url), async (session) => {
    const { rows } = await session.query<{ server_version: string }>("SHOW server_version")
    return rows[0]?.server_version ?? ""
  })
  return {
    data: { kind: "url", state: "running", url: shown, from: settings.from, version },
    text: `PostgreSQL ${version} at ${shown} (${settings.from})`,
  }
}

async function url(host: Host): Promise<Outcome> {
  const { directory, settings } = await settingsOf(host)
  if (settings.kind === "url") return { data: { url: settings.url }, text: settings.url }
  const { embeddedUrl } = await import("../../postgres/embedded.ts")
  const found = await embeddedUrl(directory)
  if (found === undefined)
    throw notFound("the project has no embedded PostgreSQL yet", {
      where: directory,
      hint: "make it with: spillway db start",
    })
  return { data: { url: found }, text: found }
}
