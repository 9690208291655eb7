import { DecodeFault, type Batch, type Place, type Position, type RecordObject } from "../../core/records.ts"
import type { ReplayedLetter } from "../../ledger/replays.ts"

/** A letter with the record that is to go through the pipeline. */
export interface MendedLetter {
  readonly letter: ReplayedLetter
  readonly record: RecordObject | DecodeFault
}

/** Letters of one partition as a batch: each stands where it stood in its source, with its original bytes. */
export class LettersBatch implements Batch {
  readonly length: number
  readonly bytes: number
  readonly position: Position = {}
  readonly #letters: readonly MendedLetter[]

  constructor(letters: readonly MendedLetter[]) {
    this.#letters = letters
    this.length = letters.length
    this.bytes = letters.reduce((sum, { letter }) => sum + letter.raw.length, 0)
  }

  raw(i: number): Uint8Array {
    return this.#at(i).letter.raw
  }

  record(i: number): RecordObject | DecodeFault {
    const { record } = this.#at(i)
    return record instanceof DecodeFault ? record : structuredClone(record)
  }

  ordinal(i: number): number {
    return this.#at(i).letter.ordinal
  }

  place(i: number): Place {
    const { line, offset, page } = this.#at(i).letter.source
    return {
      ...(typeof line === "number" ? { line } : {}),
      ...(typeof offset === "number" ? { offset } : {}),
      ...(typeof page === "string" ? { page } : {}),
    }
  }

  #at(i: number): MendedLetter {
    return this.#letters[i] as MendedLetter
  }
}
