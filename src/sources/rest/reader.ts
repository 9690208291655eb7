import type { PartitionReader, SourceContext, SourcePartition } from "../../core/contracts.ts"
import { asSpillwayError, PARTITION_ONLY, SpillwayError, type ErrorCode } from "../../core/errors.ts"
import type { JsonValue } from "../../core/json.ts"
import type { Batch, Position } from "../../core/records.ts"
import { RetryError } from "../../resilience/retry-error.ts"
import { Boundary, boundaryState, NOTHING_READ } from "./boundary.ts"
import { driftText, FieldWatch, type Drift, type FieldTypes } from "./drift.ts"
import type { Incremental } from "./incremental.ts"
import { PageBatch } from "./page-batch.ts"
import type { PagePlace, Paginator } from "./paginate.ts"
import type { Page } from "./pages.ts"
import type { Reading, ReadingState } from "./reading.ts"

export interface RestReaderOptions {
  readonly partition: SourcePartition
  readonly from: Position | undefined
  readonly context: SourceContext
  readonly incremental: Incremental | undefined
  readonly paginator: Paginator
  /** That nothing came from where there was something is no mistake. */
  readonly allowEmpty: boolean
  /** The pages from a place on, of what this reading is asked for. */
  readonly pages: (reading: Reading, from: PagePlace) => AsyncGenerator<Page, void, void>
  /** Called when no further page is read, however it ended. */
  readonly settle: () => Promise<void>
}

/** How far a reading is; the position of its batches. */
interface ReadSoFar {
  /** The page that comes next; null when there is none. */
  readonly at: PagePlace | null
  readonly ordinal: number
  readonly records: number
  /** When the reading began, in milliseconds since 1970. */
  readonly began: number
  readonly boundary: JsonValue
  readonly fields: FieldTypes
}

/** Reads one partition page by page. A position is the page that comes next, with what is known of the records so far. */
export class RestReader implements PartitionReader {
  readonly columns = undefined
  readonly #options: RestReaderOptions
  readonly #reading: Reading
  readonly #boundary: Boundary | undefined
  readonly #watch: FieldWatch
  readonly #began: number
  #at: PagePlace | null
  #ordinal: number
  #records: number
  #isAtEnd = false

  constructor(options: RestReaderOptions) {
    const { partition, from, paginator, context } = options
    this.#options = options
    this.#reading = partition.stamp as unknown as Reading
    const soFar = from as unknown as ReadSoFar | undefined
    this.#at = soFar === undefined ? paginator.first : soFar.at
    this.#ordinal = soFar?.ordinal ?? this.#reading.ordinal
    this.#records = soFar?.records ?? 0
    this.#began = soFar?.began ?? context.ports.clock.now()
    this.#boundary = this.#makeBoundary(soFar)
    this.#watch = new FieldWatch(this.#reading.fields, soFar?.fields ?? {})
  }

  /** Undefined until the end was reached. */
  get state(): JsonValue | undefined {
    if (!this.#isAtEnd) return undefined
    const { incremental } = this.#options
    const { reading, ceiling } = this.#reading
    const state: ReadingState = {
      by: incremental?.path.join(".") ?? null,
      reading,
      boundary: this.#boundary?.finalState() ?? NOTHING_READ,
      ordinal: this.#ordinal,
      records: this.#records,
      fields: this.#watch.known(),
      settled: incremental?.by !== undefined && this.#began >= Number(ceiling) + incremental.lag,
    }
    return state as unknown as JsonValue
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Batch, void, void> {
    const { signal } = this.#options.context
    try {
      signal.throwIfAborted()
      if (this.#at !== null)
        for await (const page of this.#options.pages(this.#reading, this.#at)) {
          const { batch, isLast } = this.#take(page)
          if (batch !== undefined) yield batch
          signal.throwIfAborted()
          if (isLast) break
        }
    } catch (error) {
      signal.throwIfAborted()
      throw this.#options.incremental?.by === undefined ? error : ofThisWindow(error)
    } finally {
      await this.#options.settle()
    }
    this.#conclude()
  }

  #take(page: Page): { batch: Batch | undefined; isLast: boolean } {
    const { paginator, incremental } = this.#options
    const { items } = page
    const value = (i: number): unknown => items.value(i)
    for (const drift of this.#watch.look(items.length, value)) this.#tellDrift(drift)
    const sorted = this.#boundary?.sort(items.length, value)
    const kept = sorted?.kept
    const length = kept?.length ?? items.length
    const isLast = incremental?.descending === true && sorted?.allBelow === true
    const before = this.#ordinal
    this.#ordinal += length
    this.#records += length
    this.#at = isLast ? null : (page.next ?? null)
    if (length === 0) return { batch: undefined, isLast }
    const position = this.#position()
    return { batch: new PageBatch({ items, kept, before, page: paginator.label(page.place), position }), isLast }
  }

  #position(): Position {
    const soFar: ReadSoFar = {
      at: this.#at,
      ordinal: this.#ordinal,
      records: this.#records,
      began: this.#began,
      boundary: (this.#boundary?.state() ?? null) as unknown as JsonValue,
      fields: this.#watch.current(),
    }
    return soFar as unknown as Position
  }

  #conclude(): void {
    const { incremental, allowEmpty, partition } = this.#options
    for (const drift of this.#watch.missing()) this.#tellDrift(drift)
    const older = this.#boundary?.older ?? 0
    if (older > 0 && incremental?.descending === false)
      this.#warn(
        "CONFIG",
        `the API gave ${older} records that are older than what was asked for; they were left out`,
        `it may round the value of ${JSON.stringify(incremental.param)} (then a lag as large as that loads late records too), not know the parameter, or want its value written otherwise`,
      )
    if (incremental === undefined && this.#records === 0 && this.#reading.recordsBefore > 0 && !allowEmpty)
      throw new SpillwayError(
        "DATA_LOSS",
        `it has no items, though it had ${this.#reading.recordsBefore} the last time`,
        {
          where: partition.key,
          hint: "look at what the API gives; if it is right that there are none, set allowEmpty: true and run again",
        },
      )
    this.#isAtEnd = true
  }

  #makeBoundary(soFar: ReadSoFar | undefined): Boundary | undefined {
    const { incremental, context } = this.#options
    if (incremental === undefined) return undefined
    const { floor, ceiling, before } = this.#reading
    let told = false
    const onForgotten = (): void => {
      if (!told)
        this.#warn(
          "RESOURCE",
          "so many records share the newest cursor value, or lie within the lag, that not all are remembered: the next run loads some of them again",
          "by their key they come out unchanged; a finer cursor or a smaller lag spares the work",
        )
      told = true
    }
    return new Boundary(
      {
        ...incremental,
        floor: floor ?? undefined,
        strayBelow: incremental.strayBelow,
        ceiling: ceiling ?? undefined,
        keyed: context.keyed === true,
        now: () => context.ports.clock.now(),
        onForgotten,
      },
      before,
      boundaryState(soFar?.boundary),
    )
  }

  #tellDrift(drift: Drift): void {
    this.#warn("SCHEMA_DRIFT", driftText(drift), "if this is meant to stay, let the schema say so")
  }

  #warn(code: ErrorCode, message: string, hint: string): void {
    const { context, partition } = this.#options
    context.tell?.({ type: "warning", code, partition: partition.key, message: `${partition.key}: ${message}`, hint })
  }
}

/** What a server answers wrongly however often it is asked. That it is away, or wants to be left alone, concerns all windows. */
const WRONG_ANSWERS: ReadonlySet<ErrorCode> = new Set(["DECODE", "HTTP_5XX"])

/** The error; where the server is there and fails for one window in every try, as one that concerns this window alone. */
function ofThisWindow(error: unknown): unknown {
  if (!(error instanceof RetryError) || error.reason !== "attempts" || error.class === "throttled") return error
  const last = asSpillwayError(error.cause)
  if (!WRONG_ANSWERS.has(last.code)) return error
  const { message, where, hint, context } = error
  return new SpillwayError(last.code, message, {
    class: "terminal",
    where,
    hint: `the other partitions go on, and the next run tries this one again; ${hint}`,
    cause: error,
    context: { ...context, [PARTITION_ONLY]: true },
  })
}
