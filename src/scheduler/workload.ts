import type { RunEvent } from "../core/events.ts"
import type { Ports } from "../core/ports.ts"
import type { Expected, Schedule } from "../core/schedule.ts"
import { partsOf, type Runnable } from "../engine/project.ts"
import type { RunReport } from "../engine/report.ts"
import { partitionsOf, run } from "../engine/run-any.ts"
import type { Database } from "../postgres/session.ts"

/** What can be scheduled and fanned out: a pipeline, a model, stages. */
export interface WorkItem {
  readonly name: string
  readonly schedule?: Schedule | undefined
  readonly expected?: Expected | undefined
}

/** A partition there is, and why it is to be done; `unchanged` when it is done. */
export interface PartitionState {
  readonly key: string
  readonly reason: string
  readonly detail?: string | undefined
}

export interface WorkloadRunOptions {
  /** Only these; undefined: whatever there is to do. */
  readonly partitions: readonly string[] | undefined
  readonly signal: AbortSignal
  readonly correlationId: string | undefined
  readonly on: (event: RunEvent) => void
}

/** What a project can run, by name, and how. */
export interface Workload {
  readonly items: readonly WorkItem[]
  /** Connections that one run holds at most. */
  readonly connectionsPerRun: number
  /** Runs it once, and waits where another run holds what there is to do. Throws only what ended before a run began. */
  run(name: string, options: WorkloadRunOptions): Promise<RunReport>
  /** Every partition there is. Reads only. */
  partitionsOf(name: string, signal: AbortSignal): Promise<readonly PartitionState[]>
}

/** Control, log, staging, publishing. */
const RUN_CONNECTIONS = 4
/** Stages have a control and a log of their own, over those of the stage that runs. */
const STAGES_CONNECTIONS = RUN_CONNECTIONS + 2
/**
 * A worker that dies is to be replaced within 20 seconds, also in its leases. On the same machine a dead process is noticed
 * at once; for others its leases have to expire.
 */
const LONGEST_LEASE_MS = 20_000

/** The pipelines, models and stages of a project, and what the stages are made of. */
export function projectWorkload(
  runnables: readonly Runnable[],
  at: { readonly database: Database; readonly directory: string; readonly ports: Ports },
): Workload {
  const byName = new Map<string, Runnable>()
  for (const runnable of runnables)
    for (const item of [runnable, ...partsOf(runnable)]) byName.set(item.name, withShortLease(item))
  const named = (name: string): Runnable => {
    const found = byName.get(name)
    if (found === undefined) throw new TypeError(`the workload has no ${name}`)
    return found
  }
  return {
    items: [...byName.values()],
    connectionsPerRun: runnables.some(({ kind }) => kind === "stages") ? STAGES_CONNECTIONS : RUN_CONNECTIONS,
    run: (name, { partitions, correlationId, ...options }) =>
      run(named(name), {
        ...at,
        ...options,
        wait: true,
        ...(partitions === undefined ? {} : { partitions }),
        ...(correlationId === undefined ? {} : { correlationId }),
      }),
    partitionsOf: (name, signal) => partitionsOf(named(name), { ...at, signal }),
  }
}

function withShortLease<T extends Runnable>(runnable: T): T {
  if (runnable.kind === "stages") return { ...runnable, stages: runnable.stages.map(withShortLease) }
  return { ...runnable, leaseMs: Math.min(runnable.leaseMs, LONGEST_LEASE_MS) }
}
