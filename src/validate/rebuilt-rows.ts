import {
  BEYOND_ASCII,
  CSV_QUOTES,
  CUT_SHIFT,
  JSON_ESCAPES,
  SURE,
  unquotedJudges,
  type ByteJudge,
} from "../core/byte-check.ts"
import { FIELD_DOUBLED, FIELD_OFFSET, FIELD_QUOTED, type FieldRanges } from "../core/records.ts"
import type { CopyText } from "../engine/pipeline/copy-text.ts"
import { put, putUndoubled } from "../core/put-bytes.ts"
import type { GoodFormat } from "./good-rows.ts"
import type { SureColumn, SureRows } from "./short-way.ts"

/** A longer field goes the long way. */
const LONGEST_FIELD = 4096
const QUOTE = 0x22
const BACKSLASH = 0x5c
const LF = 0x0a
const NULL = Buffer.from("null")
const OPEN = 0x7b
const CLOSE = 0x7d
/** What JSON writes behind a backslash. */
const ESCAPES: Readonly<Record<number, number>> = { 0x09: 0x74, 0x0a: 0x6e, 0x0d: 0x72, 0x22: 0x22, 0x5c: 0x5c }

interface ColumnPlan extends SureColumn {
  /** What stands before the value: a comma, and the property's name. */
  readonly lead: Buffer
  /** Of a field without quotes. */
  readonly unquoted: ByteJudge
}

/** From CSV to lines that are put together field by field: other columns, another order, JSON. */
export function rebuiltRows(
  fields: FieldRanges,
  columns: readonly SureColumn[],
  format: GoodFormat,
  text: CopyText,
): SureRows {
  const json = format === "jsonl"
  const judges = unquotedJudges(
    fields,
    columns.map(({ check }) => check),
  )
  const plans = columns.map((column, n): ColumnPlan => {
    const lead = json ? `,${JSON.stringify(column.name)}:` : ","
    return { ...column, unquoted: judges[n] as ByteJudge, lead: Buffer.from(lead) }
  })
  return new RowWriter(fields, plans, json, text)
}

class RowWriter implements SureRows {
  readonly doubtfulFrom = 0
  readonly #fields: FieldRanges
  readonly #plans: readonly ColumnPlan[]
  readonly #json: boolean
  readonly #text: CopyText
  readonly #scratch = Buffer.alloc(LONGEST_FIELD)
  readonly #spare: number
  #at = 0
  /** No property of the row was written yet. */
  #isFirst = true

  constructor(fields: FieldRanges, plans: readonly ColumnPlan[], json: boolean, text: CopyText) {
    this.#text = text
    this.#fields = fields
    this.#plans = plans
    this.#json = json
    this.#spare = plans.reduce((sum, { lead }) => sum + lead.length + NULL.length + 2, 0) + 4
  }

  flush(): void {
    // Each row is in the text at once.
  }

  take(i: number): boolean {
    if (!this.#fields.isWhole(i)) return false
    const text = this.#text
    const { starts, ends, columns } = this.#fields
    const width = columns.length
    const length = ((ends[(i + 1) * width - 1] as number) & FIELD_OFFSET) - (starts[i] as number)
    // Escapes may double what a field takes.
    text.room(2 * length + this.#spare)
    const out = text.bytes
    this.#at = text.length
    if (this.#json) out[this.#at++] = OPEN
    this.#isFirst = true
    for (const plan of this.#plans) if (!this.#field(i, plan, out)) return false
    if (this.#json) out[this.#at++] = CLOSE
    else if (this.#at === text.length) return false
    out[this.#at++] = LF
    text.length = this.#at
    return true
  }

  #field(i: number, { check, field, lead, unquoted }: ColumnPlan, out: Buffer): boolean {
    if (field < 0) {
      this.#putLead(out, lead)
      return true
    }
    const { bytes, starts, ends, columns, isUtf8 } = this.#fields
    const slot = i * columns.length + field
    const end = ends[slot] as number
    let source = bytes
    let from = field === 0 ? (starts[i] as number) : ((ends[slot - 1] as number) & FIELD_OFFSET) + 1
    let to = end & FIELD_OFFSET
    if (end >= FIELD_QUOTED) {
      from++
      to--
      if (to - from > LONGEST_FIELD) return false
      if (end >= FIELD_DOUBLED) {
        to = putUndoubled(this.#scratch, 0, bytes, from, to, this.#fields.quote)
        source = this.#scratch
        from = 0
      }
    }
    if (from === to) {
      if (!check.optional) return false
      if (this.#json && !check.acceptsNull) return true
      this.#putLead(out, lead)
      if (this.#json) this.#at = put(out, this.#at, NULL)
      return true
    }
    const verdict = end >= FIELD_QUOTED ? check.judge(source, from, to) : unquoted(source, from, to)
    if ((verdict & SURE) === 0 || ((verdict & BEYOND_ASCII) !== 0 && !isUtf8())) return false
    to -= verdict >> CUT_SHIFT
    this.#putLead(out, lead)
    if (this.#json) this.#putJson(out, source, from, to, check.bare, (verdict & JSON_ESCAPES) !== 0)
    else this.#putCsv(out, source, from, to, (verdict & CSV_QUOTES) !== 0)
    return true
  }

  #putLead(out: Buffer, lead: Buffer): void {
    for (let n = this.#isFirst ? 1 : 0; n < lead.length; n++) out[this.#at++] = lead[n] as number
    this.#isFirst = false
  }

  #putJson(out: Buffer, source: Uint8Array, from: number, to: number, bare: boolean, escapes: boolean): void {
    let at = this.#at
    if (!bare) out[at++] = QUOTE
    for (; from < to; from++) {
      const byte = source[from] as number
      const escape = escapes ? ESCAPES[byte] : undefined
      if (escape !== undefined) out[at++] = BACKSLASH
      out[at++] = escape ?? byte
    }
    if (!bare) out[at++] = QUOTE
    this.#at = at
  }

  #putCsv(out: Buffer, source: Uint8Array, from: number, to: number, quotes: boolean): void {
    let at = this.#at
    if (quotes) out[at++] = QUOTE
    for (; from < to; from++) {
      const byte = source[from] as number
      if (byte === QUOTE) out[at++] = QUOTE
      out[at++] = byte
    }
    if (quotes) out[at++] = QUOTE
    this.#at = at
  }
}
