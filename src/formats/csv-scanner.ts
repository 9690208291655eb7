import { FIELD_DOUBLED, FIELD_QUOTED } from "../core/records.ts"
export const LF = 10
export const CR = 13
const SPACE = 32

export const COMPLETE = 0
/** The bytes end before the record does. */
export const INCOMPLETE = 1
/** The file ends inside quotes. */
export const OPEN_QUOTE = 2
/** A closing quote is followed by something other than a delimiter or a line end. */
export const TEXT_AFTER_QUOTE = 3
/** Strict mode: a quote stands inside an unquoted field. */
export const BARE_QUOTE = 4

export type Outcome =
  typeof COMPLETE | typeof INCOMPLETE | typeof OPEN_QUOTE | typeof TEXT_AFTER_QUOTE | typeof BARE_QUOTE

/** Whether a control character stands at `at` that does not belong to a line end. Of one that ends the bytes it cannot be told: it is. */
export const isOddControl = (bytes: Buffer, at: number): boolean =>
  (bytes[at] as number) < SPACE && !(bytes[at] === CR && bytes[at + 1] === LF)

/**
 * The state machine over the bytes of one CSV record. Allocates nothing: what it finds is left in its fields.
 *
 *     field start ── quote ──▶ quoted ── quote ──▶ after quote ── delimiter ──▶ field start
 *          │                     ▲──── quote ───────────┘  └────── line end ──▶ complete
 *          └── else ──▶ unquoted ── delimiter ──▶ field start
 *                           └────── line end ───▶ complete
 */
export class RecordScanner {
  readonly delimiter: number
  /** 256: nothing quotes. */
  readonly quote: number
  /** Field ends (with flags) are written from `slot` on, at most `width` of them. */
  fields = new Uint32Array(0)
  slot = 0
  width = 0
  /** Fields seen, which may be more or fewer than `width`. */
  count = 0
  /** Physical lines the record takes up. */
  lines = 1
  /** The end of the record's bytes, without the line end. */
  end = 0
  /** Where the next record begins. */
  next = 0
  /** Where a violation was seen. */
  at = 0
  /** Whether a quote or a control character was seen in a field without quotes, but for those of line ends. */
  isOdd = false

  /** `quote` beyond a byte (256) means that nothing quotes. */
  constructor(delimiter: number, quote: number) {
    this.delimiter = delimiter
    this.quote = quote
  }

  /** Makes room for `fields` field ends. */
  reserve(fields: number): void {
    if (fields <= this.fields.length) return
    const larger = new Uint32Array(Math.max(fields, 2 * this.fields.length))
    larger.set(this.fields)
    this.fields = larger
  }

  /** Scans the record at `start`. `final`: the file ends at `limit`. */
  scan(bytes: Buffer, start: number, limit: number, final: boolean, strict: boolean): Outcome {
    const delimiter = this.delimiter
    const quote = this.quote
    const fields = this.fields
    const first = this.slot
    const stop = first + this.width
    let slot = first
    let at = start
    this.lines = 1
    for (;;) {
      const from = at
      let byte = at < limit ? bytes[at] : LF
      let flags = 0
      if (byte === quote) {
        at = this.#closingQuote(bytes, at + 1, limit)
        if (at < 0) return this.#cutShort(limit, final, OPEN_QUOTE)
        flags = this.#flags
        if (at < limit) byte = bytes[at]
        else if (final) byte = LF
        else return INCOMPLETE
      } else {
        while (byte !== delimiter && byte !== LF) {
          if (byte === quote || isOddControl(bytes, at)) this.isOdd = true
          byte = ++at < limit ? bytes[at] : LF
        }
        if (at >= limit && !final) return INCOMPLETE
        if (strict && this.#hasQuote(bytes, from, at)) return BARE_QUOTE
      }
      if (byte === delimiter) {
        if (slot < stop) fields[slot] = (at | flags) >>> 0
        slot++
        at++
        continue
      }
      // A field that ends here ends the record, or a closing quote is followed by text.
      let end = at
      if (flags === 0) {
        if (at > from && bytes[at - 1] === CR) end--
      } else if (at < limit && bytes[at] === CR) {
        if (at + 1 >= limit && !final) return INCOMPLETE
        if (at + 1 < limit && bytes[at + 1] !== LF) return this.#violation(at, TEXT_AFTER_QUOTE)
        at++
      } else if (at < limit && bytes[at] !== LF) return this.#violation(at, TEXT_AFTER_QUOTE)
      if (slot < stop) fields[slot] = (end | flags) >>> 0
      this.count = slot + 1 - first
      this.end = end
      this.next = at < limit ? at + 1 : limit
      return COMPLETE
    }
  }

  #flags = 0

  /** The offset after the quote that closes the field whose content starts at `at`, or -1. Counts lines, notes doubled quotes. */
  #closingQuote(bytes: Buffer, at: number, limit: number): number {
    const quote = this.quote
    let flags = FIELD_QUOTED
    let lines = 0
    for (; at < limit; at++) {
      const byte = bytes[at]
      if (byte === LF) lines++
      if (byte !== quote) continue
      if (at + 1 < limit && bytes[at + 1] === quote) {
        flags |= FIELD_DOUBLED
        at++
        continue
      }
      this.lines += lines
      this.#flags = flags
      return at + 1
    }
    this.lines += lines
    return -1
  }

  #hasQuote(bytes: Buffer, from: number, to: number): boolean {
    for (let at = from; at < to; at++) {
      if (bytes[at] !== this.quote) continue
      this.at = at
      return true
    }
    return false
  }

  #cutShort(limit: number, final: boolean, outcome: Outcome): Outcome {
    return final ? this.#violation(limit, outcome) : INCOMPLETE
  }

  #violation(at: number, outcome: Outcome): Outcome {
    this.at = at
    return outcome
  }
}
