import { DecodeFault, type Batch, type Place, type RecordObject } from "../core/records.ts"
import { shown } from "../core/shown.ts"

/** Values of a program as records. What is judged is a copy, so that nothing of the caller's changes. */
export class RecordsBatch implements Batch {
  readonly length: number
  readonly position = {}
  readonly bytes = 0
  readonly #values: readonly unknown[]
  readonly #first: number
  readonly #untyped: boolean

  /** `first` is the number of the first value; `untyped`: a blank is the only word for absence. */
  constructor(values: readonly unknown[], first: number, untyped: boolean) {
    this.length = values.length
    this.#values = values
    this.#first = first
    this.#untyped = untyped
  }

  raw(i: number): Uint8Array {
    return Buffer.from(JSON.stringify(this.#values[i]) ?? "")
  }

  record(i: number): RecordObject | DecodeFault {
    const value = this.#values[i]
    if (typeof value === "object" && value !== null && !Array.isArray(value))
      return this.#untyped ? withoutBlanks({ ...value }) : { ...value }
    return new DecodeFault("not_object", `expected an object, got ${shown(value)}`, { expected: "an object" })
  }

  ordinal(i: number): number {
    return this.#first + i
  }

  place(): Place {
    return {}
  }
}

function withoutBlanks(record: RecordObject): RecordObject {
  for (const name in record) if (record[name] === "") record[name] = null
  return record
}
