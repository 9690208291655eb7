import type { Command } from "commander"
import { reportedError, type SpillwayError } from "../../core/errors.ts"
import type { Runnable } from "../../engine/project.ts"
import type { RunReport } from "../../engine/report.ts"
import type { Database } from "../../postgres/session.ts"
import { choosePipelines, partitionNoun } from "../choose-pipelines.ts"
import { recogniseError, usageError } from "../errors.ts"
import { exitCodeOf, exitCodeOfRun, exitCodes, worst, type ExitCode } from "../exit-codes.ts"
import type { CommandContext, Host } from "../host.ts"
import { interruptOf } from "../interrupt.ts"
import type { Outcome } from "../output.ts"
import { loadProject } from "../project.ts"
import { planText, type RunPlan } from "../run-plan.ts"
import { resetFirst, whatIsReset } from "../run-reset.ts"
import { runSelection, type RunSelection, type SelectionOptions } from "../run-selection.ts"
import { runView, type RunView } from "../run-view.ts"

interface RunFlags extends SelectionOptions {
  full?: boolean
  wait?: boolean
  dryRun?: boolean
  reset?: boolean
  yes?: boolean
}

/** How one pipeline's turn ended: with a report, or with an error before a run began. */
type Turn = { readonly pipeline: Runnable } & ({ readonly report: RunReport } | { readonly error: SpillwayError })

export function runCommand(program: Command, context: CommandContext): void {
  program
    .command("run")
    .description("read what is new or changed at the sources, check it, publish it, and build what follows from it")
    .argument("[pipeline...]", "names; without one, all of the project run, each after those whose tables it reads")
    .option("--full", "read everything again, also what is unchanged; what is equal is not written")
    .option("--partition <key...>", "only these partitions (files, months) of one pipeline")
    .option("--year <year>", "only partitions of this year")
    .option("--month <month>", "only partitions of this month (1 to 12), of every year without --year")
    .option("--from <when>", "only from this year, month or day on: 2011, 2011-03 or 2011-03-09")
    .option("--to <when>", "only up to this year, month or day, included")
    .option("--only <reasons>", "only those that are failed, missing or stale; several with commas")
    .option("--dry-run", "list what would be done and why; changes nothing")
    .option("--reset", "forget first that the partitions asked for were processed, so that they are done again")
    .option("--yes", "do not ask before --reset")
    .option("--wait", "when another run is at work on the same, wait for it instead of exiting with 5")
    .addHelpText(
      "after",
      `
Ctrl-C stops after the batch in hand, and the next run goes on from there; Ctrl-C again stops at once.
On a terminal you get a summary; in a pipe, the log as JSON lines on stdout.

Examples:
  spillway run
  spillway run orders --full
  spillway run fact_sales_monthly --year 2011 --month 3 --dry-run
  spillway run fact_sales_monthly --only failed,stale
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
  const selection = runSelection(flags, pipelines, names.length > 0)
  if (flags.dryRun === true && flags.reset === true)
    throw usageError("--dry-run changes nothing, --reset does", "leave out one of them")
  if (flags.dryRun === true) return dryRun(host, loaded.directory, { pipelines, selection, full: flags.full ?? false })
  const correlationId = host.ports.random.hex(8)
  const view = await runView(host, correlationId)
  const interrupt = interruptOf(
    host.signals,
    host.ports.clock,
    () => view.tell("stopping after this batch; press Ctrl-C again to stop at once"),
    () => view.stop(),
  )
  try {
    const database = await openProjectDatabase(host, loaded.directory, view)
    if (flags.reset === true) {
      const plans = await plansOf(host, loaded.directory, {
        database,
        pipelines,
        selection,
        full: false,
        countRows: false,
      })
      if (!(await resetFirst(host, database, plans, { words: selection.words, yes: flags.yes ?? false })))
        return { data: { runs: [] }, text: "nothing was forgotten, nothing was run" }
      view.remark(`forgot ${whatIsReset(plans)}`)
    }
    const turns: Turn[] = []
    for (const pipeline of pipelines) {
      const turn = await take(host, {
        pipeline,
        database,
        directory: loaded.directory,
        flags,
        selection,
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

interface Asked {
  readonly pipelines: readonly Runnable[]
  readonly selection: RunSelection
  readonly full: boolean
}

/** What is asked for of each pipeline, and what is to be done about it. Reads only. */
async function plansOf(
  host: Host,
  directory: string,
  asked: Asked & { database: Database; countRows: boolean },
): Promise<RunPlan[]> {
  const { partitionsOf } = await import("../../engine/run-any.ts")
  const { database, selection, full, countRows } = asked
  const plans: RunPlan[] = []
  for (const runnable of asked.pipelines) {
    const partitions = await partitionsOf(runnable, { database, directory, ports: host.ports, full, countRows })
    plans.push({ runnable, partitions: selection.pick(runnable, partitions) })
  }
  return plans
}

async function dryRun(host: Host, directory: string, asked: Asked): Promise<Outcome> {
  const { openDatabase } = await import("../../engine/database.ts")
  const database = await openDatabase({ directory, env: host.env })
  const plans = await plansOf(host, directory, { ...asked, database, countRows: true })
  return {
    data: plans.map(({ runnable, partitions }) => ({
      pipeline: runnable.name,
      total: partitions.length,
      todo: partitions.filter(({ reason }) => reason !== "unchanged"),
    })),
    text: planText(plans, host.output.colors),
  }
}

async function openProjectDatabase(host: Host, directory: string, view: RunView): Promise<Database> {
  const { openDatabase } = await import("../../engine/database.ts")
  return openDatabase({ directory, env: host.env, on: (note) => view.remark(note) })
}

async function take(
  host: Host,
  work: {
    pipeline: Runnable
    database: Database
    directory: string
    flags: RunFlags
    selection: RunSelection
    correlationId: string
    view: RunView
    signal: AbortSignal
  },
): Promise<Turn> {
  const { pipeline, database, directory, flags, selection, correlationId, view, signal } = work
  try {
    signal.throwIfAborted()
    const { run: runOnce } = await import("../../engine/run-any.ts")
    const report = await runOnce(pipeline, {
      database,
      directory,
      ports: host.ports,
      correlationId,
      signal,
      full: flags.full ?? false,
      wait: flags.wait ?? false,
      ...selection.of(pipeline),
      on: (event) => view.on(event),
    })
    await view.report(report, partitionNoun(pipeline))
    if (report.status === "failed" && report.error !== undefined)
      host.output.error({ ...report.error, where: placed(report.error.where, report) })
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

function outcomeOf(turns: readonly Turn[], pipelines: readonly Runnable[], correlationId: string): Outcome {
  const exitCode = worst(turns.map(exitCodeOfTurn))
  const runs = turns.map((turn) =>
    "error" in turn
      ? {
          pipeline: turn.pipeline.name,
          status: "not_run",
          error: reportedError(turn.error),
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

/** Where an error happened, and in which run. */
function placed(where: string | undefined, { pipeline, runId }: RunReport): string {
  const run = `pipeline ${pipeline}, run ${runId}`
  return where === undefined || where.includes(runId) ? run : `${where} (${run})`
}

function errorOf(turn: Turn): Outcome["error"] {
  if ("error" in turn) return turn.error
  const { report } = turn
  if (report.error !== undefined) return { ...report.error, where: placed(report.error.where, report) }
  if (report.status === "cancelled")
    return {
      code: "CANCELLED",
      message: "the run was stopped",
      hint: "run the same command again: it goes on after the last batch",
      where: placed(undefined, report),
    }
  const first = report.held[0]
  const message = `${report.partitions.held} of ${report.partitions.total} ${partitionNoun(turn.pipeline)}s held${first === undefined ? "" : `, first ${first.partition}: ${first.message}`}`
  return { code: first?.code ?? "QUALITY_GATE", message, hint: first?.hint, where: placed(first?.where, report) }
}
