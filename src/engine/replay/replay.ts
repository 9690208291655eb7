import { hash } from "node:crypto"
import { asSpillwayError, SpillwayError, type ErrorCode } from "../../core/errors.ts"
import type { RunEventBody } from "../../core/events.ts"
import { canonicalJson, type JsonValue } from "../../core/json.ts"
import { systemPorts, type Ports } from "../../core/ports.ts"
import type { Patch } from "../../dead-letters/patch.ts"
import { toCondition, type Selection } from "../../dead-letters/selection.ts"
import { beginReplay, endReplay, type LetterPlace, type LetterResult, type ReplayEnd } from "../../ledger/replays.ts"
import { database as databaseOf, type Database } from "../../postgres/session.ts"
import { Connection } from "../connection.ts"
import type { Pipeline } from "../definition.ts"
import { pipelineLoad } from "../pipeline/pipeline-load.ts"
import { ReasonTally, type ReplayReason } from "./reasons.ts"
import { replayBatch, type ReplayContext } from "./replay-batch.ts"
import { newId } from "../run-row.ts"
import { sourceContext } from "../source-context.ts"
import { stopSignal } from "../stop-signal.ts"

/** Which letters, and how they are mended. */
export interface ReplaySelection {
  /** The database that has the letters and the table: itself, or its URL. */
  readonly database: Database | string
  /** Relative paths start here. Default: the working directory. */
  readonly directory?: string
  readonly ports?: Ports
  readonly signal?: AbortSignal
  /** Only these letters. Default: all open ones of the pipeline. */
  readonly where?: Selection | undefined
  readonly patch?: Patch | undefined
  /** Also letters that failed so often that they are left out otherwise. */
  readonly poisoned?: boolean | undefined
}

export interface ReplayOptions extends ReplaySelection {
  /** Who asks for it, as the ledger keeps it. */
  readonly requestedBy: string
  /** The selection as it was given; with the patch it says whether two replays are the same operation. Default: `where`. */
  readonly selectedBy?: JsonValue
  /** Replay so many letters first; the rest follows only when no more of them fail than `abortAbove` allows (default 0). */
  readonly canary?: number | undefined
  /** Asked after the canary; `false` stops the replay, to be continued by the same call. */
  readonly goOn?: (outcomes: ReplayOutcomes) => Promise<boolean>
  /** Most letters a second. Default: as fast as it goes. */
  readonly rate?: number | undefined
  /** The share of letters that may fail, 0 to 1; above it the replay stops, and nothing of the batch at hand is changed. */
  readonly abortAbove?: number | undefined
  /** Rows overwrite newer ones of their key. */
  readonly force?: boolean | undefined
  /** Told after every batch what became of letters so far. */
  readonly on?: (outcomes: ReplayOutcomes) => void
}

/** Letters per outcome: `loaded`, `outdated`, `filtered`, `discarded`, `failed`, `poisoned`, `left`. */
export type ReplayOutcomes = Readonly<Record<string, number>>

export interface ReplayReport {
  readonly replayId: string
  readonly pipeline: string
  /** It went on with a replay of the same selection and patch that was not finished. */
  readonly joined: boolean
  readonly status: ReplayEnd["status"]
  /** Of the whole replay, also of what others did of it. */
  readonly outcomes: ReplayOutcomes
  /** Why letters failed or were left, the most frequent first. Of this call alone. */
  readonly reasons: readonly ReplayReason[]
  readonly error: { readonly code: ErrorCode; readonly message: string; readonly hint: string | undefined } | undefined
  readonly durationMs: number
}

const BATCH = 1_000
/** Smaller where a share of failures is watched: a batch that exceeds it is not loaded. */
const WATCHED_BATCH = 100

/**
 * Takes dead letters of a pipeline through its own path again into its table, exactly once: each batch is one transaction with the
 * rows, the letters' states and the slices of the table that it touches. What is interrupted goes on with the same call; two at once
 * share the work. Throws `CONFIG` for a pipeline whose letters cannot be replayed, and what keeps the replay from beginning.
 */
export async function replayLetters(pipeline: Pipeline, options: ReplayOptions): Promise<ReplayReport> {
  const ports = options.ports ?? systemPorts
  const started = ports.clock.monotonic()
  const load = pipelineLoad(pipeline)
  requireReplayable(pipeline)
  const database = typeof options.database === "string" ? databaseOf(options.database) : options.database
  const stop = stopSignal(options.signal)
  const connection = new Connection(
    database,
    ports.random.hex(8),
    ports,
    stop.signal,
    (_event: RunEventBody) => undefined,
  )
  try {
    const session = await connection.session()
    const target = await load.target(session)
    const patch = options.patch?.description ?? null
    const selection = options.selectedBy ?? describe(options.where)
    const forced = options.force ?? false
    const { replayId, joined } = await beginReplay(session, {
      replayId: newId("replay", ports),
      pipeline: pipeline.name,
      requestedBy: options.requestedBy,
      selection,
      patch,
      operation: operationOf({
        pipeline: pipeline.name,
        selection,
        patch,
        forced,
        poisoned: options.poisoned ?? false,
      }),
      forced,
    })
    const progress = new Progress(options)
    const context: ReplayContext = {
      ...{ pipeline, load, target, replayId, patch: options.patch, force: forced },
      source: sourceContext(pipeline, { ports, directory: options.directory ?? process.cwd(), signal: stop.signal }),
      accept: (results) => progress.accept(results),
    }
    const end = await carryOut(connection, context, options, progress)
    const outcomes = await connection.retrying("ending the replay", (again) => endReplay(again, replayId, end))
    return {
      ...{ replayId, pipeline: pipeline.name, joined, status: end.status, outcomes },
      reasons: progress.reasons(),
      error: end.error,
      durationMs: Math.round(ports.clock.monotonic() - started),
    }
  } finally {
    stop.dispose()
    await connection.end()
  }
}

/** Whether letters of this pipeline can be replayed. Throws `CONFIG`. */
export function requireReplayable({ name, sink }: Pipeline): void {
  if (sink.mode !== "replace") return
  const what =
    sink.kind === "file"
      ? `the files of "${name}" are written whole, one for each partition`
      : `the table of "${name}" is replaced partition by partition`
  throw new SpillwayError("CONFIG", `${what}: single records cannot be added`, {
    where: `pipeline ${name}`,
    hint: "correct the source and run again",
  })
}

const operationOf = (what: JsonValue): string => hash("sha256", canonicalJson(what)).slice(0, 32)

const describe = (where: Selection | undefined): JsonValue => JSON.parse(JSON.stringify(where ?? null)) as JsonValue

/** Replays batch by batch until nothing is left. Never throws: how it ended is what it gives. */
async function carryOut(
  connection: Connection,
  context: ReplayContext,
  options: ReplayOptions,
  progress: Progress,
): Promise<ReplayEnd & { error?: { code: ErrorCode; message: string; hint: string | undefined } }> {
  const { clock, failpoints } = context.source.ports
  const { signal } = context.source
  const { canary, rate, poisoned = false } = options
  const usual = Math.min(
    options.abortAbove === undefined ? BATCH : WATCHED_BATCH,
    Math.max(1, Math.ceil(rate ?? BATCH)),
  )
  const where = toCondition(options.where)
  const started = clock.monotonic()
  let after: LetterPlace | undefined
  let first = true
  try {
    for (;;) {
      signal.throwIfAborted()
      const limit = first && canary !== undefined ? canary : usual
      const wanted = {
        ...{ where, poisoned, after, limit },
        pipeline: context.pipeline.name,
        replayId: context.replayId,
      }
      const batch = await connection.retrying("replaying letters", (session) => replayBatch(session, context, wanted))
      if (batch.letters === 0) {
        // Letters may have been set aside, or freed, before the place that was reached.
        if (after === undefined) return { status: "completed" }
        after = undefined
        continue
      }
      progress.add(batch.outcomes, batch.results)
      await failpoints.hit("replay.committed", { letters: batch.letters })
      if (first && canary !== undefined && (await options.goOn?.(progress.outcomes)) === false)
        return { status: "interrupted" }
      first = false
      after = batch.last
      if (rate !== undefined) await clock.sleep(started + (progress.tried / rate) * 1000 - clock.monotonic(), signal)
    }
  } catch (thrown) {
    const error = asSpillwayError(signal.aborted ? signal.reason : thrown)
    const told = { code: error.code, message: error.message, hint: error.hint }
    if (thrown instanceof TooManyFailures) return { status: "aborted", error: told }
    return { status: error.class === "cancelled" ? "interrupted" : "failed", error: told }
  }
}

/** More letters fail than is allowed. */
class TooManyFailures extends SpillwayError {}

/** What became of letters so far, and whether that is good enough to go on. */
class Progress {
  outcomes: Record<string, number> = {}
  readonly #options: ReplayOptions
  readonly #reasons = new ReasonTally()
  #batches = 0

  constructor(options: ReplayOptions) {
    this.#options = options
  }

  get tried(): number {
    return Object.values(this.outcomes).reduce((sum, letters) => sum + letters, 0)
  }

  /** Throws when, with these, more letters fail than is allowed. */
  accept(results: readonly LetterResult[]): void {
    const { abortAbove, canary } = this.#options
    const isCanary = canary !== undefined && this.#batches === 0
    const allowed = abortAbove ?? (isCanary ? 0 : 1)
    const count = (outcome: string): number => results.filter((result) => result.outcome === outcome).length
    const failed = (this.outcomes["failed"] ?? 0) + (this.outcomes["poisoned"] ?? 0) + count("failed")
    const tried = this.tried - (this.outcomes["left"] ?? 0) + results.length - count("left")
    if (tried === 0 || failed / tried <= allowed) return
    for (const result of results) this.#reasons.add(result.outcome, result.reason)
    throw new TooManyFailures(
      "QUALITY_GATE",
      `${failed} of ${tried} letters fail${isCanary ? " of the canary" : ""}, more than ${allowed * 100} % may`,
      { hint: "nothing of this batch was changed; mend the records with --patch, or the pipeline, and replay again" },
    )
  }

  /** A batch is committed. */
  add(outcomes: ReplayOutcomes, results: readonly LetterResult[]): void {
    this.#batches++
    for (const [outcome, letters] of Object.entries(outcomes))
      this.outcomes[outcome] = (this.outcomes[outcome] ?? 0) + letters
    for (const result of results) this.#reasons.add(result.outcome, result.reason)
    this.#options.on?.(this.outcomes)
  }

  reasons(): readonly ReplayReason[] {
    return this.#reasons.most()
  }
}
