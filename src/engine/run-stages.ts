import { createHash } from "node:crypto"
import { reportedError, asSpillwayError, SpillwayError } from "../core/errors.ts"
import { addCounts, zeroCounts, type RunEventBody } from "../core/events.ts"
import { systemPorts, type Ports } from "../core/ports.ts"
import { completedStages } from "../ledger/checkpoints.ts"
import { nameRun, releaseLeases } from "../ledger/leases.ts"
import { abandonRuns, finishRun, insertRun, latestRun, resumeRun } from "../ledger/runs.ts"
import { recordRun } from "../observability/recorder.ts"
import { database as databaseOf, type Session } from "../postgres/session.ts"
import { Connection, successiveConnections } from "./connection.ts"
import { DEFAULT_LEASE_MS } from "./definition.ts"
import { eventStream } from "./event-stream.ts"
import { acquireLeases, keepLeases, leaseHeld, settleHolders, waitForLeases } from "./leasing.ts"
import { loadOf } from "./load-of.ts"
import { planPartitions } from "./plan-partitions.ts"
import type { RunReport, StageReport } from "./report.ts"
import { newId } from "./run-row.ts"
import { runLoad, type RunOptions } from "./run.ts"
import { sinkName } from "./sink-name.ts"
import type { Stages } from "./stages.ts"
import { stopSignal } from "./stop-signal.ts"

/** The whole of the stages is leased as one. */
const WHOLE = "stages"

/** What is known of the run as a whole. */
interface Parent {
  readonly runId: string
  readonly attempt: number
  /** Stages that an earlier attempt completed. */
  readonly completed: ReadonlySet<string>
}

/**
 * Runs stages one after the other; each is a run of its own, under the run of the whole. One that fails or holds something back
 * ends it; the next run is its next attempt and continues there.
 */
export async function runStages(stages: Stages, options: RunOptions): Promise<RunReport> {
  const ports = options.ports ?? systemPorts
  const started = ports.clock.monotonic()
  const database = typeof options.database === "string" ? databaseOf(options.database) : options.database
  const holder = ports.random.hex(8)
  const stop = stopSignal(options.signal)
  const stream = eventStream(stages.name, ports, options.on)
  const control = new Connection(database, holder, ports, stop.signal, stream.emit)
  try {
    const session = await control.session()
    const version = await versionOf(stages, ports)
    await lease(session, stages, { holder, ports, wait: options.wait ?? false, signal: stop.signal })
    const parent = await begin(session, stages, { holder, ports, version, full: options.full ?? false, options })
    const correlationId = options.correlationId ?? parent.runId
    const recorder = recordRun({ ...database, connect: successiveConnections(database, holder) }, ports, {
      correlationId,
    })
    stream.begin(parent.runId, parent.attempt, (event) => recorder.on(event))
    stream.emit({
      type: "run.started",
      resumed: parent.attempt > 1,
      definitionVersion: version,
      full: options.full ?? false,
    })
    const keeper = keepLeases(control, ports.clock, { holder, runId: parent.runId, leaseMs: DEFAULT_LEASE_MS }, () =>
      stop.abort(
        new SpillwayError("LEASE_LOST", `another run took over "${stages.name}"`, { hint: "spillway status" }),
      ),
    )
    const outcome = await carryOut(stages, parent, stream.emit, {
      ...options,
      ports,
      database,
      correlationId,
      signal: stop.signal,
    })
    await keeper()
    const report = reportOf(stages, parent, outcome, ports.clock.monotonic() - started, stream.warnings)
    try {
      await control.retrying("finishing the run", async (last) => {
        const { counts, partitions, nulls, error, status } = report
        await finishRun(last, parent.runId, holder, { status, totals: { counts, nulls, ...partitions }, error })
        await releaseLeases(last, holder)
      })
    } finally {
      const { counts, partitions, nulls, error, status, durationMs } = report
      stream.emit({ type: "run.finished", status, counts, nulls, durationMs, error, ...partitions })
      await recorder.flush()
    }
    return report
  } finally {
    stop.dispose()
    await control.end()
  }
}

async function versionOf(stages: Stages, ports: Ports): Promise<string> {
  const hash = createHash("sha256")
  for (const stage of stages.stages) hash.update(`${stage.name} ${(await loadOf(stage, ports)).definitionVersion}\n`)
  return hash.digest("hex").slice(0, 16)
}

async function lease(
  session: Session,
  stages: Stages,
  how: { holder: string; ports: Ports; wait: boolean; signal: AbortSignal },
): Promise<void> {
  const { holder, ports, signal } = how
  for (;;) {
    await settleHolders(session, ports.clock, stages.name, holder, signal)
    const request = { pipeline: stages.name, keys: [WHOLE], holder, leaseMs: DEFAULT_LEASE_MS }
    const { epochs, busy } = await acquireLeases(session, ports.clock, request, signal)
    if (epochs.size > 0) return
    if (!how.wait) throw leaseHeld(stages, busy)
    await waitForLeases(ports.clock, signal)
  }
}

async function begin(
  session: Session,
  stages: Stages,
  how: { holder: string; ports: Ports; version: string; full: boolean; options: RunOptions },
): Promise<Parent> {
  const { holder, ports, version, full } = how
  const latest = await latestRun(session, stages.name)
  const resumes =
    latest !== undefined &&
    latest.status !== "completed" &&
    latest.definitionVersion === version &&
    latest.full === full
  const attempt = resumes ? await resumeRun(session, latest, holder) : undefined
  if (resumes && attempt !== undefined) {
    await nameRun(session, holder, latest.runId)
    return { runId: latest.runId, attempt, completed: await completedStages(session, latest.runId) }
  }
  const runId = newId("run", ports)
  const correlationId = how.options.correlationId
  await insertRun(session, { runId, pipeline: stages.name, definitionVersion: version, full, correlationId, holder })
  await nameRun(session, holder, runId)
  await abandonRuns(session, stages.name, runId)
  return { runId, attempt: 1, completed: new Set() }
}

interface Outcome {
  readonly reports: readonly RunReport[]
  readonly stages: readonly StageReport[]
  readonly failure: SpillwayError | undefined
}

async function carryOut(
  stages: Stages,
  parent: Parent,
  emit: (event: RunEventBody) => void,
  options: RunOptions & { ports: Ports; signal: AbortSignal },
): Promise<Outcome> {
  const { clock } = options.ports
  const reports: RunReport[] = []
  const done: StageReport[] = []
  for (const stage of stages.stages) {
    const began = clock.monotonic()
    const finish = (status: StageReport["status"], report: RunReport | undefined, error: RunReport["error"]): void => {
      const counts = report?.counts ?? zeroCounts()
      const durationMs = clock.monotonic() - began
      done.push({ stage: stage.name, status, runId: report?.runId, counts, durationMs })
      emit({ type: "stage.finished", stage: stage.name, status, stageRunId: report?.runId, counts, durationMs, error })
    }
    try {
      options.signal.throwIfAborted()
      if (parent.completed.has(stage.name) && options.full !== true && (await isDone(stage, options))) {
        finish("skipped", undefined, undefined)
        continue
      }
      emit({ type: "stage.started", stage: stage.name })
      const report = await runLoad(await loadOf(stage, options.ports), options)
      reports.push(report)
      finish(report.status, report, report.error ?? heldError(report))
      if (report.status !== "completed") return { reports, stages: done, failure: failureOf(report) }
    } catch (thrown) {
      const failure = asSpillwayError(options.signal.aborted ? options.signal.reason : thrown)
      finish(failure.class === "cancelled" ? "cancelled" : "failed", undefined, reportedError(failure))
      return { reports, stages: done, failure: failure.class === "cancelled" ? failure : ofStage(stage.name, failure) }
    }
  }
  return { reports, stages: done, failure: undefined }
}

/** Whether a stage that was completed before still has nothing to do. */
async function isDone(stage: Stages["stages"][number], options: RunOptions & { ports: Ports }): Promise<boolean> {
  const plans = await planPartitions(stage, { ...options, full: false })
  return plans.every(({ reason }) => reason === "unchanged")
}

const heldError = (report: RunReport): RunReport["error"] => {
  const [first] = report.held
  if (first === undefined) return undefined
  const { partition, code, message, hint, where } = first
  return { code, message: `${partition}: ${message}`, hint, where }
}

const ofStage = (stage: string, { code, message, hint, where }: NonNullable<RunReport["error"]>): SpillwayError =>
  new SpillwayError(code, `stage ${stage}: ${message}`, { hint, where })

/** Why the stages after this one are not run; undefined when it was only held back, which the status tells. */
function failureOf(report: RunReport): SpillwayError | undefined {
  const { error, status } = report
  if (error !== undefined) return ofStage(report.pipeline, error)
  if (status === "cancelled") return new SpillwayError("CANCELLED", "the run was stopped")
  return undefined
}

function reportOf(
  stages: Stages,
  parent: Parent,
  { reports, stages: done, failure }: Outcome,
  durationMs: number,
  warnings: RunReport["warnings"],
): RunReport {
  const counts = zeroCounts()
  const partitions = { total: 0, chosen: 0, reasons: {}, published: 0, held: 0, unchanged: 0 }
  for (const report of reports) {
    addCounts(counts, report.counts)
    partitions.total += report.partitions.total
    partitions.chosen += report.partitions.chosen
    partitions.published += report.partitions.published
    partitions.held += report.partitions.held
    partitions.unchanged += report.partitions.unchanged
  }
  const held = reports.flatMap((report) =>
    report.held.map((partition) => ({ ...partition, partition: `${report.pipeline}/${partition.partition}` })),
  )
  const status =
    failure === undefined
      ? held.length > 0
        ? "partial"
        : "completed"
      : failure.class === "cancelled"
        ? "cancelled"
        : "failed"
  return {
    pipeline: stages.name,
    table: stages.stages.map(({ sink }) => sinkName(sink)).join(", "),
    runId: parent.runId,
    attempt: parent.attempt,
    status,
    counts,
    partitions,
    held,
    deadLetters: {},
    nulls: {},
    steps: {},
    stages: done,
    warnings: [...reports.flatMap((report) => report.warnings), ...warnings],
    durationMs,
    error: failure === undefined ? undefined : reportedError(failure),
  }
}
