import { isUtf8 } from "node:buffer"
import { DecodeFault, type Batch, type Place, type Position, type RecordObject } from "../core/records.ts"
import { parseObject } from "./jsonl-batch.ts"

export interface JsonElements {
  readonly bytes: Buffer
  /** Of each element, relative to `bytes`: its first byte and its end. */
  readonly starts: readonly number[]
  readonly ends: readonly number[]
  /** The physical line each element begins on. */
  readonly lines: readonly number[]
  /** The number of the first element in its array, from 1. */
  readonly first: number
  /** The offset in the file of the first byte of `bytes`. */
  readonly offset: number
  /** Bytes of the file the batch takes up. */
  readonly taken: number
  readonly position: Position
  readonly exact: ReadonlySet<string>
  /** What is known to be wrong with elements before they are parsed, by index. */
  readonly faults: ReadonlyMap<number, DecodeFault>
}

/** Elements of a JSON array, parsed when they are asked for. */
export class JsonBatch implements Batch {
  readonly length: number
  readonly bytes: number
  readonly position: Position
  readonly #elements: JsonElements
  #utf8: boolean | undefined

  constructor(elements: JsonElements) {
    this.length = elements.starts.length
    this.bytes = elements.taken
    this.position = elements.position
    this.#elements = elements
  }

  raw(i: number): Uint8Array {
    return this.#elements.bytes.subarray(this.#elements.starts[i], this.#elements.ends[i])
  }

  record(i: number): RecordObject | DecodeFault {
    const { bytes, starts, ends, exact, faults } = this.#elements
    const fault = faults.get(i)
    if (fault !== undefined) return fault
    this.#utf8 ??= isUtf8(bytes)
    if (!this.#utf8 && !isUtf8(this.raw(i)))
      return new DecodeFault("utf8", "the record is not valid UTF-8", { expected: "UTF-8" })
    return parseObject(bytes.toString("utf8", starts[i], ends[i]), exact, "element")
  }

  /** The element's number: several may stand on one line. */
  ordinal(i: number): number {
    return this.#elements.first + i
  }

  place(i: number): Place {
    const { lines, offset, starts } = this.#elements
    return { line: lines[i] as number, offset: offset + (starts[i] as number) }
  }
}
