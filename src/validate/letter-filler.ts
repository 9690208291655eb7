import { FIELD_DOUBLED, FIELD_OFFSET, FIELD_QUOTED } from "../core/records.ts"
import { put, putNumber, putWords, viewOf, WORD_SPARE } from "../core/put-bytes.ts"
import type { CopyText } from "../engine/pipeline/copy-text.ts"
import { putJsonText } from "./json-text.ts"
import { ID_DIGITS, LetterIds } from "./letter-ids.ts"
import {
  PLAIN,
  UNDECODED,
  type LetterParts,
  type LettersOfBatch,
  type LetterSource,
  type RecordForm,
} from "./letter-lines.ts"

const QUOTE = 0x22
const CLOSE = 0x7d
const NULL = Buffer.from("null")
const OFFSET = Buffer.from(',"offset":')
/** Line and offset. */
const SPARE_BYTES = 128
const NOWHERE: LetterSource = {
  columns: [],
  bytes: Buffer.alloc(0),
  starts: new Uint32Array(),
  ends: new Uint32Array(),
}

/** Puts letters together from the bytes of records, as `letterLine` would write them. */
export class LetterFiller {
  #origin: LettersOfBatch["origin"] | undefined
  #ids: LetterIds | undefined
  #source = NOWHERE
  #bytes = viewOf(NOWHERE.bytes)
  #columns = ""
  /** The names of the columns as JSON has them before their values. */
  #leads: readonly DataView[] = []
  #leadsLength = 0
  #out = NOWHERE.bytes
  #view = viewOf(NOWHERE.bytes)

  /** What follows is of another batch. */
  begin({ origin, source = NOWHERE }: LettersOfBatch): void {
    if (this.#origin?.partition !== origin.partition || this.#origin.pipeline !== origin.pipeline)
      this.#ids = new LetterIds(origin)
    this.#origin = origin
    this.#source = source
    this.#bytes = viewOf(source.bytes)
    const columns = JSON.stringify(source.columns)
    if (columns === this.#columns) return
    this.#columns = columns
    const leads = source.columns.map((name, n) => Buffer.from(`${n === 0 ? "{" : ","}${JSON.stringify(name)}:`))
    this.#leadsLength = leads.reduce((sum, lead) => sum + lead.length, 0)
    this.#leads = leads.map((lead) =>
      viewOf(Buffer.concat([lead, Buffer.alloc(WORD_SPARE + 1)], lead.length + WORD_SPARE + 1)),
    )
  }

  /** Adds a letter to a text. */
  fill(
    text: CopyText,
    parts: LetterParts,
    form: RecordForm,
    i: number,
    to: number,
    line: number,
    offset: number,
  ): void {
    const { beforeRecord, beforeLine, idAt, beforeRaw, behind } = parts
    const from = this.#source.starts[i] as number
    // Escapes may double what a text takes, which is written twice.
    const own = this.#leadsLength + 4 * (to - from) + 6 * this.#leads.length + SPARE_BYTES
    text.room(beforeRecord.length + beforeLine.length + beforeRaw.length + behind.length + own)
    const out = text.bytes
    if (out !== this.#out) {
      this.#out = out
      this.#view = viewOf(out)
    }
    let at = put(out, text.length, beforeRecord)
    at = form === UNDECODED ? put(out, at, NULL) : this.#putRecord(out, at, i, form)
    const id = at + idAt
    at = put(out, at, beforeLine)
    const ids = this.#ids as LetterIds
    out.write(ids.digits(line, this.#bytes, from, to), id, ID_DIGITS, "latin1")
    at = putNumber(out, at, line)
    at = put(out, at, OFFSET)
    at = putNumber(out, at, offset)
    at = put(out, at, beforeRaw)
    if (form === PLAIN) at = putWords(this.#view, at, this.#bytes, from, to)
    else at = putJsonText(out, at, this.#source.bytes, from, to, false)
    text.length = put(out, at, behind)
  }

  #putRecord(out: Buffer, start: number, i: number, form: RecordForm): number {
    const { bytes, starts, ends } = this.#source
    const source = this.#bytes
    const view = this.#view
    const leads = this.#leads
    const isPlain = form === PLAIN
    let at = start
    let from = starts[i] as number
    let slot = i * leads.length
    for (const lead of leads) {
      at = putWords(view, at, lead, 0, lead.byteLength - WORD_SPARE - 1)
      const end = ends[slot++] as number
      const to = end & FIELD_OFFSET
      const inset = end >= FIELD_QUOTED ? 1 : 0
      if (to - from === 2 * inset) at = put(out, at, NULL)
      else {
        out[at++] = QUOTE
        if (isPlain) at = putWords(view, at, source, from, to)
        else at = putJsonText(out, at, bytes, from + inset, to - inset, end >= FIELD_DOUBLED)
        out[at++] = QUOTE
      }
      from = to + 1
    }
    out[at++] = CLOSE
    return at
  }
}
