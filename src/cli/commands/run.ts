import type { Command } from "commander"
import type { SpillwayError } from "../../core/errors.ts"
import type { Pipeline } from "../../engine/definition.ts"
import type { RunReport } from "../../engine/report.ts"
import type { Database } from "../../postgres/session.ts"
import { choosePipelines, partitionNoun } from "../choose-pipelines.ts"
import { recogniseError, usageError } from "../errors.ts"
import { exitCodeOf, exitCodeOfRun, exitCodes, worst, type ExitCode } from "../exit-codes.ts"
import type { CommandContext, Host } from "../host.ts"
import { interruptOf } from "../interrupt.ts"
import type { Outcome } from "../output.ts"
import { loadProject } from "../project.ts"
import { runView, type RunView } from "../run-view.ts"

interface RunFlags {
  full?: boolean
  partition?: string[]
  wait?: boolean
}

/** How one pipeline's turn ended: with a report, or with an error before a run began. */
type Turn = { readonly pipeline: Pipeline } & ({ readonly report: RunReport } | { readonly error: SpillwayError })

export function runCommand(program: Command, context: CommandContext): void {
  program
    .command("run")
    .description("read what is new or changed at the sources, check it, and publish it")
    .argument("[pipeline...]", "names; without one, all pipelines of the project run, one after the other")
    .option("--full", "read everything again, also what is unchanged; what is equal is not written")
    .option("--partition <key...>", "only these partitions (files) of one pipeline")
    .option("--wait", "when another run is at work on the same, wait for it instead of exiting with 5")
    .addHelpText(
      "after",
      `
Ctrl-C stops after the batch in hand, and the next run goes on from there; Ctrl-C again stops at once.
On a terminal you get a summary; in a pipe, the log as JSON lines on stdout.

Examples:
  spillway run
  spillway run orders --full
  spillway run orders --partition data/2026-11-20.csv
  spillway run --json 2> run.log | jq .data`,
    )
    .action((names: string[], flags: RunFlags) => context.act((host) => run(host, names, flags)))
}

async function run(host: Host, names: readonly string[], flags: RunFlags): Promise<Outcome> {
  const loaded = await loadProject(host.projectOption, {
    directory: host.directory,
    env: host.env,
    files: host.ports.files,
  })
  const pipelines = choosePipelines(loaded, names)
  if (flags.partition !== undefined && pipelines.length !== 1)
    throw usageError(
      "--partition is about one pipeline, but several would run",
      "name the pipeline: spillway run PIPELINE --partition KEY",
    )
  const correlationId = host.ports.random.hex(8)
  const view = runView(host, correlationId)
  const interrupt = interruptOf(
    host.signals,
    host.ports.clock,
    () => view.tell("stopping after this batch; press Ctrl-C again to stop at once"),
    () => view.stop(),
  )
  try {
    const database = await openProjectDatabase(host, loaded.directory, view)
    const turns: Turn[] = []
    for (const pipeline of pipelines) {
      const turn = await take(host, {
        pipeline,
        database,
        directory: loaded.directory,
        flags,
        correlationId,
        view,
        signal: interrupt.signal,
      })
      turns.push(turn)
      if (endsAll(turn)) break
    }
    return outcomeOf(turns, pipelines, correlationId)
  } finally {
    interrupt.dispose()
    view.stop()
  }
}

async function openProjectDatabase(host: Host, directory: string, view: RunView): Promise<Database> {
  const { openDatabase } = await import("../../engine/database.ts")
  return openDatabase({ directory, env: host.env, on: (note) => view.remark(note) })
}

async function take(
  host: Host,
  work: {
    pipeline: Pipeline
    database: Database
    directory: string
    flags: RunFlags
    correlationId: string
    view: RunView
    signal: AbortSignal
  },
): Promise<Turn> {
  const { pipeline, database, directory, flags, correlationId, view, signal } = work
  try {
    signal.throwIfAborted()
    const { runPipeline } = await import("../../engine/run.ts")
    const report = await runPipeline(pipeline, {
      database,
      directory,
      ports: host.ports,
      correlationId,
      signal,
      full: flags.full ?? false,
      wait: flags.wait ?? false,
      ...(flags.partition === undefined ? {} : { partitions: flags.partition }),
      on: (event) => view.on(event),
    })
    await view.report(report, partitionNoun(pipeline))
    if (report.status === "failed" && report.error !== undefined)
      host.output.error({ ...report.error, where: `pipeline ${pipeline.name}, run ${report.runId}` })
    if (report.status === "cancelled" && !host.output.terminal)
      view.tell("stopped; run the same command again: it goes on after the last batch")
    return { pipeline, report }
  } catch (thrown) {
    const error = recogniseError(thrown)
    view.stop()
    host.output.error(error)
    return { pipeline, error }
  }
}

/** Asked to stop, or the database is away: the pipelines after this one would fare no better. */
function endsAll(turn: Turn): boolean {
  if ("error" in turn) return turn.error.code === "CANCELLED" || turn.error.code === "DB_UNAVAILABLE"
  return turn.report.status === "cancelled" || turn.report.error?.code === "DB_UNAVAILABLE"
}

const exitCodeOfTurn = (turn: Turn): ExitCode => ("error" in turn ? exitCodeOf(turn.error) : exitCodeOfRun(turn.report))

function outcomeOf(turns: readonly Turn[], pipelines: readonly Pipeline[], correlationId: string): Outcome {
  const exitCode = worst(turns.map(exitCodeOfTurn))
  const runs = turns.map((turn) =>
    "error" in turn
      ? {
          pipeline: turn.pipeline.name,
          status: "not_run",
          error: { code: turn.error.code, message: turn.error.message, hint: turn.error.hint },
        }
      : turn.report,
  )
  const notReached = pipelines.slice(turns.length).map((pipeline) => pipeline.name)
  const decisive = turns.find((turn) => exitCodeOfTurn(turn) === exitCode)
  return {
    data: { correlationId, runs, notReached },
    exitCode,
    error: exitCode === exitCodes.ok || decisive === undefined ? undefined : errorOf(decisive),
  }
}

function errorOf(turn: Turn): Outcome["error"] {
  if ("error" in turn) return turn.error
  const { report } = turn
  const where = `pipeline ${report.pipeline}, run ${report.runId}`
  if (report.error !== undefined) return { ...report.error, where }
  if (report.status === "cancelled")
    return {
      code: "CANCELLED",
      message: "the run was stopped",
      hint: "run the same command again: it goes on after the last batch",
      where,
    }
  const first = report.held[0]
  const message = `${report.partitions.held} of ${report.partitions.total} ${partitionNoun(turn.pipeline)}s held${first === undefined ? "" : `, first ${first.partition}: ${first.message}`}`
  return { code: first?.code ?? "QUALITY_GATE", message, hint: first?.hint, where }
}
