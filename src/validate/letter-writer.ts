import { isUtf8 } from "node:buffer"
import {
  FIELD_DOUBLED,
  FIELD_OFFSET,
  FIELD_QUOTED,
  type Batch,
  type DecodeFault,
  type FieldRanges,
} from "../core/records.ts"
import { makeLetter, type LetterOrigin } from "../dead-letters/letter.ts"
import { put, putNumber, putRange } from "../core/put-bytes.ts"
import { putJsonText } from "./json-text.ts"
import { ID_DIGITS, type LetterIds } from "./letter-ids.ts"
import { letterLine } from "./letter-line.ts"
import type { LetterText, LetterTexts } from "./letter-texts.ts"
import type { OutputText } from "./output-text.ts"
import type { Faults } from "./short-way.ts"
import type { FaultTally } from "./tally.ts"

const QUOTE = 0x22
const CLOSE = 0x7d
const LF = 0x0a
const NULL = Buffer.from("null")
const OFFSET = Buffer.from(',"offset":')
/** Line and offset. */
const SPARE_BYTES = 128

/** What the letters of all batches of an input have in common. */
export interface LettersOfInput {
  readonly origin: LetterOrigin
  readonly ids: LetterIds
  readonly texts: LetterTexts
  readonly tally: FaultTally
}

/** Writes the letters of one batch; from bytes in the way that `letterLine` would write them. */
export class LetterWriter {
  readonly #batch: Batch
  readonly #letters: LettersOfInput
  readonly #output: OutputText
  #longWay = 0
  /** Undefined where records are not of texts that can be copied. */
  readonly #fields: FieldRanges | undefined
  /** The names of the columns as JSON has them before their values. */
  readonly #leads: readonly Buffer[]
  readonly #leadsLength: number
  /** Fields without quotes are texts of JSON as they stand. */
  readonly #isPlain: boolean

  constructor(batch: Batch, letters: LettersOfInput, output: OutputText) {
    this.#batch = batch
    this.#letters = letters
    this.#output = output
    const { fields } = batch
    const columns = fields?.columns ?? []
    // Objects put such names in another order.
    const isOrdered = !columns.some((name) => /^\d+$/.test(name) || name === "__proto__")
    this.#fields = isOrdered && fields?.quote === QUOTE ? fields : undefined
    this.#isPlain = fields?.isPlain() === true
    this.#leads = columns.map((name, n) => Buffer.from(`${n === 0 ? "{" : ","}${JSON.stringify(name)}:`))
    this.#leadsLength = this.#leads.reduce((sum, lead) => sum + lead.length, 0)
  }

  /** Counts what is left to count; gives the number of letters. */
  finish(): number {
    return this.#longWay + this.#letters.texts.settle()
  }

  /** Any letter. */
  write(i: number, faults: Faults): void {
    const { origin, texts, tally } = this.#letters
    const canBeFilled = this.#fields?.isWhole(i) === true && this.#isClear(i)
    if (canBeFilled && this.#fill(i, texts.of(this.#batch, i, faults), this.#fields)) return
    this.#output.text.add(`${letterLine(makeLetter(origin, this.#batch, i, faults), texts.frame)}\n`)
    tally.add(faults)
    this.#longWay++
  }

  /** The letter of a record that could not be decoded; false when it has to be written in the long way. */
  writeUndecoded(i: number, { fault, oversize }: DecodeFault): boolean {
    return (
      oversize === undefined &&
      this.#isClear(i) &&
      this.#fill(i, this.#letters.texts.known(this.#batch, i, [fault], fault), undefined)
    )
  }

  /** The letter of a record of text fields with faults that come again, as the same object; false when it has to be written in the long way. */
  writeKnown(i: number, faults: Faults): boolean {
    return (
      this.#fields !== undefined &&
      this.#fill(i, this.#letters.texts.known(this.#batch, i, faults, faults), this.#fields)
    )
  }

  #isClear(i: number): boolean {
    return this.#fields?.isUtf8() === true || isUtf8(this.#batch.raw(i))
  }

  #fill(i: number, letterText: LetterText | undefined, fields: FieldRanges | undefined): boolean {
    if (letterText === undefined) return false
    const { ids, texts } = this.#letters
    const { template, beforeRecord, beforeLine } = letterText
    const bytes = fields?.bytes ?? bufferOf(this.#batch.raw(i))
    const from = fields === undefined ? 0 : (fields.starts[i] as number)
    const to = fields === undefined ? bytes.length : endOf(fields, i)
    const { text } = this.#output
    // Escapes may double what a text takes, which is written twice.
    const most = this.#leadsLength + 4 * (to - from) + 5 * this.#leads.length + SPARE_BYTES
    text.room(beforeRecord.length + beforeLine.length + template.length + most)
    const out = text.bytes
    let at = put(out, text.length, beforeRecord)
    at = fields === undefined ? put(out, at, NULL) : this.#putRecord(out, at, i, fields)
    if (at < 0) return false
    const idAt = at + template.beforeId.length
    at = put(out, at, beforeLine)
    out.write(ids.digits(this.#batch.ordinal(i), bytes, from, to), idAt, ID_DIGITS, "latin1")
    const { line = 0, offset = 0 } = this.#batch.place(i)
    at = putNumber(out, at, line)
    at = put(out, at, OFFSET)
    at = putNumber(out, at, offset)
    out[at++] = CLOSE
    at = put(out, at, template.beforeRaw)
    const isPlain = fields !== undefined && this.#isPlain && !hasQuotes(fields, i)
    at = isPlain ? putRange(out, at, bytes, from, to) : putJsonText(out, at, bytes, from, to, false)
    if (at < 0) return false
    at = put(out, at, template.behind)
    out[at++] = LF
    text.length = at
    texts.count(letterText)
    return true
  }

  #putRecord(out: Buffer, start: number, i: number, { bytes, starts, ends }: FieldRanges): number {
    const leads = this.#leads
    const isPlain = this.#isPlain
    let at = start
    let from = starts[i] as number
    let slot = i * leads.length
    for (const lead of leads) {
      at = put(out, at, lead)
      const end = ends[slot++] as number
      const to = end & FIELD_OFFSET
      const inset = end >= FIELD_QUOTED ? 1 : 0
      if (to - from === 2 * inset) at = put(out, at, NULL)
      else {
        out[at++] = QUOTE
        if (isPlain && inset === 0) at = putRange(out, at, bytes, from, to)
        else at = putJsonText(out, at, bytes, from + inset, to - inset, end >= FIELD_DOUBLED)
        if (at < 0) return at
        out[at++] = QUOTE
      }
      from = to + 1
    }
    out[at++] = CLOSE
    return at
  }
}

/** Behind the last byte of a record that is well formed. */
const endOf = ({ columns: { length }, ends }: FieldRanges, i: number): number =>
  (ends[(i + 1) * length - 1] as number) & FIELD_OFFSET

/** Whether one of a record's fields is in quotes. */
function hasQuotes({ columns: { length }, ends }: FieldRanges, i: number): boolean {
  for (let slot = i * length; slot < (i + 1) * length; slot++) if ((ends[slot] as number) >= FIELD_QUOTED) return true
  return false
}

const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
