import { BEYOND_ASCII, CSV_QUOTES, CUT_SHIFT, JSON_ESCAPES, SURE, type ByteCheck } from "../core/byte-check.ts"
import type { LineRanges } from "../core/records.ts"
import type { CopyText } from "../engine/pipeline/copy-text.ts"
import type { GoodFormat } from "./good-rows.ts"
import { RowCopier } from "./row-copier.ts"
import type { SureRows } from "./short-way.ts"

/** A property in the order of the schema. */
export interface SureProperty {
  readonly name: string
  readonly check: ByteCheck
  /** It has to be there; where absence is accepted as well, that is said by null. */
  readonly required: boolean
}

interface Plan extends SureProperty {
  /** The name in quotes. */
  readonly key: Buffer
}

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const SPACE = 0x20
const OPEN = 0x7b
const CLOSE = 0x7d
const LF = 0x0a
const NULL = Buffer.from("null")
/** A line with longer values goes the long way. */
const LONGEST_VALUE = 4096

/**
 * From lines of JSON to lines of JSON or CSV, for flat objects whose properties come in the order of the schema and without
 * escapes in their texts.
 */
export function jsonLines(
  lines: LineRanges,
  properties: readonly SureProperty[],
  format: GoodFormat,
  text: CopyText,
): SureRows {
  const plans = properties.map((property): Plan => ({ ...property, key: Buffer.from(JSON.stringify(property.name)) }))
  return new LineReader(lines, plans, format, text)
}

class LineReader implements SureRows {
  readonly doubtfulFrom = 0
  readonly #format: GoodFormat
  readonly #text: CopyText
  readonly #lines: LineRanges
  readonly #plans: readonly Plan[]
  readonly #copier: RowCopier
  /** Where each property's value lies, and whether CSV puts it in quotes. */
  readonly #from: Int32Array
  readonly #to: Int32Array
  readonly #quotes: Uint8Array
  #at = 0

  constructor(lines: LineRanges, plans: readonly Plan[], format: GoodFormat, text: CopyText) {
    this.#format = format
    this.#text = text
    this.#lines = lines
    this.#plans = plans
    // Spaces before a name, a colon, a value and what follows it, and zeros behind it.
    this.#copier = new RowCopier(lines.bytes, text, 5 * plans.length + 2)
    this.#from = new Int32Array(plans.length)
    this.#to = new Int32Array(plans.length)
    this.#quotes = new Uint8Array(plans.length)
  }

  flush(): void {
    this.#copier.flush()
  }

  take(i: number): boolean {
    if (!this.#read(i)) return false
    if (this.#format === "csv") return this.#writeCsv(i)
    this.#copier.take(this.#lines.starts[i] as number, this.#lines.ends[i] as number)
    return true
  }

  /** The values of the line that was read, as a row. */
  #writeCsv(i: number): boolean {
    const text = this.#text
    const { bytes, starts, ends } = this.#lines
    text.room(2 * ((ends[i] as number) - (starts[i] as number)) + 3 * this.#plans.length)
    const out = text.bytes
    let at = text.length
    for (let p = 0; p < this.#plans.length; p++) {
      if (p > 0) out[at++] = COMMA
      const quotes = this.#quotes[p] !== 0
      const to = this.#to[p] as number
      if (quotes) out[at++] = QUOTE
      for (let n = this.#from[p] as number; n < to; n++) out[at++] = bytes[n] as number
      if (quotes) out[at++] = QUOTE
    }
    if (at === text.length) return false
    out[at++] = LF
    text.length = at
    return true
  }

  /** Finds the values of line i; false when it is not sure of all of them. */
  #read(i: number): boolean {
    const { bytes, starts, ends } = this.#lines
    const end = ends[i] as number
    this.#at = starts[i] as number
    this.#copier.begin()
    if (bytes[this.#at++] !== OPEN) return false
    this.#skipSpaces()
    let atName = true
    for (let p = 0; p < this.#plans.length; p++) {
      const plan = this.#plans[p] as Plan
      this.#put(p, 0, 0, false)
      if (!atName || !this.#skipName(plan.key)) {
        if (plan.required) return false
        continue
      }
      if (!this.#value(p, plan, end)) return false
      this.#skipSpaces()
      atName = bytes[this.#at] === COMMA
      if (!atName) continue
      this.#at++
      this.#skipSpaces()
    }
    return !atName && bytes[this.#at] === CLOSE && this.#at + 1 === end
  }

  #put(p: number, from: number, to: number, quotes: boolean): void {
    this.#from[p] = from
    this.#to[p] = to
    this.#quotes[p] = quotes ? 1 : 0
  }

  #skipSpaces(): void {
    const { bytes } = this.#lines
    if (bytes[this.#at] !== SPACE) return
    const from = this.#at
    while (bytes[this.#at] === SPACE) this.#at++
    this.#copier.leaveOut(from, this.#at)
  }

  #skipName(key: Buffer): boolean {
    const { bytes } = this.#lines
    const at = this.#at
    for (let n = 0; n < key.length; n++) if (bytes[at + n] !== key[n]) return false
    this.#at += key.length
    return true
  }

  /** A colon and a value. */
  #value(p: number, { check, required }: Plan, end: number): boolean {
    const { bytes } = this.#lines
    this.#skipSpaces()
    if (bytes[this.#at++] !== COLON) return false
    this.#skipSpaces()
    const first = bytes[this.#at]
    if (first === NULL[0]) return required && check.optional && this.#skipName(NULL)
    const isText = first === QUOTE
    if (isText === check.bare) return false
    const from = isText ? this.#at + 1 : this.#at
    const to = isText ? bytes.indexOf(QUOTE, from) : endOfBare(bytes, from, end)
    if (to <= from || to >= end || to - from > LONGEST_VALUE) return false
    const verdict = check.judge(bytes, from, to)
    // What JSON escapes cannot stand in a text without an escape.
    if ((verdict & SURE) === 0 || (verdict & JSON_ESCAPES) !== 0) return false
    if ((verdict & BEYOND_ASCII) !== 0 && !this.#lines.isUtf8()) return false
    const cut = verdict >> CUT_SHIFT
    if (cut > 0) this.#copier.leaveOut(to - cut, to)
    this.#put(p, from, to - cut, (verdict & CSV_QUOTES) !== 0)
    this.#at = isText ? to + 1 : to
    return true
  }
}

/** Where a number, true or false ends. */
function endOfBare(bytes: Uint8Array, from: number, end: number): number {
  let at = from
  for (; at < end; at++) {
    const byte = bytes[at]
    if (byte === COMMA || byte === CLOSE || byte === SPACE) break
  }
  return at
}
