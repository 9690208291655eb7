import { asSpillwayError, SpillwayError } from "../core/errors.ts"
import { zeroCounts, type RunEvent, type RunEventBody } from "../core/events.ts"
import { systemPorts, type Ports } from "../core/ports.ts"
import { nameRun, releaseLeases } from "../ledger/leases.ts"
import { adoptProgress, clearProgress, stagedProgress, type StagedProgress } from "../ledger/progress.ts"
import { abandonRun, finishRun, insertRun, resumeRun } from "../ledger/runs.ts"
import { dropStaging } from "../ledger/staging.ts"
import { recordRun } from "../observability/recorder.ts"
import { database as databaseOf, type Database, type Session } from "../postgres/session.ts"
import { createTarget, inspectTarget } from "../postgres/target.ts"
import { Connection } from "./connection.ts"
import type { Pipeline } from "./definition.ts"
import { definitionVersion } from "./definition-version.ts"
import { keepLeases, leaseHeld, waitForLeases } from "./leasing.ts"
import { divide } from "./plan.ts"
import { Publisher } from "./publisher.ts"
import type { RunReport } from "./report.ts"
import { newMember, StagingLost, type Group, type RunContext, type RunningTotals } from "./run-context.ts"
import { chooseWork, type Work } from "./choose-work.ts"
import { Stager } from "./stager.ts"
import { targetOf } from "./target-of.ts"

export interface RunOptions {
  /** Where `ops` and the target are: a database, or its URL. */
  database: Database | string
  /** Relative paths start here. Default: the working directory. */
  directory?: string
  ports?: Ports
  /** Read everything again, also what is unchanged. */
  full?: boolean
  /** Only these partitions. */
  partitions?: readonly string[]
  /** Wait while another run holds what there is to do, instead of throwing `LEASE_HELD`. */
  wait?: boolean
  /** Aborting stops the run after the batch at hand; the next run continues there. */
  signal?: AbortSignal
  on?: (event: RunEvent) => void
  /** Ties several runs together in logs and dead letters. */
  correlationId?: string
}

/** Group numbers of an attempt start here, so that a straggler of an earlier attempt never names a table of a later one. */
const GROUPS_PER_ATTEMPT = 10_000

/**
 * Runs a pipeline once: whatever is new or changed at its source goes into its table, exactly once. Throws only what ended
 * before a run began (`CONFIG`, `LEASE_HELD`, `DB_UNAVAILABLE`, …); afterwards the report tells how it ended.
 */
export async function runPipeline(pipeline: Pipeline, options: RunOptions): Promise<RunReport> {
  const ports = options.ports ?? systemPorts
  const started = ports.clock.monotonic()
  const database = typeof options.database === "string" ? databaseOf(options.database) : options.database
  const holder = ports.random.hex(8)
  const stop = stopSignal(options.signal)
  const stream = eventStream(pipeline, ports, options.on)
  const control = new Connection(database, holder, ports, stop.signal, stream.emit)
  try {
    const session = await control.session()
    const version = definitionVersion(pipeline)
    const work = await choose(session, pipeline, {
      ...options,
      ports,
      holder,
      version,
      signal: stop.signal,
      emit: stream.emit,
    })
    const run = await beginRun(session, pipeline, work, {
      holder,
      version,
      full: options.full ?? false,
      ports,
      correlationId: options.correlationId,
    })
    const recorder = recordRun(database, ports, {
      correlationId: options.correlationId,
      table: `${pipeline.sink.schema}.${pipeline.sink.name}`,
    })
    stream.begin(run.runId, run.attempt, (event) => recorder.on(event))
    const context: RunContext = {
      pipeline,
      target: targetOf(pipeline),
      ports,
      directory: options.directory ?? process.cwd(),
      holder,
      correlationId: options.correlationId,
      definitionVersion: version,
      signal: stop.signal,
      emit: stream.emit,
      steps: {},
      ...run,
    }
    stream.emit({
      type: "run.started",
      resumed: run.attempt > 1,
      definitionVersion: version,
      full: options.full ?? false,
    })
    const keeper = keepLeases(control, ports.clock, { holder, leaseMs: pipeline.leaseMs }, () =>
      stop.abort(
        new SpillwayError("LEASE_LOST", "another run took over all partitions of this one; nothing more is written", {
          where: `pipeline ${pipeline.name}, run ${run.runId}`,
          hint: "this run stops; the other one carries on: spillway status",
        }),
      ),
    )
    const connections = [control]
    let failure: SpillwayError | undefined
    try {
      await ports.failpoints.hit("run.started")
      await carryOut(context, work, database, connections)
      await ports.failpoints.hit("run.before-finish")
    } catch (error) {
      failure = asSpillwayError(stop.signal.aborted ? stop.signal.reason : error)
    }
    await keeper()
    const report = await end(control, context, work, failure, { started, warnings: stream.warnings })
    await recorder.flush()
    await Promise.all(connections.slice(1).map((connection) => connection.end()))
    return report
  } finally {
    stop.dispose()
    await control.end()
  }
}

/** Decides what to do and takes its leases; with `wait`, until there is something to do or nothing is left. */
async function choose(
  session: Session,
  pipeline: Pipeline,
  options: RunOptions & {
    ports: Ports
    holder: string
    version: string
    signal: AbortSignal
    emit: (event: RunEventBody) => void
  },
): Promise<Work> {
  for (;;) {
    const work = await chooseWork(session, pipeline, {
      directory: options.directory ?? process.cwd(),
      ports: options.ports,
      holder: options.holder,
      full: options.full ?? false,
      partitions: options.partitions,
      definitionVersion: options.version,
      signal: options.signal,
    })
    if (work.planned.length > 0 || work.busy.length === 0) return work
    if (!options.wait) throw leaseHeld(pipeline.name, work.busy)
    await waitForLeases(options.ports.clock, options.signal)
  }
}

/** Continues the interrupted run that `work` found, or begins a new one. */
async function beginRun(
  session: Session,
  pipeline: Pipeline,
  work: Work,
  start: { holder: string; version: string; full: boolean; ports: Ports; correlationId: string | undefined },
): Promise<{ runId: string; runNo: number; attempt: number; totals: RunningTotals }> {
  const { holder, ports } = start
  if (work.resumes !== undefined) {
    const { runId, runNo, counts, nulls, published } = work.resumes
    const attempt = await resumeRun(session, runId, holder)
    await nameRun(session, holder, runId)
    const totals = {
      counts: { ...zeroCounts(), ...counts },
      nulls: { ...nulls },
      codes: {},
      published,
      unchanged: work.unchanged,
      held: [],
    }
    return { runId, runNo, attempt, totals }
  }
  if (work.abandons !== undefined) await abandonRun(session, work.abandons)
  const stamp = new Date(ports.clock.now()).toISOString().replace(/[-:]|\.\d+/g, "")
  const runId = `run_${stamp}_${ports.random.hex(4)}`
  const runNo = await insertRun(session, {
    runId,
    pipeline: pipeline.name,
    definitionVersion: start.version,
    full: start.full,
    correlationId: start.correlationId,
    holder,
  })
  await nameRun(session, holder, runId)
  return {
    runId,
    runNo,
    attempt: 1,
    totals: { counts: zeroCounts(), nulls: {}, codes: {}, published: 0, unchanged: work.unchanged, held: [] },
  }
}

async function carryOut(context: RunContext, work: Work, database: Database, connections: Connection[]): Promise<void> {
  const { pipeline, ports, runId, emit } = context
  const connect = (): Connection => {
    const connection = new Connection(database, context.holder, ports, context.signal, emit)
    connections.push(connection)
    return connection
  }
  const staging = connect()
  await ports.failpoints.hit("leases.taken")
  tellPlan(context, work)
  const progress = await staging.retrying("looking up what is staged", async (session) => {
    await inspectTarget(session, context.target)
    await dropStaging(session, pipeline.name, context.runNo)
    await adoptProgress(session, runId, new Map(work.planned.map((plan) => [plan.partition.key, plan.epoch])))
    return stagedProgress(session, runId)
  })
  const groups = grouped(context, work, progress)
  await stageAndPublish(groups, progress, new Stager(context, staging), new Publisher(context, connect()))
  await staging.retrying("tidying up", async (session) => {
    await clearProgress(session, runId)
    // A table is there after a run, also when everything was held or there was nothing to load.
    if (!(await inspectTarget(session, context.target)))
      await session.transaction(() => createTarget(session, context.target))
  })
}

function tellPlan(context: RunContext, work: Work): void {
  const { emit } = context
  emit({
    type: "run.planned",
    total: work.total,
    todo: work.planned.length,
    unchanged: work.unchanged,
    bytes: work.planned.reduce((sum, plan) => sum + (plan.partition.bytes ?? 0), 0),
    reasons: work.reasons,
  })
  for (const warning of work.warnings)
    emit({
      type: "warning",
      code: warning.code,
      partition: warning.where,
      message: warning.message,
      hint: warning.hint,
    })
  if (work.busy.length > 0) {
    const held = leaseHeld(context.pipeline.name, work.busy)
    const message = `${work.busy.length} partitions are left to another run, which holds them`
    emit({ type: "warning", code: "LEASE_HELD", partition: undefined, message, hint: held.hint })
  }
}

function grouped(context: RunContext, work: Work, progress: readonly StagedProgress[]): Group[] {
  const numbers = new Map(progress.map((p) => [p.key, p.partitionNo]))
  let next = Math.max(0, ...numbers.values())
  const options = { whole: context.pipeline.publish === "run", firstGroup: context.attempt * GROUPS_PER_ATTEMPT }
  return divide(work.planned, progress, options).map(({ groupNo, planned }) => ({
    number: groupNo,
    members: planned.map((plan) => newMember(plan, numbers.get(plan.partition.key) ?? ++next)),
  }))
}

/** One group is published while the next one is read; what a crash of the server emptied is staged again. */
async function stageAndPublish(
  groups: readonly Group[],
  progress: readonly StagedProgress[],
  stager: Stager,
  publisher: Publisher,
): Promise<void> {
  const resumed = new Map(progress.map((p) => [p.key, p]))
  let publishing: { group: Group; done: Promise<void> } | undefined
  const publish = (group: Group): void => {
    const done = publisher.publish(group)
    // Awaited by `settle`; until then a failure must not count as unhandled.
    done.catch(() => undefined)
    publishing = { group, done }
  }
  const settle = async (): Promise<void> => {
    while (publishing !== undefined) {
      const { group, done } = publishing
      try {
        await done
        publishing = undefined
      } catch (error) {
        if (!(error instanceof StagingLost)) throw error
        await stager.startOver(group, error.message)
        await stager.stage(group, new Map())
        publish(group)
      }
    }
  }
  try {
    for (const group of groups) {
      const own = new Map(
        [...resumed].filter(([key]) => group.members.some((member) => member.plan.partition.key === key)),
      )
      await stager.stage(group, own)
      await settle()
      publish(group)
    }
  } catch (error) {
    await publishing?.done.catch(() => undefined)
    throw error
  }
  await settle()
}

async function end(
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
  const error = failure === undefined ? undefined : { code: failure.code, message: failure.message, hint: failure.hint }
  try {
    const session = await control.session()
    await finishRun(session, runId, holder, { status, totals: { ...totals, held: totals.held.length }, error })
    await releaseLeases(session, holder)
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
    pipeline: context.pipeline.name,
    table: `${context.target.schema}.${context.target.name}`,
    runId,
    attempt: context.attempt,
    status,
    counts,
    partitions: {
      total: work.total,
      chosen: work.planned.length,
      reasons: work.reasons,
      published,
      held: totals.held.length,
      unchanged,
    },
    held: totals.held,
    deadLetters: totals.codes,
    nulls,
    steps: context.steps,
    warnings: more.warnings,
    durationMs,
    error,
  }
}

/** The run's own signal: aborted by the caller's or by the run itself. */
function stopSignal(outer: AbortSignal | undefined): {
  signal: AbortSignal
  abort(reason: SpillwayError): void
  dispose(): void
} {
  const controller = new AbortController()
  const relay = (): void => {
    const reason: unknown = outer?.reason
    const error =
      reason instanceof SpillwayError
        ? reason
        : new SpillwayError("CANCELLED", "stopped on request", {
            hint: "run the same command again: it continues where it stopped",
          })
    controller.abort(error)
  }
  if (outer?.aborted) relay()
  outer?.addEventListener("abort", relay, { once: true })
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    dispose: () => outer?.removeEventListener("abort", relay),
  }
}

/** Stamps events and hands them to everyone who listens; what was emitted before the run had a name is handed on when it has one. */
function eventStream(pipeline: Pipeline, ports: Ports, on: ((event: RunEvent) => void) | undefined) {
  const warnings: { code: SpillwayError["code"]; message: string }[] = []
  const early: RunEventBody[] = []
  let send: ((event: RunEventBody) => void) | undefined
  const emit = (event: RunEventBody): void => {
    if (event.type === "warning") warnings.push({ code: event.code, message: event.message })
    if (send === undefined) early.push(event)
    else send(event)
  }
  return {
    warnings,
    emit,
    begin(runId: string, attempt: number, record: (event: RunEvent) => void) {
      send = (body) => {
        const event = { time: ports.clock.now(), pipeline: pipeline.name, runId, attempt, ...body } as RunEvent
        record(event)
        on?.(event)
      }
      for (const event of early.splice(0)) send(event)
    },
  }
}
