import type { Batch, DecodeFault, Place, Position, RecordObject } from "../../core/records.ts"
import type { PageItems } from "./items.ts"

export interface PageBatchParts {
  readonly items: PageItems
  /** The items that are handed on, by number; undefined: all of them. */
  readonly kept: readonly number[] | undefined
  /** How many records the partition had before this batch. */
  readonly before: number
  readonly page: string
  readonly position: Position
}

/** The records of a page. */
export class PageBatch implements Batch {
  readonly length: number
  readonly position: Position
  readonly bytes: number
  readonly #parts: PageBatchParts

  constructor(parts: PageBatchParts) {
    this.length = parts.kept?.length ?? parts.items.length
    this.position = parts.position
    this.bytes = parts.items.bytes
    this.#parts = parts
  }

  raw(i: number): Uint8Array {
    return this.#parts.items.raw(this.#item(i))
  }

  record(i: number): RecordObject | DecodeFault {
    return this.#parts.items.record(this.#item(i))
  }

  ordinal(i: number): number {
    return this.#parts.before + i + 1
  }

  place(i: number): Place {
    return { page: this.#parts.page, item: this.#item(i) + 1 }
  }

  #item(i: number): number {
    const { kept } = this.#parts
    return kept === undefined ? i : (kept[i] as number)
  }
}
