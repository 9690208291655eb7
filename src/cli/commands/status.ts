import type { Command } from "commander"
import type { ErrorCode } from "../../core/errors.ts"
import { isErrorCode } from "../../core/error-catalog.ts"
import { readStatus, type PipelineStatus } from "../../ledger/status.ts"
import { withExistingDatabase } from "../database.ts"
import { recogniseError, usageError } from "../errors.ts"
import { exitCodes } from "../exit-codes.ts"
import type { CommandContext, Host } from "../host.ts"
import type { Outcome } from "../output.ts"
import { loadProject, locateFolder } from "../project.ts"
import { statusText, troubles, wasInterrupted } from "../status-text.ts"

interface StatusFlags {
  check?: boolean
  watch?: boolean
}

const WATCH_EVERY_MS = 2_000
const CLEAR_SCREEN = "\u001b[2J\u001b[3J\u001b[H"

export function statusCommand(program: Command, context: CommandContext): void {
  program
    .command("status")
    .description("say how each pipeline is: its last run, what is held, what was set aside, who is at work")
    .option("--check", "exit 3 when a last run failed, is partial or was interrupted, or a partition is held")
    .option("--watch", "look again every two seconds, until Ctrl-C (on a terminal)")
    .addHelpText(
      "after",
      "\nExamples:\n  spillway status\n  spillway status --check || notify-somebody\n  spillway status --json | jq '.data.pipelines[].lastRun.status'",
    )
    .action((flags: StatusFlags) => context.act((host) => status(host, flags)))
}

async function status(host: Host, flags: StatusFlags): Promise<Outcome> {
  if (flags.watch && (host.output.json || !host.output.terminal))
    throw usageError("--watch needs a terminal", "leave out --watch; in a script, call spillway status --check in turn")
  const directory = await locateFolder(host.projectOption, host.directory, host.ports.files)
  const declared = await declaredPipelines(host)
  const found = await withExistingDatabase(host, directory, async (session) => {
    while (flags.watch) {
      const { now, pipelines } = await readStatus(session)
      await host.output.data(`${CLEAR_SCREEN}${statusText(declared, pipelines, now, host.output.colors)}\n`)
      await host.ports.clock.sleep(WATCH_EVERY_MS)
    }
    return readStatus(session)
  })
  if (found === undefined || (found.pipelines.size === 0 && declared.length === 0)) return nothingYet(host, declared)
  return outcomeOf(host, flags, declared, found)
}

/** Their names; none, with a warning, where the project cannot be loaded: the ledger can be shown all the same. */
async function declaredPipelines(host: Host): Promise<string[]> {
  try {
    const { project } = await loadProject(host.projectOption, {
      directory: host.directory,
      env: host.env,
      files: host.ports.files,
    })
    return project.pipelines.map((pipeline) => pipeline.name)
  } catch (thrown) {
    const error = recogniseError(thrown)
    host.output.warn(`the project cannot be loaded, so only what has run is shown (${error.message})`)
    return []
  }
}

function nothingYet(host: Host, declared: readonly string[]): Outcome {
  host.output.note("nothing has run yet; begin with: spillway run")
  return {
    data: {
      pipelines: declared.map((pipeline) => ({ pipeline, lastRun: null, degraded: false, troubles: [] })),
      degraded: false,
    },
    text: statusText(declared, new Map(), new Date(host.ports.clock.now()), host.output.colors),
  }
}

function outcomeOf(
  host: Host,
  flags: StatusFlags,
  declared: readonly string[],
  found: { now: Date; pipelines: ReadonlyMap<string, PipelineStatus> },
): Outcome {
  const names = [...new Set([...declared, ...found.pipelines.keys()])]
  const pipelines = names.map((name) => {
    const known = found.pipelines.get(name)
    if (known === undefined) return { pipeline: name, lastRun: null, degraded: false, troubles: [] }
    const wrong = troubles(known)
    const lastRun =
      known.lastRun === undefined ? null : { ...known.lastRun, interrupted: wasInterrupted(known.lastRun) }
    return { ...known, lastRun, degraded: wrong.length > 0, troubles: wrong }
  })
  const degraded = pipelines.filter((pipeline) => pipeline.degraded)
  const failing = flags.check === true && degraded.length > 0
  const message = degraded.map((pipeline) => `${pipeline.pipeline}: ${pipeline.troubles.join(", ")}`).join("; ")
  if (failing) host.output.note(`degraded: ${message}`)
  return {
    data: { pipelines, degraded: degraded.length > 0, at: found.now },
    text: statusText(declared, found.pipelines, found.now, host.output.colors),
    exitCode: failing ? exitCodes.degraded : exitCodes.ok,
    error: failing
      ? { code: codeOf(degraded[0]?.pipeline, found.pipelines), message, hint: "spillway status tells what to do" }
      : undefined,
  }
}

/** The code of what is wrong with a pipeline. */
function codeOf(pipeline: string | undefined, known: ReadonlyMap<string, PipelineStatus>): ErrorCode {
  const status = pipeline === undefined ? undefined : known.get(pipeline)
  const code = status?.held[0]?.code ?? status?.lastRun?.error?.code ?? "UNKNOWN"
  return isErrorCode(code) ? code : "UNKNOWN"
}
