import type { PartitionReader, SourceContext } from "../../core/contracts.ts"
import { SpillwayError } from "../../core/errors.ts"
import { DecodeFault, type Batch, type Place, type RecordObject } from "../../core/records.ts"
import { RowBatch } from "../../formats/row-batch.ts"
import { retry } from "../../resilience/retry-policy.ts"
import { firstLine, pageError } from "./errors.ts"
import { Evidence } from "./evidence.ts"
import { BrowserPages } from "./pages.ts"
import type { BrowserSettings } from "./options.ts"

interface List {
  readonly address: string
  /** The address as it may be shown. */
  readonly key: string
  readonly settings: BrowserSettings
}

/** What was taken off a page, or why nothing could be. */
type Taken = { readonly records: readonly RecordObject[] } | { readonly fault: DecodeFault; readonly html: Uint8Array }

/** A page was there, but its records could not be taken off it: another try, or a dead letter. */
class Unreadable extends Error {}

/** Reads a list of rendered pages from its first page on, a batch each. */
export class BrowserReader implements PartitionReader {
  readonly columns = undefined
  readonly #list: List
  readonly #context: SourceContext
  readonly #reading: string

  constructor(list: List, context: SourceContext) {
    this.#list = list
    this.#context = context
    const { clock, random } = context.ports
    const time = new Date(clock.now()).toISOString().replace(/[-:]|\.\d+/g, "")
    this.#reading = `${new URL(list.key).hostname}-${time}-${random.hex(4)}`
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Batch, void, void> {
    const { signal } = this.#context
    const pages = await BrowserPages.open(this.#list, this.#context)
    try {
      for (let n = 0, before = 0; ; n++) {
        const taken = await this.#take(pages, n)
        const evidence = new Evidence(pages.page, `${this.#reading}-page-${n + 1}`, this.#context)
        const batch = this.#batch(taken, { n, before, evidence })
        try {
          if (batch.length > 0) yield batch
        } finally {
          await evidence.save()
        }
        signal.throwIfAborted()
        before += batch.length
        if (await pages.next(n)) continue
        if ("fault" in taken && this.#list.settings.next !== undefined) throw this.#leadsNowhere(n, evidence)
        return
      }
    } catch (error) {
      signal.throwIfAborted()
      throw error
    } finally {
      await pages.close()
    }
  }

  /** A page that could not be read and has no next one may be the last, or hide all that comes after it. */
  #leadsNowhere(n: number, evidence: Evidence): SpillwayError {
    return new SpillwayError(
      "DATA_LOSS",
      `page ${n + 1} cannot be read and leads to no further page: it may not be the last`,
      {
        class: "transient",
        where: this.#list.key,
        hint: evidence.wanted ? `see ${evidence.files.join(" and ")}, then run again` : "run again",
      },
    )
  }

  /** The records of page `n`. The first page, and any page from the second try on, is loaded for it. */
  async #take(pages: BrowserPages, n: number): Promise<Taken> {
    const { retries, extract } = this.#list.settings
    const { signal, ports, tell } = this.#context
    const policy = retry({
      attempts: 3,
      ...retries,
      keepCode: true,
      ports,
      what: `page ${n + 1} of ${this.#list.key}`,
      retryIf: (error) =>
        error instanceof Unreadable || (error instanceof SpillwayError && error.class === "transient"),
      onRetry: ({ attempt, delayMs, error: { code, message } }) =>
        tell?.({
          type: "retry",
          what: `loading page ${n + 1} of ${this.#list.key}`,
          tries: attempt,
          delayMs,
          code,
          message,
        }),
    })
    try {
      return await policy.execute(
        async ({ attempt }) => {
          if (n === 0 || attempt > 1) await pages.load(n)
          try {
            await pages.expectReady()
            return { records: checkedRecords(await extract(pages.page)) }
          } catch (error) {
            throw new Unreadable(firstLine(error), { cause: error })
          }
        },
        { signal },
      )
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof SpillwayError && error.cause instanceof Unreadable)
        return {
          fault: new DecodeFault("extract", `page ${n + 1}: ${error.cause.message}`),
          html: Buffer.from(await pages.page.content()),
        }
      if (error instanceof SpillwayError) throw error
      throw pageError(error, this.#list.key)
    }
  }

  #batch(taken: Taken, { n, before, evidence }: { n: number; before: number; evidence: Evidence }): Batch {
    const { maxRecordBytes, tell } = this.#context
    const page = String(n + 1)
    const rows = {
      position: { page: n + 1 },
      first: before + 1,
      maxRecordBytes,
    }
    const placed = (place: Place): Place => {
      // Whoever only looks on listens to nothing, and leaves nothing behind.
      if (tell === undefined) return place
      evidence.wanted = true
      return { ...place, evidence: evidence.files }
    }
    if ("fault" in taken) {
      const { fault, html } = taken
      return new RowBatch({
        ...rows,
        length: 1,
        bytes: html.length,
        make: () => fault,
        raw: () => html,
        place: () => placed({ page }),
      })
    }
    const { records } = taken
    return new RowBatch({
      ...rows,
      length: records.length,
      make: (i) => structuredClone(records[i] as RecordObject),
      place: (i) => placed({ page, item: i + 1 }),
    })
  }
}

/** What `extract` gave, where it is records. */
function checkedRecords(given: unknown): readonly RecordObject[] {
  if (!Array.isArray(given)) throw new TypeError("extract gives no array of records")
  const odd = given.findIndex((item) => typeof item !== "object" || item === null || Array.isArray(item))
  if (odd >= 0) throw new TypeError(`extract gives something that is no record, at index ${odd}`)
  return given as readonly RecordObject[]
}
