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
  readonly #items: PageItems
  readonly #kept: readonly number[] | undefined

  constructor(parts: PageBatchParts) {
    this.length = parts.kept?.length ?? parts.items.length
    this.position = parts.position
    this.bytes = parts.items.bytes
    this.#parts = parts
    this.#items = parts.items
    this.#kept = parts.kept
  }

  raw(i: number): Uint8Array {
    return this.#items.raw(this.#item(i))
  }

  record(i: number): RecordObject | DecodeFault {
    return this.#items.record(this.#item(i))
  }

  ordinal(i: number): number {
    return this.#parts.before + i + 1
  }

  place(i: number): Place {
    return { page: this.#parts.page, item: this.#item(i) + 1 }
  }

  #item(i: number): number {
    return this.#kept === undefined ? i : (this.#kept[i] as number)
  }
}
