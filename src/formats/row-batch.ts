import { createHash } from "node:crypto"
import { DecodeFault, type Batch, type Place, type Position, type RecordObject } from "../core/records.ts"

export interface Rows {
  readonly length: number
  /** Where the source resumes after these rows. */
  readonly position: Position
  /** The number of row 0 in its partition, from 1. */
  readonly first: number
  /** What of the source the rows take up; default: the bytes of their JSON text. */
  readonly bytes?: number
  readonly maxRecordBytes: number
  /** Row i as a fresh object. */
  make(i: number): RecordObject | DecodeFault
  /** The bytes of a row whose `make` gives a fault. Default: none. */
  raw?(i: number): Uint8Array
  /** Default: the row's number as its line. */
  place?(i: number): Place
}

/** Rows of a source that carries values instead of text: the raw bytes of a record are its JSON. */
export class RowBatch implements Batch {
  readonly length: number
  readonly position: Position
  readonly #rows: Rows
  #bytes: number | undefined

  constructor(rows: Rows) {
    this.length = rows.length
    this.position = rows.position
    this.#rows = rows
    this.#bytes = rows.bytes
  }

  get bytes(): number {
    this.#bytes ??= Array.from({ length: this.length }, (_, i) => this.#json(i).length).reduce((sum, n) => sum + n, 0)
    return this.#bytes
  }

  raw(i: number): Uint8Array {
    return this.#json(i).subarray(0, this.#rows.maxRecordBytes)
  }

  record(i: number): RecordObject | DecodeFault {
    const made = this.#rows.make(i)
    return made instanceof DecodeFault ? made : (this.#fault(i, made) ?? made)
  }

  ordinal(i: number): number {
    return this.#rows.first + i
  }

  place(i: number): Place {
    return this.#rows.place?.(i) ?? { line: this.ordinal(i) }
  }

  #json(i: number): Uint8Array {
    const made = this.#rows.make(i)
    if (made instanceof DecodeFault) return this.#rows.raw?.(i) ?? new Uint8Array()
    return Buffer.from(jsonOf(made))
  }

  #fault(i: number, record: RecordObject): DecodeFault | undefined {
    const { size, nul } = measure(record)
    if (nul) return new DecodeFault("nul", "the record holds a NUL character, which PostgreSQL text cannot")
    const most = this.#rows.maxRecordBytes
    // Six bytes is the most that one character takes in JSON text: only what may be too long is written out and counted.
    if (size * 6 <= most) return undefined
    const json = this.#json(i)
    if (json.length <= most) return undefined
    const sha256 = createHash("sha256").update(json).digest("hex")
    return new DecodeFault(
      "too_long",
      `the record has ${json.length} bytes, more than the ${most} that a record may have`,
      {
        expected: `at most ${most} bytes`,
        oversize: { bytes: json.length, sha256 },
      },
    )
  }
}

const jsonOf = (record: RecordObject): string =>
  JSON.stringify(record, (_key, value: unknown) => (typeof value === "bigint" ? value.toString() : value))

/** Roughly the characters of a value's JSON text, never too few, and whether a text in it holds a NUL. */
function measure(value: unknown): { size: number; nul: boolean } {
  let size = 0
  let nul = false
  const visit = (inner: unknown): void => {
    if (typeof inner === "string") {
      size += inner.length + 3
      nul ||= inner.includes("\0")
    } else if (typeof inner === "object" && inner !== null) {
      size += 2
      for (const [key, item] of Object.entries(inner)) {
        visit(key)
        visit(item)
      }
    } else size += 26
  }
  visit(value)
  return { size, nul }
}
