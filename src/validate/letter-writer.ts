import { isUtf8 } from "node:buffer"
import { hash } from "node:crypto"
import {
  FIELD_DOUBLED,
  FIELD_OFFSET,
  FIELD_QUOTED,
  type Batch,
  type DecodeFault,
  type FieldRanges,
} from "../core/records.ts"
import { makeLetter, type LetterOrigin } from "../dead-letters/letter.ts"
import { putBytes, putInteger, putJsonText } from "./json-text.ts"
import { letterLine, type LetterFrame } from "./letter-line.ts"
import { kindOf, letterTemplate, type LetterTemplate } from "./letter-template.ts"
import type { OutputText } from "./output-text.ts"
import type { Faults } from "./short-way.ts"
import type { FaultTally } from "./tally.ts"

const QUOTE = 0x22
const CLOSE = 0x7d
const LF = 0x0a
const NULL = Buffer.from("null")
const OFFSET = Buffer.from(',"offset":')
const ID_DIGITS = 32
/** Id, line and offset. */
const SPARE_BYTES = 128
/** What JSON writes for characters that a text of PostgreSQL may be unable to hold. */
const ESCAPED_BY_NUMBER = "\\u"
/** Kinds of faults in a batch that are worth a template. */
const KINDS_KEPT = 100

/** What letters with equal faults have in common. */
interface CommonText {
  readonly template: LetterTemplate
  /** Before the record, and between id and line: the messages are in there. */
  readonly beforeRecord: Buffer
  readonly beforeLine: Buffer
}

/** Writes the letters of one batch; from bytes in the way that `letterLine` would write them. */
export class LetterWriter {
  readonly #batch: Batch
  readonly #origin: LetterOrigin
  readonly #frame: LetterFrame
  readonly #output: OutputText
  readonly #tally: FaultTally
  #longWay = 0
  /** What an id is the hash of, up to the line. */
  readonly #identity: string
  /** By the kinds of faults. */
  readonly #templates = new Map<string, LetterTemplate | undefined>()
  /** By faults that come again. */
  readonly #common = new Map<object, CommonText | undefined>()
  /** Undefined where records are not of texts that can be copied. */
  readonly #fields: FieldRanges | undefined
  /** The names of the columns as JSON has them before their values. */
  readonly #leads: readonly Buffer[]
  readonly #leadsLength: number

  constructor(batch: Batch, origin: LetterOrigin, frame: LetterFrame, output: OutputText, tally: FaultTally) {
    this.#batch = batch
    this.#tally = tally
    this.#origin = origin
    this.#frame = frame
    this.#output = output
    this.#identity = `${JSON.stringify([origin.pipeline, origin.partition]).slice(0, -1)},`
    const { fields } = batch
    const columns = fields?.columns ?? []
    // Objects put such names in another order.
    const isOrdered = !columns.some((name) => /^\d+$/.test(name) || name === "__proto__")
    this.#fields = isOrdered && fields?.quote === QUOTE ? fields : undefined
    this.#leads = columns.map((name, n) => Buffer.from(`${n === 0 ? "{" : ","}${JSON.stringify(name)}:`))
    this.#leadsLength = this.#leads.reduce((sum, lead) => sum + lead.length, 0)
  }

  /** Counts what is left to count; gives the number of letters. */
  finish(): number {
    let letters = this.#longWay
    for (const template of this.#templates.values()) {
      if (template === undefined || template.count === 0) continue
      letters += template.count
      if (template.count > 1) this.#tally.add(template.faults, template.count - 1)
    }
    return letters
  }

  /** Any letter. */
  write(i: number, faults: Faults): void {
    if (this.#fields?.isWhole(i) === true && this.#isClear(i) && this.#fill(i, this.#textOf(i, faults), this.#fields))
      return
    this.#output.text.add(`${letterLine(makeLetter(this.#origin, this.#batch, i, faults), this.#frame)}\n`)
    this.#tally.add(faults)
    this.#longWay++
  }

  /** The letter of a record that could not be decoded; false when it has to be written in the long way. */
  writeUndecoded(i: number, { fault, oversize }: DecodeFault): boolean {
    return oversize === undefined && this.#isClear(i) && this.#fill(i, this.#commonText(i, [fault], fault), undefined)
  }

  /** The letter of a record of text fields with faults that come again, as the same object; false when it has to be written in the long way. */
  writeKnown(i: number, faults: Faults): boolean {
    return this.#fields !== undefined && this.#fill(i, this.#commonText(i, faults, faults), this.#fields)
  }

  #isClear(i: number): boolean {
    return this.#fields?.isUtf8() === true || isUtf8(this.#batch.raw(i))
  }

  #fill(i: number, common: CommonText | undefined, fields: FieldRanges | undefined): boolean {
    if (common === undefined) return false
    const { template, beforeRecord, beforeLine } = common
    const raw = this.#batch.raw(i)
    const { text } = this.#output
    // Escapes may double what a text takes, which is written twice.
    const most = this.#leadsLength + 4 * raw.length + 5 * this.#leads.length + SPARE_BYTES
    text.room(beforeRecord.length + beforeLine.length + template.length + most)
    const out = text.bytes
    let at = putBytes(out, text.length, beforeRecord)
    at = fields === undefined ? putBytes(out, at, NULL) : this.#putRecord(out, at, i, fields)
    if (at < 0) return false
    at = putBytes(out, at, template.beforeId)
    at = putAscii(out, at, this.#digest(this.#batch.ordinal(i), raw), ID_DIGITS)
    at = putBytes(out, at, beforeLine)
    const { line = 0, offset = 0 } = this.#batch.place(i)
    at = putInteger(out, at, line)
    at = putBytes(out, at, OFFSET)
    at = putInteger(out, at, offset)
    out[at++] = CLOSE
    at = putBytes(out, at, template.beforeRaw)
    at = putJsonText(out, at, raw, 0, raw.length, false)
    if (at < 0) return false
    at = putBytes(out, at, template.behind)
    out[at++] = LF
    text.length = at
    // What was seen first is told first, of faults that are as frequent.
    if (template.count++ === 0) this.#tally.add(template.faults)
    return true
  }

  /** What a letter's id begins with the digits of. */
  #digest(ordinal: number, raw: Uint8Array): string {
    return hash("sha256", `${this.#identity}${ordinal},"${hash("sha256", raw)}"]`)
  }

  #putRecord(out: Buffer, start: number, i: number, { bytes, starts, ends }: FieldRanges): number {
    const leads = this.#leads
    let at = start
    let from = starts[i] as number
    let slot = i * leads.length
    for (const lead of leads) {
      at = putBytes(out, at, lead)
      const end = ends[slot++] as number
      const to = end & FIELD_OFFSET
      const inset = end >= FIELD_QUOTED ? 1 : 0
      if (to - from === 2 * inset) at = putBytes(out, at, NULL)
      else {
        out[at++] = QUOTE
        at = putJsonText(out, at, bytes, from + inset, to - inset, end >= FIELD_DOUBLED)
        if (at < 0) return at
        out[at++] = QUOTE
      }
      from = to + 1
    }
    out[at++] = CLOSE
    return at
  }

  #commonText(i: number, faults: Faults, key: object): CommonText | undefined {
    const known = this.#common.get(key)
    if (known !== undefined || this.#common.has(key)) return known
    const made = this.#textOf(i, faults)
    this.#common.set(key, made)
    return made
  }

  #textOf(i: number, faults: Faults): CommonText | undefined {
    // What a fault without a rule has in common with others depends on its message; what is told of secrets, on the record.
    if (faults[0].rule === undefined || (this.#origin.secrets?.size ?? 0) > 0) return undefined
    const messages = faults.map(({ message }) => JSON.stringify(message).slice(1, -1))
    if (messages.some((message) => message.includes(ESCAPED_BY_NUMBER))) return undefined
    const template = this.#templateOf(i, faults)
    if (template === undefined) return undefined
    const told = messages.map((message) => Buffer.from(message))
    const { beforeMessage, beforeMessages } = template
    const between = told.flatMap((message, n) => [beforeMessages[n] as Buffer, message])
    return {
      template,
      beforeRecord: Buffer.concat([beforeMessage, Buffer.from(messages.join("; ")), template.beforeRecord]),
      beforeLine: Buffer.concat([...between, template.beforeLine]),
    }
  }

  #templateOf(i: number, faults: Faults): LetterTemplate | undefined {
    const kind = kindOf(faults)
    const known = this.#templates.get(kind)
    if (known !== undefined || this.#templates.size >= KINDS_KEPT || this.#templates.has(kind)) return known
    const sample = { batch: this.#batch, i, faults }
    const made = letterTemplate(this.#origin, this.#frame, sample, (ordinal, raw) => this.#digest(ordinal, raw))
    this.#templates.set(kind, made)
    return made
  }
}

/** Writes the first characters of a text. */
function putAscii(out: Buffer, at: number, text: string, length: number): number {
  for (let n = 0; n < length; n++) out[at + n] = text.charCodeAt(n)
  return at + length
}
