import type { SpillwayError } from "../core/errors.ts"
import { asSpillwayError } from "../core/errors.ts"
import type { RunEvent } from "../core/events.ts"
import { systemPorts, type Ports } from "../core/ports.ts"
import { sharedBreakers } from "../ledger/breakers.ts"
import { releaseLeases } from "../ledger/leases.ts"
import { adoptProgress, clearProgress, stagedProgress, type StagedProgress } from "../ledger/progress.ts"
import { dropStaging } from "../ledger/staging.ts"
import { ownsRun } from "../ledger/runs.ts"
import { recordRun } from "../observability/recorder.ts"
import { database as databaseOf, type Database, type Session } from "../postgres/session.ts"
import { lockTarget } from "../postgres/publish.ts"
import { createTarget, inspectTarget, type Target } from "../postgres/target.ts"
import { Connection, successiveConnections } from "./connection.ts"
import type { Pipeline } from "./definition.ts"
import { eventStream } from "./event-stream.ts"
import type { FileOutput } from "./files/file-output.ts"
import { keepLeases, leaseHeld, waitForLeases } from "./leasing.ts"
import { pipelineLoad } from "./pipeline/pipeline-load.ts"
import { divide } from "./plan.ts"
import type { Load, Stager } from "./load.ts"
import { Publisher } from "./publish/publisher.ts"
import type { RunReport } from "./report.ts"
import { leaseLost, newMember, StagingUnusable, type Group, type RunContext } from "./run-context.ts"
import { beginRun, endRun } from "./run-row.ts"
import { stopSignal } from "./stop-signal.ts"
import { chooseWork, type PartitionFilter, type Work } from "./choose-work.ts"

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
  /** Further narrows what is done. */
  select?: PartitionFilter
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

/** Carries out a load once. Throws only what ended before a run began; afterwards the report tells how it ended. */
export async function runLoad(load: Load, options: RunOptions): Promise<RunReport> {
  const ports = options.ports ?? systemPorts
  const started = ports.clock.monotonic()
  const database = typeof options.database === "string" ? databaseOf(options.database) : options.database
  const holder = ports.random.hex(8)
  const stop = stopSignal(options.signal)
  const stream = eventStream(load.name, ports, options.on)
  const control = new Connection(database, holder, ports, stop.signal, stream.emit)
  const breakers = sharedBreakers(database)
  try {
    const session = await control.session()
    const work = await choose(session, load, { ...options, ports, holder, signal: stop.signal })
    const { target, run } = await begin(session, load, work, { ...options, holder, ports })
    // Under the holder's name, so that a run that takes over also ends a transaction its log was stopped in.
    const recorder = recordRun({ ...database, connect: successiveConnections(database, holder) }, ports, {
      correlationId: options.correlationId,
      table: load.table,
    })
    stream.begin(run.runId, run.attempt, (event) => recorder.on(event))
    const context: RunContext = {
      load,
      target,
      ports,
      directory: options.directory ?? process.cwd(),
      holder,
      correlationId: options.correlationId,
      signal: stop.signal,
      emit: stream.emit,
      breakers,
      steps: {},
      newColumns: [],
      ...run,
    }
    stream.emit({
      type: "run.started",
      resumed: run.attempt > 1,
      definitionVersion: load.definitionVersion,
      full: options.full ?? false,
    })
    const keeper = keepLeases(control, ports.clock, { holder, runId: run.runId, leaseMs: load.leaseMs }, () =>
      stop.abort(leaseLost(context, "all partitions")),
    )
    const connections: Connection[] = []
    let failure: SpillwayError | undefined
    try {
      await ports.failpoints.hit("run.started")
      await carryOut(load, context, work, database, connections)
      await ports.failpoints.hit("run.before-finish")
    } catch (error) {
      failure = asSpillwayError(stop.signal.aborted ? stop.signal.reason : error)
      // Whoever took over has also cleared away what this run had staged: that is not what went wrong.
      if (failure.class !== "cancelled" && (await isTakenOver(control, context)))
        failure = leaseLost(context, "this run")
    }
    await keeper()
    try {
      return await endRun(control, context, work, failure, { started, warnings: stream.warnings })
    } finally {
      await recorder.flush()
      await Promise.all(connections.map((connection) => connection.end()))
    }
  } finally {
    stop.dispose()
    await breakers.end()
    await control.end()
  }
}

/** Runs a pipeline once: whatever is new or changed at its source goes into its table, exactly once. Throws as `runLoad` does. */
export const runPipeline = (pipeline: Pipeline, options: RunOptions): Promise<RunReport> =>
  runLoad(pipelineLoad(pipeline), options)

/** Whether another run has resumed or replaced this one; false when the database cannot be asked. */
async function isTakenOver(control: Connection, { runId, holder }: RunContext): Promise<boolean> {
  try {
    return !(await ownsRun(await control.session(), runId, holder))
  } catch {
    return false
  }
}

/** Decides what to do and takes its leases; with `wait`, until there is something to do or nothing is left. */
async function choose(
  session: Session,
  load: Load,
  options: RunOptions & { ports: Ports; holder: string; signal: AbortSignal },
): Promise<Work> {
  for (;;) {
    const work = await chooseWork(session, load, {
      directory: options.directory ?? process.cwd(),
      ports: options.ports,
      holder: options.holder,
      full: options.full ?? false,
      partitions: options.partitions,
      select: options.select,
      signal: options.signal,
    })
    if (work.planned.length > 0 || work.busy.length === 0) return work
    if (!options.wait) throw leaseHeld(load, work.busy)
    await waitForLeases(options.ports.clock, options.signal)
  }
}

/** Learns what the table is to be and opens the run's row; where that fails, the leases are given back. */
async function begin(
  session: Session,
  load: Load,
  work: Work,
  options: RunOptions & { holder: string; ports: Ports },
): Promise<{ target: Target; run: Awaited<ReturnType<typeof beginRun>> }> {
  const { holder, ports, full = false, correlationId } = options
  try {
    const target = await load.target(session)
    return { target, run: await beginRun(session, load, work, { holder, full, ports, correlationId }) }
  } catch (error) {
    await releaseLeases(session, holder).catch(() => undefined)
    throw error
  }
}

async function carryOut(
  load: Load,
  context: RunContext,
  work: Work,
  database: Database,
  connections: Connection[],
): Promise<void> {
  const { ports, runId, emit } = context
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
    await dropStaging(session, load.name, context.runNo)
    await adoptProgress(session, runId, new Map(work.planned.map((plan) => [plan.partition.key, plan.epoch])))
    return stagedProgress(session, runId)
  })
  if (load.output !== undefined) await tidyFolder(context, load.output, staging)
  const groups = grouped(context, work, progress)
  await stageAndPublish(
    groups,
    progress,
    load.stager(context, staging, connect),
    new Publisher(context, connect(), connect()),
  )
  await staging.retrying("tidying up", async (session) => {
    await clearProgress(session, runId)
    // A table is there after a run, also when everything was held or there was nothing to load.
    if (load.output === undefined && !(await inspectTarget(session, context.target)))
      await session.transaction(async () => {
        await lockTarget(session, context.target)
        // Another run may have created it meanwhile.
        if (!(await inspectTarget(session, context.target))) await createTarget(session, context.target)
      })
  })
}

/** Clears away what interrupted runs have left in the folder, and says what of it is gone. */
async function tidyFolder(context: RunContext, output: FileOutput, connection: Connection): Promise<void> {
  const { load, emit } = context
  const gone = await connection.retrying("tidying the folder", (session) =>
    output.tidy(session, { ...context, pipeline: load.name, definitionVersion: load.definitionVersion }),
  )
  for (const name of gone)
    emit({
      type: "warning",
      code: "DATA_LOSS",
      partition: undefined,
      message: `${name} was published and is gone`,
      hint: "if it was taken away on purpose, nothing is to be done; --full writes it again",
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
    const held = leaseHeld(context.load, work.busy)
    const message = `${work.busy.length} partitions are left to another run, which holds them`
    emit({ type: "warning", code: "LEASE_HELD", partition: undefined, message, hint: held.hint })
  }
}

function grouped(context: RunContext, work: Work, progress: readonly StagedProgress[]): Group[] {
  const numbers = new Map(progress.map((p) => [p.key, p.partitionNo]))
  let next = Math.max(0, ...numbers.values())
  const { publish, groupBytes } = context.load
  const options = { whole: publish === "run", firstGroup: context.attempt * GROUPS_PER_ATTEMPT, groupBytes }
  return divide(work.planned, progress, options).map(({ groupNo, planned }) => ({
    number: groupNo,
    target: context.target,
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
        if (!(error instanceof StagingUnusable)) throw error
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
