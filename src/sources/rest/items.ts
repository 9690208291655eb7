import { isUtf8 } from "node:buffer"
import { DecodeFault, type Batch, type RecordObject } from "../../core/records.ts"
import { jsonInBatches } from "../../formats/json.ts"
import { isObject, parsePage, type ItemsOption } from "./body.ts"
import { valueRange } from "./json-range.ts"

/** Looked for first: one byte is found much faster than six. */
const BACKSLASH = 0x5c

export interface ItemLimits {
  /** Properties whose numbers keep every digit. */
  readonly exact: ReadonlySet<string>
  readonly maxRecordBytes: number
}

/** The items of one page, parsed with the page; one by one from their own bytes where the fast way would not be faithful. */
export class PageItems {
  readonly body: unknown
  readonly length: number
  readonly bytes: number
  readonly #text: Buffer
  readonly #items: readonly unknown[]
  /** Where the array is in the text; undefined where a function took the items out. */
  readonly #path: readonly string[] | undefined
  readonly #limits: ItemLimits
  readonly #given: Uint8Array
  readonly #hasLongNumbers: boolean
  #faithful: boolean | undefined
  #single: readonly Batch[] | undefined

  /** Throws `DECODE` for a body that is not JSON or has no items, `CONFIG` where it cannot be told which array is meant. */
  constructor(text: Buffer, option: ItemsOption, limits: ItemLimits) {
    this.#text = text
    this.#limits = limits
    this.bytes = text.length
    const { body, items, path, hasLongNumbers } = parsePage(text, option, limits.exact)
    this.body = body
    this.#items = items
    this.#path = path
    this.#hasLongNumbers = hasLongNumbers
    this.length = items.length
    this.#given = new Uint8Array(items.length)
  }

  /** Item i as the page has it, to be looked at before records are made. */
  value(i: number): unknown {
    return this.#items[i]
  }

  record(i: number): RecordObject | DecodeFault {
    // What was handed out may have been changed since: the next time it is made anew.
    if (this.#asParsed() && this.#given[i] === 0) {
      const item = this.#items[i]
      this.#given[i] = 1
      if (isObject(item)) return item
    }
    return this.#path === undefined ? this.#taken(i) : this.#fromBytes(i, (batch, n) => batch.record(n))
  }

  raw(i: number): Uint8Array {
    const { maxRecordBytes } = this.#limits
    if (this.#path !== undefined) return this.#fromBytes(i, (batch, n) => batch.raw(n)).subarray(0, maxRecordBytes)
    return Buffer.from(JSON.stringify(this.#items[i]) ?? "null").subarray(0, maxRecordBytes)
  }

  /** Whether records are what parsing the page as a whole gave. Asked for each of them, and decided once. */
  #asParsed(): boolean {
    return this.#faithful ?? (this.#faithful = this.#path !== undefined && this.#isFaithful())
  }

  /** Whether parsing the page as a whole loses nothing of any item: digits, a NUL character, bytes that are not UTF-8, one that is too long. */
  #isFaithful(): boolean {
    return (
      !this.#hasLongNumbers &&
      this.#text.length <= this.#limits.maxRecordBytes &&
      !(this.#text.includes(BACKSLASH) && this.#text.includes("\\u0000")) &&
      isUtf8(this.#text)
    )
  }

  /** An item that a function took out is copied each time it is asked for: there are no bytes to make it of. */
  #taken(i: number): RecordObject | DecodeFault {
    return this.#one(Buffer.from(JSON.stringify(this.#items[i]) ?? "null"))
  }

  #one(json: Buffer): RecordObject | DecodeFault {
    const [batch] = decoded(Buffer.concat([Buffer.from("["), json, Buffer.from("]")]), this.#limits)
    return batch?.record(0) ?? new DecodeFault("json", "the item cannot be read")
  }

  #fromBytes<T>(i: number, ask: (batch: Batch, n: number) => T): T {
    if (this.#single === undefined) {
      const [from, to] = valueRange(this.#text, this.#path ?? [])
      this.#single = decoded(this.#text.subarray(from, to), this.#limits)
    }
    let n = i
    for (const batch of this.#single) {
      if (n < batch.length) return ask(batch, n)
      n -= batch.length
    }
    throw new RangeError(`the page has no item ${i}`)
  }
}

const WHOLE = jsonInBatches({ records: Infinity, bytes: Infinity })

function decoded(array: Buffer, { exact, maxRecordBytes }: ItemLimits): readonly Batch[] {
  const decoder = WHOLE.decoder({ exact, maxRecordBytes })
  return [...decoder.push(array), ...decoder.end()]
}
