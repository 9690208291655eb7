import type { Clock } from "../core/clock.ts"
import { SpillwayError } from "../core/errors.ts"
import type { RunEvent } from "../core/events.ts"
import { settleCheckpoints, upsertCheckpoints } from "../ledger/checkpoints.ts"
import { insertLogs, type LogLevel, type LogLine } from "../ledger/logs.ts"
import { deleteMetrics, insertMetrics, type Metric } from "../ledger/metrics.ts"
import type { Database, Session } from "../postgres/session.ts"
import { RunCheckpoints } from "./checkpoints.ts"
import { atLeast, logLine } from "./logs.ts"
import { RunMetrics } from "./metrics.ts"
import { plural } from "./wording.ts"

/** Writes what happens in one run to `ops.pipeline_logs`, `ops.pipeline_checkpoint` and `ops.metrics`. */
export interface Recorder {
  /** Takes an event; never waits and never throws. */
  readonly on: (event: RunEvent) => void
  /**
   * Call when the run has ended: writes what is left and closes the connection. Never throws: gives how many log lines and
   * checkpoints could not be written.
   */
  readonly flush: () => Promise<number>
}

export interface RecorderOptions {
  readonly correlationId?: string | undefined
  /** `schema.name` of the target, for the names of metrics. */
  readonly table?: string | undefined
  /** Log lines of this level and above are written. Default `INFO`. */
  readonly level?: LogLevel | undefined
}

/** How long a line may wait before it is written. */
const WRITE_EVERY_MS = 250
/** So much is written without waiting, and at most so much by one statement. */
const ROWS_PER_WRITE = 1_000
/** Log lines kept while the database is slow or away; more are dropped and counted. */
const LINES_KEPT = 10_000
const RECONNECT_AFTER_MS = 1_000
/** The end of a run waits at most so long for the database to take its log. */
const FLUSH_DEADLINE_MS = 10_000

/** A recorder for one run, over a connection of its own. */
export function recordRun(
  database: Database,
  ports: { readonly clock: Clock },
  options: RecorderOptions = {},
): Recorder {
  const recorder = new RunRecorder(database, ports.clock, options)
  return { on: (event) => recorder.on(event), flush: () => recorder.flush() }
}

class RunRecorder {
  readonly #database: Database
  readonly #clock: Clock
  readonly #options: RecorderOptions
  readonly #checkpoints = new RunCheckpoints()
  readonly #summary: RunMetrics
  #lines: LogLine[] = []
  #metrics: Metric[] = []
  #dropped = 0
  #last: RunEvent | undefined
  #session: Session | undefined
  #pass: Promise<void> | undefined
  /** Rows that a write has taken and not yet written. */
  #inHand = 0
  #closed = false
  #notBefore = -Infinity
  readonly #stopTimer: () => void

  constructor(database: Database, clock: Clock, options: RecorderOptions) {
    this.#database = database
    this.#clock = clock
    this.#options = options
    this.#summary = new RunMetrics(options.table)
    this.#stopTimer = clock.every(WRITE_EVERY_MS, () => this.#wake())
  }

  /** The data matters more than its log: what goes wrong here is counted, and does not reach the run. */
  on(event: RunEvent): void {
    this.#last = event
    try {
      this.#take(event)
    } catch {
      this.#dropped++
    }
  }

  #take(event: RunEvent): void {
    const line = logLine(event, this.#options.correlationId)
    if (atLeast(line.level, this.#options.level ?? "INFO")) this.#keep(line)
    this.#checkpoints.on(event)
    this.#metrics.push(...this.#summary.on(event))
    if (this.#waiting >= ROWS_PER_WRITE) this.#wake()
  }

  async flush(): Promise<number> {
    this.#stopTimer()
    const deadline = new AbortController()
    const giveUp = this.#clock.sleep(FLUSH_DEADLINE_MS, deadline.signal).then(
      () => this.#session?.destroy(),
      () => undefined,
    )
    await Promise.race([this.#writeAll(deadline.signal), giveUp])
    deadline.abort()
    this.#closed = true
    await this.#session?.end()
    this.#session = undefined
    return this.#dropped + this.#waiting + this.#inHand
  }

  get #waiting(): number {
    return this.#lines.length + this.#checkpoints.waiting + this.#metrics.length
  }

  #keep(line: LogLine): void {
    if (this.#lines.length < LINES_KEPT) this.#lines.push(line)
    else this.#dropped++
  }

  /** Begins to write in the background, unless that is going on or the database was away a moment ago. */
  #wake(): void {
    if (this.#pass !== undefined || this.#waiting === 0 || this.#clock.monotonic() < this.#notBefore) return
    this.#pass = this.#write()
      .catch(() => {
        this.#notBefore = this.#clock.monotonic() + RECONNECT_AFTER_MS
      })
      .finally(() => {
        this.#pass = undefined
      })
  }

  /** Writes one portion. What could not be written goes back to the queue, and the error is thrown. */
  async #write(): Promise<void> {
    const lines = this.#lines.splice(0, ROWS_PER_WRITE)
    const rows = this.#checkpoints.take(ROWS_PER_WRITE)
    const metrics = this.#metrics.splice(0, ROWS_PER_WRITE)
    this.#inHand = lines.length + rows.length + metrics.length
    try {
      const session = await this.#connected()
      await session.transaction(async () => {
        await upsertCheckpoints(session, rows)
        await insertLogs(session, lines)
        if (metrics[0] !== undefined && (this.#last?.attempt ?? 1) > 1) await deleteMetrics(session, metrics[0].runId)
        await insertMetrics(session, metrics)
      })
    } catch (error) {
      this.#lines.unshift(...lines)
      this.#checkpoints.putBack(rows)
      this.#metrics.unshift(...metrics)
      this.#session?.destroy()
      this.#session = undefined
      throw error
    } finally {
      this.#inHand = 0
    }
  }

  async #connected(): Promise<Session> {
    if (this.#session !== undefined) return this.#session
    const session = await this.#database.connect({ applicationName: "spillway-recorder" })
    if (this.#closed) {
      session.destroy()
      throw new SpillwayError("DB_UNAVAILABLE", "the connection came too late")
    }
    this.#session = session
    return session
  }

  /** Writes until nothing is left, trying again while the deadline lasts. */
  async #writeAll(deadline: AbortSignal): Promise<void> {
    await this.#pass
    this.#noteDropped()
    while (this.#waiting > 0 && !deadline.aborted) {
      try {
        await this.#write()
      } catch {
        await this.#clock.sleep(RECONNECT_AFTER_MS, deadline).catch(() => undefined)
      }
    }
    if (deadline.aborted || this.#last === undefined) return
    const { pipeline, runId } = this.#last
    // Tidying up after killed runs; the next run does it when this one cannot.
    await this.#connected()
      .then((session) => settleCheckpoints(session, pipeline, runId))
      .catch(() => undefined)
  }

  #noteDropped(): void {
    if (this.#dropped === 0 || this.#last === undefined) return
    const { time, pipeline, runId } = this.#last
    this.#lines.push({
      time,
      level: "WARNING",
      message: `${plural(this.#dropped, "log line")} dropped: they could not be written in time`,
      pipeline,
      runId,
      step: "run",
      correlationId: this.#options.correlationId,
      metadata: { event: "log.dropped", dropped: this.#dropped },
    })
  }
}
