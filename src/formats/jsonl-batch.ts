import { isUtf8 } from "node:buffer"
import {
  DecodeFault,
  type Batch,
  type LineRanges,
  type Place,
  type Position,
  type RecordObject,
} from "../core/records.ts"
import { hasLongNumber, parseExactly } from "./json-numbers.ts"

export interface JsonlLines {
  readonly bytes: Buffer
  /** Of each record, relative to `bytes`: its first byte and its end. */
  readonly starts: readonly number[]
  readonly ends: readonly number[]
  /** The physical line of each record. */
  readonly lines: readonly number[]
  /** The offset in the file of the first byte of `bytes`. */
  readonly offset: number
  /** Bytes of the file the batch takes up. */
  readonly taken: number
  readonly position: Position
  readonly exact: ReadonlySet<string>
  /** What is wrong with the one record of a batch that holds a line too long to keep. */
  readonly fault: DecodeFault | undefined
}

/** Lines of JSON, parsed when they are asked for. */
export class JsonlBatch implements Batch {
  readonly length: number
  readonly bytes: number
  readonly position: Position
  readonly #lines: JsonlLines
  #utf8: boolean | undefined

  constructor(lines: JsonlLines) {
    this.length = lines.starts.length
    this.bytes = lines.taken
    this.position = lines.position
    this.#lines = lines
  }

  get lines(): LineRanges | undefined {
    const { bytes, starts, ends, fault } = this.#lines
    return fault === undefined ? { bytes, starts, ends, isUtf8: () => this.#isUtf8() } : undefined
  }

  raw(i: number): Uint8Array {
    return this.#lines.bytes.subarray(this.#lines.starts[i], this.#lines.ends[i])
  }

  record(i: number): RecordObject | DecodeFault {
    if (this.#lines.fault !== undefined) return this.#lines.fault
    if (!this.#isUtf8() && !isUtf8(this.raw(i))) return NOT_UTF8
    const text = this.#lines.bytes.toString("utf8", this.#lines.starts[i], this.#lines.ends[i])
    return parseObject(text, this.#lines.exact, "line")
  }

  #isUtf8(): boolean {
    return (this.#utf8 ??= isUtf8(this.#lines.bytes))
  }

  ordinal(i: number): number {
    return this.#lines.lines[i] as number
  }

  place(i: number): Place {
    return { line: this.ordinal(i), offset: this.#lines.offset + (this.#lines.starts[i] as number) }
  }
}

const NOT_UTF8 = new DecodeFault("utf8", "the record is not valid UTF-8", { expected: "UTF-8" })

/** The object that the bytes of one record say, or why they are none. */
export const objectOf = (
  raw: Uint8Array,
  exact: ReadonlySet<string>,
  what: "line" | "element",
): RecordObject | DecodeFault =>
  isUtf8(raw) ? parseObject(Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).toString(), exact, what) : NOT_UTF8

/** The object that `text` says, or why it is none; `what` is how a fault calls the text. */
export function parseObject(
  text: string,
  exact: ReadonlySet<string>,
  what: "line" | "element",
): RecordObject | DecodeFault {
  let value: unknown
  try {
    value = exact.size > 0 && hasLongNumber(text) ? parseExactly(text, exact) : JSON.parse(text)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    return new DecodeFault("json", `the ${what} is not JSON: ${reason}`, { expected: "a JSON object" })
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    return new DecodeFault("not_object", `expected a JSON object, got ${kindOf(value)}`, { expected: "a JSON object" })
  if (text.includes("\\u0000") && holdsNul(value))
    return new DecodeFault("nul", "the record holds a NUL character, which PostgreSQL text cannot")
  return value as RecordObject
}

function kindOf(value: unknown): string {
  if (value === null) return "null"
  return Array.isArray(value) ? "an array" : `a ${typeof value}`
}

function holdsNul(value: unknown): boolean {
  if (typeof value === "string") return value.includes("\0")
  if (typeof value !== "object" || value === null) return false
  return Object.entries(value).some(([key, inner]) => key.includes("\0") || holdsNul(inner))
}
