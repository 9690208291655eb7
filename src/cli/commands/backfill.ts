import type { Command } from "commander"
import type { SpillwayError } from "../../core/errors.ts"
import { isErrorCode } from "../../core/error-catalog.ts"
import { partsOf } from "../../engine/project.ts"
import type { BackfillReport } from "../../scheduler/backfill.ts"
import type { BackfillRange, ChosenPartitions } from "../../scheduler/range.ts"
import type { Workload } from "../../scheduler/workload.ts"
import { backfillSummary, workView } from "../backfill-view.ts"
import { choosePipelines } from "../choose-pipelines.ts"
import { notFound, usageError } from "../errors.ts"
import { exitCodes, type ExitCode } from "../exit-codes.ts"
import type { CommandContext, Host } from "../host.ts"
import { interruptOf } from "../interrupt.ts"
import type { Outcome } from "../output.ts"
import { loadProject } from "../project.ts"
import { columns } from "../table.ts"
import { concurrencyFrom } from "../worker-size.ts"

interface BackfillFlags {
  start?: string
  end?: string
  only?: string
  concurrency?: string
  maxConnections?: string
  resume?: boolean
  dryRun?: boolean
}

export function backfillCommand(program: Command, context: CommandContext): void {
  program
    .command("backfill")
    .description("build the partitions of a range, several at a time and over all workers")
    .argument("<pipeline>", "its name")
    .option("--start <when>", "from this year, month or day on: 2011, 2011-03 or 2011-03-09 (default: the first)")
    .option("--end <when>", "up to and with this year, month or day (default: the last)")
    .option("--only <reasons>", "failed, missing, stale, or several with commas (default: all that are not done)")
    .option("--concurrency <n>", "partitions at a time in this process (default: 2)")
    .option(
      "--max-connections <n>",
      "at most so many database connections: 4, and 4 (6 with stages) for each partition at a time",
    )
    .option("--resume", "go on with the newest backfill of this pipeline that has not finished")
    .option("--dry-run", "list what would be built and why; changes nothing")
    .addHelpText(
      "after",
      `
The same backfill again goes on with what is left of it and builds nothing twice. Ctrl-C gives back what is in hand; other
workers (spillway work) go on. A partition that fails is tried 3 times more. Exit codes: 0 all done, 6 some failed, 1 none
done, 130 interrupted.

Examples:
  spillway backfill orders --start 2011-03 --end 2011-05
  spillway backfill orders --only failed --concurrency 4
  spillway backfill orders --start 2010 --dry-run`,
    )
    .action((name: string, flags: BackfillFlags) => context.act((host) => backfill(host, name, flags)))
}

async function backfill(host: Host, name: string, flags: BackfillFlags): Promise<Outcome> {
  const { checkRange } = await import("../../scheduler/range.ts")
  const selection = checkRange(flags)
  if (flags.resume && (flags.start ?? flags.end ?? flags.only) !== undefined)
    throw usageError("--resume takes the range of the backfill it goes on with", "leave out --start, --end and --only")
  const loaded = await loadProject(host.projectOption, {
    directory: host.directory,
    env: host.env,
    files: host.ports.files,
  })
  // Stages are backfilled one by one.
  const pipelines = loaded.project.pipelines.flatMap((runnable) => [...new Set([runnable, ...partsOf(runnable)])])
  const [pipeline] = choosePipelines({ ...loaded, project: { ...loaded.project, pipelines } }, [name])
  if (pipeline?.kind === "stages")
    throw usageError(
      `"${name}" is made of stages, each with partitions of its own`,
      `backfill one after the other: ${pipeline.stages.map((stage) => stage.name).join(", ")}`,
    )
  const view = await workView(host, name)
  const interrupt = interruptOf(
    host.signals,
    host.ports.clock,
    () => view.tell("giving back what is in hand; press Ctrl-C again to stop at once"),
    () => view.stop(),
  )
  try {
    const { openDatabase } = await import("../../engine/database.ts")
    const database = await openDatabase({ directory: loaded.directory, env: host.env })
    const { projectWorkload } = await import("../../scheduler/workload.ts")
    const workload = projectWorkload(pipeline === undefined ? [] : [pipeline], {
      database,
      directory: loaded.directory,
      ports: host.ports,
    })
    const concurrency = await concurrencyFrom(host, workload, flags)
    const choose = (): Promise<ChosenPartitions> => chosenOf(workload, name, flags, interrupt.signal)
    if (flags.dryRun) return dryRun(host, name, await choose())
    const { runBackfill } = await import("../../scheduler/backfill.ts")
    const report = await runBackfill({
      workload,
      database,
      ports: host.ports,
      pipeline: name,
      concurrency,
      signal: interrupt.signal,
      request: flags.resume ? undefined : { selection, choose: counted(choose) },
      on: (event) => view.on(event),
      onRun: (event) => view.onRun(event),
      onProgress: (progress) => view.onProgress(progress),
    })
    view.stop()
    if (report === undefined) throw nothingToResume(name)
    return outcomeOf(host, report, interrupt.signal.aborted)
  } finally {
    interrupt.dispose()
    view.stop()
  }
}

async function chosenOf(
  workload: Workload,
  name: string,
  range: BackfillRange,
  signal: AbortSignal,
): Promise<ChosenPartitions> {
  const { choosePartitions } = await import("../../scheduler/range.ts")
  return choosePartitions(name, range, await workload.partitionsOf(name, signal))
}

const counted = (choose: () => Promise<ChosenPartitions>) => async () => {
  const { chosen, skipped } = await choose()
  return { chosen, skipped: skipped.length }
}

const nothingToResume = (name: string): SpillwayError =>
  notFound(`there is no unfinished backfill of "${name}"`, {
    where: `pipeline ${name}`,
    hint: "begin one: spillway backfill PIPELINE --start 2011-03 --end 2011-05",
  })

function dryRun(host: Host, name: string, { chosen, skipped }: ChosenPartitions): Outcome {
  host.output.note(`${chosen.length} of ${chosen.length + skipped.length} partitions of ${name} would be built`)
  const rows = chosen.map(({ key, reason, detail }) => [key, reason, detail ?? ""])
  return {
    data: { pipeline: name, partitions: chosen, skipped: skipped.length },
    text: columns(rows).join("\n"),
  }
}

/** All done, partly, none; or interrupted with something left. */
export function exitCodeOfBackfill(
  report: Pick<BackfillReport, "done" | "failed" | "queued" | "active">,
  interrupted: boolean,
): ExitCode {
  if (interrupted && report.queued + report.active > 0) return exitCodes.interrupted
  if (report.failed === 0) return exitCodes.ok
  return report.done > 0 ? exitCodes.partial : exitCodes.failure
}

function outcomeOf(host: Host, report: BackfillReport, interrupted: boolean): Outcome {
  const exitCode = exitCodeOfBackfill(report, interrupted)
  const { output } = host
  if (!output.json && !output.terminal) output.note(backfillSummary(report, output.stderrColors))
  return {
    data: report,
    ...(output.terminal ? { text: backfillSummary(report, output.colors) } : {}),
    exitCode,
    error: errorOf(report, exitCode),
  }
}

function errorOf(report: BackfillReport, exitCode: ExitCode): Outcome["error"] {
  const where = `pipeline ${report.pipeline}, ${report.id}`
  if (exitCode === exitCodes.interrupted)
    return {
      code: "CANCELLED",
      message: `stopped with ${report.queued + report.active} partitions left`,
      hint: `go on with: spillway backfill ${report.pipeline} --resume`,
      where,
    }
  const first = report.failures[0]
  if (exitCode === exitCodes.ok || first === undefined) return undefined
  const code = first.error?.code ?? "UNKNOWN"
  return {
    code: isErrorCode(code) ? code : "UNKNOWN",
    message: `${report.failed} of ${report.total} partitions failed, first ${first.key}: ${first.error?.message ?? ""}`,
    hint: first.error?.hint ?? `mend it, then: spillway backfill ${report.pipeline} --only failed`,
    where,
  }
}
