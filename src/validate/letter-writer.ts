import { isUtf8 } from "node:buffer"
import { FIELD_OFFSET, FIELD_QUOTED, type Batch, type DecodeFault, type FieldRanges } from "../core/records.ts"
import { makeLetter, type LetterOrigin } from "../dead-letters/letter.ts"
import { isJsonText } from "./json-text.ts"
import { letterLine } from "./letter-line.ts"
import { ESCAPED, PLAIN, UNDECODED, type LetterLines, type RecordForm } from "./letter-lines.ts"
import type { LetterText, LetterTexts } from "./letter-texts.ts"
import type { Faults } from "./short-way.ts"
import type { FaultTally } from "./tally.ts"

const QUOTE = 0x22

/** What the letters of all batches of an input have in common. */
export interface LettersOfInput {
  readonly origin: LetterOrigin
  readonly texts: LetterTexts
  readonly tally: FaultTally
}

/** Writes the letters of one batch: puts them together from bytes where they come out as `letterLine` would write them. */
export class LetterWriter {
  /** Letters with faults that came again. */
  known = 0
  readonly #batch: Batch
  readonly #letters: LettersOfInput
  readonly #lines: LetterLines
  readonly #fields: FieldRanges | undefined
  /** Whether records are of texts that can be copied. */
  readonly #canCopy: boolean
  /** Fields without quotes are texts of JSON as they stand. */
  readonly #isPlain: boolean
  #longWay = 0

  constructor(batch: Batch, letters: LettersOfInput, lines: LetterLines) {
    this.#batch = batch
    this.#letters = letters
    this.#lines = lines
    const { fields } = batch
    // Objects put such names in another order.
    const isOrdered = fields?.columns.some((name) => /^\d+$/.test(name) || name === "__proto__") === false
    this.#fields = fields
    this.#canCopy = isOrdered && fields?.quote === QUOTE
    this.#isPlain = fields?.isPlain() === true
  }

  /** Counts what is left to count; gives the number of letters. */
  finish(): number {
    return this.#longWay + this.#letters.texts.settle()
  }

  /** Any letter. */
  write(i: number, faults: Faults): void {
    const { origin, texts, tally } = this.#letters
    const canBeFilled = this.#canCopy && this.#fields?.isWhole(i) === true && this.#isClear(i)
    if (canBeFilled && this.#fill(i, texts.of(this.#batch, i, faults), false)) return
    this.#lines.add(`${letterLine(makeLetter(origin, this.#batch, i, faults), texts.frame)}\n`)
    tally.add(faults)
    this.#longWay++
  }

  /** The letter of a record that could not be decoded; false when it has to be written in the long way. */
  writeUndecoded(i: number, { fault, oversize }: DecodeFault): boolean {
    const fields = this.#fields
    if (oversize !== undefined || fields === undefined || !this.#isClear(i)) return false
    const to = (fields.starts[i] as number) + this.#batch.raw(i).length
    if (!isJsonText(fields.bytes, fields.starts[i] as number, to)) return false
    const text = this.#letters.texts.known(this.#batch, i, [fault], fault)
    if (text === undefined) return false
    this.#take(text, UNDECODED, i, to, true)
    return true
  }

  /** The letter of a record of text fields with faults that come again, as the same object; false when it has to be written in the long way. */
  writeKnown(i: number, faults: Faults): boolean {
    return this.#canCopy && this.#fill(i, this.#letters.texts.known(this.#batch, i, faults, faults), true)
  }

  #isClear(i: number): boolean {
    return this.#fields?.isUtf8() === true || isUtf8(this.#batch.raw(i))
  }

  /** The letter of a record that is whole. */
  #fill(i: number, text: LetterText | undefined, isKnown: boolean): boolean {
    const fields = this.#fields
    if (text === undefined || fields === undefined) return false
    const to = endOf(fields, i)
    const form = this.#isPlain && !hasQuotes(fields, i) ? PLAIN : ESCAPED
    if (form !== PLAIN && !isJsonText(fields.bytes, fields.starts[i] as number, to)) return false
    this.#take(text, form, i, to, isKnown)
    return true
  }

  #take(text: LetterText, form: RecordForm, i: number, to: number, isKnown: boolean): void {
    const { line = 0, offset = 0 } = this.#batch.place(i)
    if (isKnown) {
      this.known++
      this.#lines.fill(text, form, i, to, line, offset)
    } else this.#lines.fillOnce(text, form, i, to, line, offset)
    this.#letters.texts.count(text)
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
