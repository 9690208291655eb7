import { reportedError, type SpillwayError } from "../core/errors.ts"
import { zeroCounts } from "../core/events.ts"
import type { Ports } from "../core/ports.ts"
import { nameRun, releaseLeases } from "../ledger/leases.ts"
import { markUnfinished } from "../ledger/partitions.ts"
import { abandonRuns, finishRun, insertRun } from "../ledger/runs.ts"
import type { Session } from "../postgres/session.ts"
import type { Work } from "./choose-work.ts"
import type { Connection } from "./connection.ts"
import type { Load } from "./load.ts"
import type { RunReport } from "./report.ts"
import type { RunContext, RunningTotals } from "./run-context.ts"

/** A name that sorts by time: `run_20261121T140448Z_0bd1103d`. */
export function newId(what: "run" | "replay", { clock, random }: Pick<Ports, "clock" | "random">): string {
  const stamp = new Date(clock.now()).toISOString().replace(/[-:]|\.\d+/g, "")
  return `${what}_${stamp}_${random.hex(4)}`
}

/** Continues the interrupted run that `work` found, or begins a new one. */
export async function beginRun(
  session: Session,
  load: Load,
  work: Work,
  start: { holder: string; full: boolean; ports: Ports; correlationId: string | undefined },
): Promise<{ runId: string; runNo: number; attempt: number; totals: RunningTotals }> {
  const { holder, ports } = start
  if (work.resumes !== undefined) {
    const { runId, runNo, attempt, counts, nulls, published } = work.resumes
    await nameRun(session, holder, runId)
    await abandonRuns(session, load.name, runId)
    const totals = {
      counts: { ...zeroCounts(), ...counts },
      nulls: { ...nulls },
      codes: {},
      published,
      // What earlier attempts published is unchanged to the source, but it is this run's work.
      unchanged: Math.max(0, work.unchanged - published),
      held: [],
    }
    return { runId, runNo, attempt, totals }
  }
  const runId = newId("run", ports)
  const runNo = await insertRun(session, {
    runId,
    pipeline: load.name,
    definitionVersion: load.definitionVersion,
    full: start.full,
    correlationId: start.correlationId,
    holder,
  })
  await nameRun(session, holder, runId)
  await abandonRuns(session, load.name, runId)
  return {
    runId,
    runNo,
    attempt: 1,
    totals: { counts: zeroCounts(), nulls: {}, codes: {}, published: 0, unchanged: work.unchanged, held: [] },
  }
}

/** Closes the run's row, gives its leases back and reports. */
export async function endRun(
  control: Connection,
  context: RunContext,
  work: Work,
  failure: SpillwayError | undefined,
  more: { started: number; warnings: RunReport["warnings"] },
): Promise<RunReport> {
  const { totals, emit, runId, holder } = context
  const status =
    failure === undefined
      ? totals.held.length > 0
        ? "partial"
        : "completed"
      : failure.class === "cancelled"
        ? "cancelled"
        : "failed"
  const error = failure === undefined ? undefined : reportedError(failure)
  const finish = async (session: Session): Promise<void> => {
    await finishRun(session, runId, holder, { status, totals: { ...totals, held: totals.held.length }, error })
    const { load } = context
    if (error !== undefined && failure?.code !== "LEASE_LOST")
      await markUnfinished(session, { pipeline: load.name, runId, months: load.months }, error)
    await releaseLeases(session, holder)
  }
  try {
    if (failure === undefined) await control.retrying("finishing the run", finish)
    else await finish(await control.session())
  } catch (unreachable) {
    // The ledger then still says "running"; the next run finds the leases without a holder and continues.
    if (failure === undefined) throw unreachable
  }
  const durationMs = context.ports.clock.monotonic() - more.started
  const { counts, published, unchanged, nulls } = totals
  emit({
    type: "run.finished",
    status,
    counts,
    published,
    held: totals.held.length,
    unchanged,
    nulls,
    durationMs,
    error,
  })
  return {
    pipeline: context.load.name,
    table: context.load.table,
    runId,
    attempt: context.attempt,
    status,
    counts,
    partitions: {
      total: work.total,
      chosen: work.planned.length + (work.resumes?.published ?? 0),
      reasons: work.reasons,
      published,
      held: totals.held.length,
      unchanged,
    },
    held: totals.held,
    deadLetters: totals.codes,
    nulls,
    steps: context.steps,
    newColumns: context.newColumns,
    warnings: more.warnings,
    durationMs,
    error,
  }
}
