import type { RunEvent } from "../core/events.ts"
import { systemPorts, type Ports } from "../core/ports.ts"
import type { Model } from "../engine/model/model.ts"
import type { Pipeline } from "../engine/definition.ts"
import type { Project } from "../engine/project.ts"
import { database as databaseOf, type Database } from "../postgres/session.ts"
import type { BackfillReport } from "./backfill.ts"
import type { WorkerEvent } from "./events.ts"
import type { BackfillRange } from "./range.ts"
import type { WorkerSummary } from "./worker.ts"

// The queue is loaded by whoever works, so that declaring pipelines stays light.

export interface WorkOptions {
  /** Where `ops` and the tables are: a database, or its URL. */
  database: Database | string
  /** Relative paths start here. Default: the working directory. */
  directory?: string
  ports?: Ports
  /** Partitions at a time in this process. Default 2. */
  concurrency?: number
  /** Aborting stops after the batches at hand; what is not done is given back. */
  signal?: AbortSignal
  on?: (event: WorkerEvent) => void
  onRun?: (event: RunEvent) => void
}

/**
 * Builds the partitions of a range, several at a time here and over all workers. The same again continues what is unfinished.
 * Throws `CONFIG` for a range that is none or has no partitions, `DB_UNAVAILABLE`.
 */
export async function backfill(
  part: Pipeline | Model,
  range: BackfillRange,
  options: WorkOptions,
): Promise<BackfillReport | undefined> {
  const { runBackfill } = await import("./backfill.ts")
  const { checkRange, choosePartitions } = await import("./range.ts")
  const selection = checkRange(range)
  const { shared, workload } = await begin([part], options)
  return runBackfill({
    ...shared,
    workload,
    pipeline: part.name,
    request: {
      selection,
      choose: async () => {
        const found = await workload.partitionsOf(part.name, shared.signal)
        const { chosen, skipped } = choosePartitions(part.name, range, found)
        return { chosen, skipped: skipped.length }
      },
    },
  })
}

/** Takes partitions of the project's backfills and runs what is due by schedule, until `signal` is aborted. Throws `DB_UNAVAILABLE`. */
export async function work(project: Project, options: WorkOptions): Promise<WorkerSummary> {
  const worker = await import("./worker.ts")
  const { shared, workload } = await begin(project.pipelines, options)
  return worker.work({ ...shared, workload, schedules: true })
}

async function begin(runnables: Project["pipelines"], options: WorkOptions) {
  const { projectWorkload } = await import("./workload.ts")
  const database = typeof options.database === "string" ? databaseOf(options.database) : options.database
  const ports = options.ports ?? systemPorts
  const directory = options.directory ?? process.cwd()
  const shared = {
    database,
    ports,
    concurrency: options.concurrency ?? 2,
    signal: options.signal ?? new AbortController().signal,
    ...(options.on === undefined ? {} : { on: options.on }),
    ...(options.onRun === undefined ? {} : { onRun: options.onRun }),
  }
  return { shared, workload: projectWorkload(runnables, { database, directory, ports }) }
}
