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
import { letterLine, type LetterFrame } from "./letter-line.ts"
import type { OutputText } from "./output-text.ts"
import type { FaultTally } from "./tally.ts"
import type { Faults } from "./short-way.ts"

const QUOTE = 0x22
const BACKSLASH = 0x5c
const LF = 0x0a
/** Bytes of a text that JSON writes in another way: the letter behind the backslash, 0 for none, `ODD` for what goes the long way. */
const ODD = 0xff
const ESCAPES = new Uint8Array(256).map((_, byte) => {
  switch (byte) {
    case 0x09:
      return 0x74
    case LF:
      return 0x6e
    case 0x0d:
      return 0x72
    case QUOTE:
      return QUOTE
    default:
      return byte < 0x20 || byte === BACKSLASH ? ODD : 0
  }
})
const NULL = Buffer.from("null")
const CLOSE = 0x7d
/** Id, line and offset. */
const SPARE_BYTES = 128
/** What stands where a letter's own values go, while its line is taken apart. */
const MARKS = ["\u{f8f0}", "\u{f8f1}", "\u{f8f2}", "\u{f8f3}"] as const
const ANY_MARK = /[\u{f8f0}-\u{f8f3}]/u

/** A letter's line but for what differs between records with the same faults: the text before and between record, id, source and raw. */
interface Template {
  readonly faults: Faults
  readonly beforeRecord: Buffer
  readonly beforeId: Buffer
  readonly beforeLine: Buffer
  readonly beforeRaw: Buffer
  readonly behind: Buffer
  /** Bytes of all of them. */
  readonly length: number
  /** Letters written. */
  count: number
}

interface Leads {
  readonly names: readonly Buffer[]
  readonly length: number
}

const NO_LEADS: Leads = { names: [], length: 0 }

/** Writes the letters of one batch; from bytes in the way that `letterLine` would write them. */
export class LetterWriter {
  readonly #origin: LetterOrigin
  readonly #frame: LetterFrame
  readonly #output: OutputText
  readonly #tally: FaultTally
  #longWay = 0
  /** What an id is the hash of, up to the line. */
  readonly #identity: string
  readonly #templates = new Map<object, Template | undefined>()
  #leads: { of: FieldRanges | undefined; made: Leads | undefined } = { of: undefined, made: undefined }
  #at = 0

  constructor(origin: LetterOrigin, frame: LetterFrame, output: OutputText, tally: FaultTally) {
    this.#tally = tally
    this.#origin = origin
    this.#frame = frame
    this.#output = output
    this.#identity = `${JSON.stringify([origin.pipeline, origin.partition]).slice(0, -1)},`
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

  /** Any letter, in the long way. */
  write(batch: Batch, i: number, faults: Faults): void {
    this.#output.text.add(`${letterLine(makeLetter(this.#origin, batch, i, faults), this.#frame)}\n`)
    this.#tally.add(faults)
    this.#longWay++
  }

  /** The letter of a record that could not be decoded; false when it has to be written in the long way. */
  writeUndecoded(batch: Batch, i: number, { fault, oversize }: DecodeFault): boolean {
    if (oversize !== undefined || !isUtf8(batch.raw(i))) return false
    const template = this.#template(fault, batch, i, [fault])
    return template !== undefined && this.#fill(batch, i, template, undefined)
  }

  /** The letter of a record of text fields. */
  writeRow(batch: Batch, i: number, fields: FieldRanges, faults: Faults): boolean {
    const template = this.#template(faults, batch, i, faults)
    return template !== undefined && this.#fill(batch, i, template, fields)
  }

  #fill(batch: Batch, i: number, template: Template, fields: FieldRanges | undefined): boolean {
    const raw = batch.raw(i)
    const leads = fields === undefined ? NO_LEADS : this.#leadsOf(fields)
    if (leads === undefined) return false
    const { text } = this.#output
    // Escapes may double what a text takes, which is written twice.
    text.room(template.length + leads.length + 4 * raw.length + 5 * leads.names.length + SPARE_BYTES)
    const out = text.bytes
    this.#at = text.length
    this.#put(out, template.beforeRecord)
    if (fields === undefined) this.#put(out, NULL)
    else if (!this.#putRecord(out, i, fields, leads.names)) return false
    this.#put(out, template.beforeId)
    const ordinal = batch.ordinal(i)
    const { line, offset } = batch.place(i)
    this.#at += out.write(this.#id(ordinal, raw), this.#at, "latin1")
    this.#put(out, template.beforeLine)
    this.#at += out.write(`${line},"offset":${offset}`, this.#at, "latin1")
    this.#put(out, template.beforeRaw)
    out[this.#at++] = QUOTE
    if (!this.#putText(out, raw, 0, raw.length)) return false
    out[this.#at++] = QUOTE
    this.#put(out, template.behind)
    out[this.#at++] = LF
    text.length = this.#at
    // What was seen first is told first, of faults that are as frequent.
    if (template.count++ === 0) this.#tally.add(template.faults)
    return true
  }

  #id(ordinal: number, raw: Uint8Array): string {
    return `dl_${hash("sha256", `${this.#identity}${ordinal},"${hash("sha256", raw)}"]`).slice(0, 32)}`
  }

  #put(out: Buffer, bytes: Buffer): void {
    out.set(bytes, this.#at)
    this.#at += bytes.length
  }

  #putRecord(out: Buffer, i: number, { bytes, starts, ends }: FieldRanges, leads: readonly Buffer[]): boolean {
    let from = starts[i] as number
    let slot = i * leads.length
    for (let column = 0; column < leads.length; column++) {
      const lead = leads[column] as Buffer
      for (let n = 0; n < lead.length; n++) out[this.#at++] = lead[n] as number
      const end = ends[slot++] as number
      const to = end & FIELD_OFFSET
      const inset = end >= FIELD_QUOTED ? 1 : 0
      if (to - from === 2 * inset) this.#put(out, NULL)
      else {
        out[this.#at++] = QUOTE
        const written =
          end >= FIELD_DOUBLED
            ? this.#putDoubled(out, bytes, from + 1, to - 1)
            : this.#putText(out, bytes, from + inset, to - inset)
        if (!written) return false
        out[this.#at++] = QUOTE
      }
      from = to + 1
    }
    out[this.#at++] = CLOSE
    return true
  }

  /** A text as JSON has it; false for what is seldom in one. */
  #putText(out: Buffer, bytes: Uint8Array, from: number, to: number): boolean {
    let at = this.#at
    for (; from < to; from++) {
      const byte = bytes[from] as number
      const escape = ESCAPES[byte] as number
      if (escape !== 0) {
        if (escape === ODD) return false
        out[at++] = BACKSLASH
        out[at++] = escape
      } else out[at++] = byte
    }
    this.#at = at
    return true
  }

  /** The same for a field with doubled quotes, each pair of which is one. */
  #putDoubled(out: Buffer, bytes: Uint8Array, from: number, to: number): boolean {
    let at = this.#at
    for (; from < to; from++) {
      const byte = bytes[from] as number
      const escape = ESCAPES[byte] as number
      if (escape !== 0) {
        if (escape === ODD) return false
        if (byte === QUOTE) from++
        out[at++] = BACKSLASH
        out[at++] = escape
      } else out[at++] = byte
    }
    this.#at = at
    return true
  }

  /** The names of the columns as JSON has them before their values; undefined where objects put them in another order. */
  #leadsOf(fields: FieldRanges): Leads | undefined {
    if (this.#leads.of === fields) return this.#leads.made
    const { columns } = fields
    const names = columns.map((name, n) => Buffer.from(`${n === 0 ? "{" : ","}${JSON.stringify(name)}:`))
    const length = names.reduce((sum, name) => sum + name.length, 0)
    const made = columns.some((name) => /^\d+$/.test(name) || name === "__proto__") ? undefined : { names, length }
    this.#leads = { of: fields, made }
    return made
  }

  #template(key: object, batch: Batch, i: number, faults: Faults): Template | undefined {
    const known = this.#templates.get(key)
    if (known !== undefined || this.#templates.has(key)) return known
    const made = this.#makeTemplate(batch, i, faults)
    this.#templates.set(key, made)
    return made
  }

  /** Has `letterLine` write a letter with marks in it, and takes the line apart at them. */
  #makeTemplate(batch: Batch, i: number, faults: Faults): Template | undefined {
    const letter = makeLetter(this.#origin, batch, i, faults)
    const { line, offset } = batch.place(i)
    const source = JSON.stringify({ [this.#origin.unit]: this.#origin.partition, line, offset })
    const before = `${JSON.stringify({ [this.#origin.unit]: this.#origin.partition }).slice(0, -1)},"line":`
    if (letter.id !== this.#id(letter.ordinal, letter.raw) || letter.source !== source) return undefined
    if (source !== `${before}${line},"offset":${offset}}`) return undefined
    const [record, id, place, raw] = MARKS
    const marked = letterLine({ ...letter, record, id, source: place, raw: Buffer.from(raw) }, this.#frame)
    const [beforeRecord, beforeId, beforeSource, beforeRaw, behind, ...more] = marked.split(ANY_MARK)
    if (beforeSource === undefined || beforeRaw === undefined || behind === undefined || more.length > 0)
      return undefined
    const parts = {
      beforeRecord: Buffer.from(beforeRecord ?? ""),
      beforeId: Buffer.from(beforeId ?? ""),
      beforeLine: Buffer.from(beforeSource + before),
      beforeRaw: Buffer.from(`}${beforeRaw.slice(0, -1)}`),
      behind: Buffer.from(behind.slice(1)),
    }
    const length = Object.values(parts).reduce((sum, part) => sum + part.length, 0)
    return { ...parts, faults, length, count: 0 }
  }
}
