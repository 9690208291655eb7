import { hash } from "node:crypto"
import type { LetterOrigin } from "../dead-letters/letter.ts"
import { putNumber, putWords, viewOf, WORD_SPARE } from "../core/put-bytes.ts"

/** Digits of an id behind its prefix. */
export const ID_DIGITS = 32

const BRACKET = 0x5d
const FIRST_BYTES = 1024
/** Lengths of what is hashed for which a view is kept: to make one takes longer than to copy its bytes. */
const VIEWS = 1024
const LONGEST_NUMBER = 17

/** Makes the ids of letters of one partition as `letterId` does, of records that are there whole. */
export class LetterIds {
  /** What is hashed: where a record comes from, and its bytes. */
  #hashed: Buffer
  #view: DataView
  readonly #views: (Buffer | undefined)[] = []
  readonly #headLength: number

  constructor({ pipeline, partition }: Pick<LetterOrigin, "pipeline" | "partition">) {
    const head = Buffer.from(`${JSON.stringify([pipeline, partition]).slice(0, -1)},`)
    this.#headLength = head.length
    this.#hashed = Buffer.concat([head, Buffer.alloc(FIRST_BYTES)])
    this.#view = viewOf(this.#hashed)
  }

  /** The digits, and more behind them. */
  digits(ordinal: number, bytes: DataView, from: number, to: number): string {
    const most = this.#headLength + LONGEST_NUMBER + 1 + to - from + WORD_SPARE
    if (most > this.#hashed.length) this.#grow(most)
    const hashed = this.#hashed
    let length = putNumber(hashed, this.#headLength, ordinal)
    hashed[length++] = BRACKET
    return hash("sha256", this.#first(putWords(this.#view, length, bytes, from, to)))
  }

  #first(length: number): Buffer {
    if (length >= VIEWS) return this.#hashed.subarray(0, length)
    return (this.#views[length] ??= this.#hashed.subarray(0, length))
  }

  #grow(most: number): void {
    this.#hashed = Buffer.concat([this.#hashed.subarray(0, this.#headLength), Buffer.alloc(2 * most)])
    this.#view = viewOf(this.#hashed)
    this.#views.length = 0
  }
}
