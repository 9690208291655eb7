import { Command, CommanderError } from "commander"
import { readFileSync } from "node:fs"
import { backfillCommand } from "./commands/backfill.ts"
import { checkCommand } from "./commands/check.ts"
import { dbCommand } from "./commands/db.ts"
import { dlqCommand } from "./commands/dlq.ts"
import { dlqReplaysCommand } from "./commands/dlq-replays.ts"
import { dlqEditCommand } from "./commands/dlq-edit.ts"
import { dlqLettersCommands } from "./commands/dlq-letters.ts"
import { explainCommand } from "./commands/explain.ts"
import { initCommand } from "./commands/init.ts"
import { logsCommand } from "./commands/logs.ts"
import { previewCommand } from "./commands/preview.ts"
import { pruneCommand } from "./commands/prune.ts"
import { replayCommand } from "./commands/replay-dlq.ts"
import { resetCommand } from "./commands/reset.ts"
import { runCommand } from "./commands/run.ts"
import { runUrlCommand } from "./commands/run-url.ts"
import { schemaCommand } from "./commands/schema.ts"
import { statusCommand } from "./commands/status.ts"
import { triageCommand } from "./commands/triage.ts"
import { workCommand } from "./commands/work.ts"
import { validateCommand } from "./commands/validate.ts"
import { recogniseError, usageError } from "./errors.ts"
import { exitCodeOf, exitCodes } from "./exit-codes.ts"
import type { CommandContext, World } from "./host.ts"
import { Output } from "./output.ts"
import type { SpillwayError } from "../core/errors.ts"

/** Runs the command line `argv` (without `node` and the script); gives what to exit with. Never throws for what a user can cause. */
export async function runCommandLine(argv: readonly string[], world: World): Promise<number> {
  const flags = flagsOf(argv)
  const output = new Output(world.stdout, world.stderr, world.env, flags)
  let exitCode: number = exitCodes.ok
  const context: CommandContext = {
    act: async (body) => {
      const outcome = await body({ ...world, output, projectOption: program.opts<{ project?: string }>().project })
      await output.finish(outcome)
      exitCode = outcome.exitCode ?? exitCodes.ok
    },
  }
  const program = buildProgram(context, output)
  try {
    await program.parseAsync([...argv], { from: "user" })
    return exitCode
  } catch (thrown) {
    if (thrown instanceof CommanderError && thrown.exitCode === 0) return exitCodes.ok
    // A command group without a command: its help was shown.
    if (thrown instanceof CommanderError && thrown.code === "commander.help" && !output.json) return exitCodes.usage
    const error = thrown instanceof CommanderError ? usageOf(thrown, argv, program) : recogniseError(thrown)
    await output.fail(error)
    return exitCodeOf(error)
  }
}

/** `--json` decides how even a mistyped command is answered, so it is looked for before anything is parsed. */
function flagsOf(argv: readonly string[]): { json: boolean; verbose: boolean } {
  const end = argv.indexOf("--")
  const flags = end < 0 ? argv : argv.slice(0, end)
  return { json: flags.includes("--json"), verbose: flags.includes("--verbose") || flags.includes("-v") }
}

const EXAMPLES = `
Examples:
  spillway run                          run all pipelines of the project in this folder
  spillway run --project examples/retail
  spillway status                       what ran, what is held, what was set aside
  spillway explain QUALITY_GATE         what a code means and what to do

Exit codes: 0 ok, 1 data or a check failed, 2 usage or configuration, 3 degraded (status --check), 4 not found,
5 something needed is not available, 6 partial, 130 interrupted.`

function buildProgram(context: CommandContext, output: Output): Command {
  const program = new Command("spillway")
    .description("Data pipelines into PostgreSQL that lose nothing and can be operated.")
    .usage("<command> [options]")
    .option(
      "--project <file|dir>",
      "the project: a folder with spillway.config.ts, or such a file (default: this folder)",
    )
    .option("--json", "answer with one line of JSON on stdout, also when something fails")
    .option("-v, --verbose", "say more: every step, and what caused an error")
    .version(versionOf(), "--version", "print the version")
    .helpOption("-h, --help", "show help")
    .addHelpText("after", EXAMPLES)
    .exitOverride()
    .configureHelp({ showGlobalOptions: true, styleTitle: (title) => output.colors.bold(title) })
    .configureOutput({
      writeOut: (text) => void output.data(text),
      writeErr: (text) => {
        if (!output.json) output.stderr.write(text)
      },
      // Errors are told in one way, by `Output.fail`.
      outputError: () => undefined,
    })
  for (const declare of [
    runCommand,
    backfillCommand,
    workCommand,
    statusCommand,
    logsCommand,
    dlqCommand,
    dlqLettersCommands,
    dlqEditCommand,
    dlqReplaysCommand,
    replayCommand,
    triageCommand,
    explainCommand,
    checkCommand,
    previewCommand,
    validateCommand,
    schemaCommand,
    runUrlCommand,
    resetCommand,
    pruneCommand,
    initCommand,
    dbCommand,
  ])
    declare(program, context)
  return program
}

function versionOf(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8")
  return (JSON.parse(text) as { version: string }).version
}

/** What commander found wrong, in our words and with its suggestion as the hint. */
function usageOf(error: CommanderError, argv: readonly string[], program: Command): SpillwayError {
  const [message = "", ...more] = error.message.replace(/^error: /, "").split("\n")
  if (error.code === "commander.help") return usageError("no command is given", "see spillway --help")
  const named = program.commands.find((command) => command.name() === argv.find((word) => !word.startsWith("-")))
  const help = `spillway ${named === undefined ? "" : `${named.name()} `}--help`
  const suggested = /Did you mean (?:one of )?(.+)\?/.exec(more.join(" "))?.[1]
  return usageError(message, suggested === undefined ? `see ${help}` : `did you mean ${suggested}? See ${help}`)
}
