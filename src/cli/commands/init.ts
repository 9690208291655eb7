import type { Command } from "commander"
import type { CommandContext, Host } from "../host.ts"
import type { Outcome } from "../output.ts"
import { locateProject } from "../project.ts"

export function initCommand(program: Command, context: CommandContext): void {
  program
    .command("init")
    .description("create or migrate the ops schema in the project's database (run does it too, when needed)")
    .addHelpText(
      "after",
      "\nSafe to run twice, and by two at once.\n\nExamples:\n  spillway init\n  DATABASE_URL=postgres://… spillway init",
    )
    .action(() => context.act(init))
}

async function init(host: Host): Promise<Outcome> {
  const { directory } = await locateProject(host.projectOption, host.directory, host.ports.files)
  const { openDatabase } = await import("../../engine/database.ts")
  const { redactUrl } = await import("../../postgres/settings.ts")
  const database = await openDatabase({ directory, env: host.env, on: (note) => host.output.note(note) })
  const url = redactUrl(database.url)
  return { data: { url, ready: true }, text: `the ops schema is ready in ${url}` }
}
