import { hostname } from "node:os"
import { asSpillwayError, SpillwayError } from "../core/errors.ts"
import type { RunEvent } from "../core/events.ts"
import type { Ports } from "../core/ports.ts"
import { hasQueued, pipelinesWithWork } from "../ledger/backfills.ts"
import type { Database } from "../postgres/session.ts"
import { checkSchedule } from "./cron.ts"
import type { WorkerEvent, WorkerEventBody } from "./events.ts"
import { watchOverdue } from "./overdue-watch.ts"
import { carryOutPartition, type JobEnd } from "./partition-job.ts"
import { JobQueue, QUEUE_CONNECTIONS, type Job } from "./queue.ts"
import { SerialSession } from "./serial-session.ts"
import { sweep } from "./sweep.ts"
import { carryOutTicks } from "./tick-job.ts"
import { TickWatch } from "./ticks.ts"
import type { WorkerContext } from "./worker-context.ts"
import type { Workload } from "./workload.ts"

export interface WorkerOptions {
  readonly workload: Workload
  readonly database: Database
  readonly ports: Ports
  /** Jobs at a time. */
  readonly concurrency: number
  /** Only jobs of these pipelines; default: all of the workload. */
  readonly pipelines?: readonly string[]
  /** Also decides on schedules and looks for overdue partitions. */
  readonly schedules: boolean
  /** Aborting stops the worker after the batches at hand; what is not done is given back. */
  readonly signal: AbortSignal
  /** Done once, before the first job is taken. */
  readonly begin?: (worker: WorkerState) => Promise<void>
  /** Asked about twice a second: when it says true, no more jobs are taken, and the worker ends when those in hand are done. */
  readonly enough?: (worker: WorkerState) => Promise<boolean>
  readonly on?: (event: WorkerEvent) => void
  readonly onRun?: (event: RunEvent) => void
}

export interface WorkerState {
  readonly ledger: SerialSession
  readonly queue: JobQueue
  /** Jobs in hand. */
  readonly active: number
}

/** What a worker did. */
export interface WorkerSummary {
  readonly worker: string
  readonly done: number
  readonly failed: number
  /** Given back, because the worker was stopped. */
  readonly returned: number
}

const POLL_MS = 1_000
const ENOUGH_MS = 500
const SWEEP_EVERY_MS = 5_000
const OVERDUE_EVERY_MS = 5 * 60_000
const HEARTBEAT_EVERY_MS = 60_000
const PAUSE_AFTER_TROUBLE_MS = 5_000
/** The queue's own, one for everything the worker writes down, and one for looking at partitions. */
const WORKER_CONNECTIONS = QUEUE_CONNECTIONS + 2

/** Connections that a worker with so many jobs at a time holds at most. */
export const connectionsOf = (
  { connectionsPerRun }: Pick<Workload, "connectionsPerRun">,
  concurrency: number,
): number => WORKER_CONNECTIONS + concurrency * connectionsPerRun

/** The most jobs at a time for which so many connections are enough; 0 when they are not even enough for one. */
export const concurrencyWithin = (
  { connectionsPerRun }: Pick<Workload, "connectionsPerRun">,
  connections: number,
): number => Math.max(0, Math.floor((connections - WORKER_CONNECTIONS) / connectionsPerRun))

/** Takes jobs and carries them out until it is stopped, or has done enough. Throws what it cannot go on after (`CONFIG`, `AUTH`). */
export async function work(options: WorkerOptions): Promise<WorkerSummary> {
  for (const { name, schedule } of options.workload.items)
    if (schedule !== undefined) checkSchedule(schedule, `pipeline ${name}`)
  return new Worker(options).run()
}

class Worker {
  readonly #options: WorkerOptions
  readonly #pipelines: readonly string[]
  readonly #id: string
  /** Aborted when no more jobs are to be taken, for whatever reason. */
  readonly #over = new AbortController()
  readonly #ends: Record<JobEnd, number> = { done: 0, failed: 0, retrying: 0, returned: 0, lost: 0 }
  #active = 0
  #turn = 0
  #trouble: SpillwayError | undefined

  constructor(options: WorkerOptions) {
    this.#options = options
    this.#pipelines = options.pipelines ?? options.workload.items.map((runnable) => runnable.name)
    const host = hostname()
      .replace(/[^\w.-]/g, "")
      .slice(0, 20)
    this.#id = `worker_${host}_${process.pid}_${options.ports.random.hex(3)}`
  }

  async run(): Promise<WorkerSummary> {
    const { ports, database, signal, workload, concurrency } = this.#options
    const ledger = new SerialSession(database, this.#id, ports, (error) => this.#warn("", error))
    try {
      const queue = await JobQueue.open(database, (error) => this.#warn("", error))
      try {
        const context: WorkerContext = {
          id: this.#id,
          workload,
          queue,
          ledger,
          ports,
          signal,
          stamp: (body) => this.#stamp(body),
          emit: (body) => this.#emit(body),
          onRun: (event) => this.#options.onRun?.(event),
        }
        const connections = connectionsOf(workload, concurrency)
        this.#emit({ type: "worker.started", concurrency, connections, pipelines: this.#pipelines.length })
        await this.#options.begin?.({ ledger, queue, active: 0 })
        await this.#loops(context)
        const { done, failed, returned } = this.#ends
        this.#emit({ type: "worker.stopped", done, failed, returned })
        return { worker: this.#id, done, failed, returned }
      } finally {
        await queue.close()
      }
    } finally {
      await ledger.end()
    }
  }

  async #loops(context: WorkerContext): Promise<void> {
    const { concurrency, schedules, signal } = this.#options
    const stop = (): void => this.#over.abort()
    if (signal.aborted) stop()
    signal.addEventListener("abort", stop, { once: true })
    const beat = context.ports.clock.every(HEARTBEAT_EVERY_MS, () => this.#beat())
    try {
      const ticks = new TickWatch(context)
      // Decided on before anything is taken, so that what is due now counts as work that is left.
      if (schedules) await ticks.look()
      await Promise.all([
        ...Array.from({ length: concurrency }, () => this.#loop(context, () => this.#takeOne(context))),
        this.#loop(context, () => sweep(context, this.#pipelines).then(() => SWEEP_EVERY_MS)),
        this.#loop(context, () => this.#judgeEnough(context)),
        ...(schedules
          ? [
              this.#loop(context, () => ticks.look()),
              this.#loop(context, () => watchOverdue(context).then(() => OVERDUE_EVERY_MS)),
            ]
          : []),
      ])
    } finally {
      beat()
      signal.removeEventListener("abort", stop)
    }
    if (this.#trouble !== undefined) throw this.#trouble
  }

  /** Repeats `step` until the end; it says after how many milliseconds. A database that is away is waited for, anything else ends the worker. */
  async #loop(context: WorkerContext, step: () => Promise<number>): Promise<void> {
    const { clock } = context.ports
    while (!this.#over.signal.aborted) {
      let pauseMs: number
      try {
        pauseMs = await step()
      } catch (thrown) {
        const error = asSpillwayError(thrown)
        if (this.#over.signal.aborted && error.code === "CANCELLED") return
        if (error.code !== "DB_UNAVAILABLE" && error.code !== "DB_SERIALIZATION") {
          this.#trouble ??= error
          this.#over.abort()
          return
        }
        this.#warn("", error)
        pauseMs = PAUSE_AFTER_TROUBLE_MS
      }
      if (pauseMs > 0) await clock.sleep(pauseMs, this.#over.signal).catch(() => undefined)
    }
  }

  /** Carries out one job when there is one; gives how long to wait before the next look. */
  async #takeOne(context: WorkerContext): Promise<number> {
    const job = await this.#nextJob(context)
    if (job === undefined) return POLL_MS * (0.5 + context.ports.random.next())
    this.#active++
    try {
      const end =
        job.order.kind === "ticks"
          ? await carryOutTicks(context, job)
          : await carryOutPartition(context, job, job.order.key)
      this.#ends[end]++
      if (end === "lost") this.#warn(job.pipeline, claimLost(job))
    } finally {
      this.#active--
    }
    return 0
  }

  /** From the pipelines in turn, so that none has to wait for the end of another. */
  async #nextJob({ ledger, queue }: WorkerContext): Promise<Job | undefined> {
    const open = await ledger.use("looking for work", (session) => pipelinesWithWork(session, this.#pipelines))
    const first = this.#turn++
    for (let n = 0; n < open.length && !this.#over.signal.aborted; n++) {
      const job = await queue.take(open[(first + n) % open.length] ?? "")
      if (job !== undefined) return job
    }
    return undefined
  }

  async #judgeEnough(context: WorkerContext): Promise<number> {
    const { ledger, queue } = context
    if (await this.#options.enough?.({ ledger, queue, active: this.#active })) this.#over.abort()
    return ENOUGH_MS
  }

  #beat(): void {
    const { done, failed } = this.#ends
    this.#emit({ type: "worker.heartbeat", active: this.#active, done, failed })
  }

  #warn(
    pipeline: string,
    { code, message, hint }: Pick<SpillwayError, "code" | "message"> & { hint?: string | undefined },
  ): void {
    this.#emit({ type: "worker.warning", pipeline, error: { code, message, hint } })
  }

  #stamp(body: WorkerEventBody): WorkerEvent {
    return { time: this.#options.ports.clock.now(), worker: this.#id, ...body }
  }

  #emit(body: WorkerEventBody): WorkerEvent {
    const event = this.#stamp(body)
    this.#options.on?.(event)
    return event
  }
}

const claimLost = (job: Job): SpillwayError =>
  new SpillwayError(
    "LEASE_LOST",
    `another worker has taken over ${job.order.kind === "ticks" ? "the schedule's run" : job.order.key}`,
    { hint: "nothing is lost; if it returns, look for what stalls this process" },
  )

/** For `enough`: nothing is queued any more, and nothing is in hand. */
export const nothingLeft =
  (pipelines: readonly string[]) =>
  async ({ ledger, active }: WorkerState): Promise<boolean> =>
    active === 0 && !(await ledger.use("looking for work", (session) => hasQueued(session, pipelines)))
