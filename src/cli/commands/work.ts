import type { Command } from "commander"
import type { WorkerSummary } from "../../scheduler/worker.ts"
import { plural } from "../../observability/wording.ts"
import { workView } from "../backfill-view.ts"
import { choosePipelines } from "../choose-pipelines.ts"
import { exitCodes } from "../exit-codes.ts"
import type { CommandContext, Host } from "../host.ts"
import { interruptOf } from "../interrupt.ts"
import type { Outcome } from "../output.ts"
import { loadProject } from "../project.ts"
import { concurrencyFrom } from "../worker-size.ts"

interface WorkFlags {
  concurrency?: string
  maxConnections?: string
  once?: boolean
}

export function workCommand(program: Command, context: CommandContext): void {
  program
    .command("work")
    .description("take partitions of backfills and run what is scheduled, until Ctrl-C")
    .option("--concurrency <n>", "jobs at a time in this process (default: 2)")
    .option(
      "--max-connections <n>",
      "at most so many database connections: 4, and 4 (6 with stages) for each job at a time",
    )
    .option("--once", "end when nothing is queued any more")
    .addHelpText(
      "after",
      `
Start as many as you like, on as many machines as you like: each partition is built by one of them, each tick of a schedule
is run by one of them. Ctrl-C gives back what is in hand and exits with 130; Ctrl-C again stops at once. What a killed worker
had in hand is taken over by the others within 20 seconds.

Examples:
  spillway work
  spillway work --concurrency 4
  spillway work --once`,
    )
    .action((flags: WorkFlags) => context.act((host) => work(host, flags)))
}

async function work(host: Host, flags: WorkFlags): Promise<Outcome> {
  const loaded = await loadProject(host.projectOption, {
    directory: host.directory,
    env: host.env,
    files: host.ports.files,
  })
  const pipelines = choosePipelines(loaded, [])
  const view = await workView(host, "work")
  const interrupt = interruptOf(
    host.signals,
    host.ports.clock,
    () => view.tell("giving back what is in hand; press Ctrl-C again to stop at once"),
    () => view.stop(),
  )
  try {
    const { openDatabase } = await import("../../engine/database.ts")
    const database = await openDatabase({ directory: loaded.directory, env: host.env })
    const scheduler = await import("../../scheduler/worker.ts")
    const { projectWorkload } = await import("../../scheduler/workload.ts")
    const workload = projectWorkload(pipelines, { database, directory: loaded.directory, ports: host.ports })
    const concurrency = await concurrencyFrom(host, workload, flags)
    const names = workload.items.map((item) => item.name)
    const summary = await scheduler.work({
      workload,
      database,
      ports: host.ports,
      concurrency,
      schedules: true,
      signal: interrupt.signal,
      on: (event) => view.on(event),
      onRun: (event) => view.onRun(event),
      ...(flags.once ? { enough: scheduler.nothingLeft(names) } : {}),
    })
    return outcomeOf(host, summary, interrupt.signal.aborted)
  } finally {
    interrupt.dispose()
    view.stop()
  }
}

function outcomeOf(host: Host, summary: WorkerSummary, interrupted: boolean): Outcome {
  const { done, failed, returned } = summary
  const text = `${plural(done, "job")} done, ${failed} failed, ${returned} given back`
  if (host.output.terminal) host.output.note(text)
  if (!interrupted) return { data: summary }
  return {
    data: summary,
    exitCode: exitCodes.interrupted,
    error: { code: "CANCELLED", message: `stopped on request: ${text}`, hint: "start it again: spillway work" },
  }
}
