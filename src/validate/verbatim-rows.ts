import {
  BEYOND_ASCII,
  CSV_QUOTES,
  CUT_SHIFT,
  SURE,
  unquotedJudges,
  type ByteCheck,
  type ByteJudge,
} from "../core/byte-check.ts"
import { FIELD_DOUBLED, FIELD_OFFSET, FIELD_QUOTED, type FieldRanges } from "../core/records.ts"
import type { CopyText } from "../engine/pipeline/copy-text.ts"
import { putUndoubled } from "../core/put-bytes.ts"
import { RowCopier } from "./row-copier.ts"
import type { SureColumn, SureRows } from "./short-way.ts"

/** A longer field goes the long way. */
const LONGEST_FIELD = 4096
const QUOTE = 0x22
/** All that a verdict says of what stays as it is without quotes. */
const AS_IT_IS = (1 << CUT_SHIFT) - 1 - (CSV_QUOTES | BEYOND_ASCII)

/** From CSV to CSV with the same columns; quotes that need not be and zeros behind a number are left out. */
export class VerbatimRows implements SureRows {
  doubtfulFrom = 0
  readonly #fields: FieldRanges
  readonly #bytes: Uint8Array
  readonly #checks: readonly ByteCheck[]
  /** Of fields without quotes. */
  readonly #judges: readonly ByteJudge[]
  readonly #copier: RowCopier
  readonly #scratch = Buffer.alloc(LONGEST_FIELD)

  constructor(fields: FieldRanges, plan: readonly SureColumn[], text: CopyText) {
    this.#fields = fields
    this.#bytes = fields.bytes
    this.#checks = plan.map(({ check }) => check)
    this.#judges = unquotedJudges(fields, this.#checks)
    this.#copier = new RowCopier(fields.bytes, text, 2 * plan.length)
  }

  take(i: number): boolean {
    this.doubtfulFrom = 0
    const fields = this.#fields
    if (!fields.isWhole(i)) return false
    const start = fields.starts[i] as number
    const width = this.#checks.length
    this.#copier.begin()
    const sure = this.#sureColumns(i, start)
    if (sure < width) {
      this.doubtfulFrom = sure
      return false
    }
    const end = (fields.ends[i * width + width - 1] as number) & FIELD_OFFSET
    // Of a single column a blank row is written differently.
    if (width === 1 && (end === start || (end - start === 2 && this.#bytes[start] === QUOTE))) return false
    this.#copier.take(start, end)
    return true
  }

  flush(): void {
    this.#copier.flush()
  }

  /** The first column that is not sure; the width when all are. */
  #sureColumns(i: number, start: number): number {
    const bytes = this.#bytes
    const checks = this.#checks
    const judges = this.#judges
    const { ends } = this.#fields
    const width = checks.length
    let from = start
    let slot = i * width
    let column = 0
    for (; column < width; column++) {
      const end = ends[slot++] as number
      if (end >= FIELD_QUOTED) {
        if (!this.#takeQuoted(checks[column] as ByteCheck, from, end)) break
        from = (end & FIELD_OFFSET) + 1
        continue
      }
      if (end === from) {
        if (!(checks[column] as ByteCheck).optional) break
      } else {
        const verdict = (judges[column] as ByteJudge)(bytes, from, end)
        if (verdict === 0 || ((verdict & AS_IT_IS) !== verdict && !this.#takeSpecial(verdict, end))) break
      }
      from = end + 1
    }
    return column
  }

  /** A field in quotes, from quote to quote. */
  #takeQuoted(check: ByteCheck, from: number, end: number): boolean {
    const bytes = this.#bytes
    const to = end & FIELD_OFFSET
    if (to - from > LONGEST_FIELD) return false
    if (to - from === 2) {
      if (check.optional) this.#copier.leaveOut(from, to)
      return check.optional
    }
    const doubled = end >= FIELD_DOUBLED
    const length = doubled ? putUndoubled(this.#scratch, 0, bytes, from + 1, to - 1, QUOTE) : 0
    const verdict = doubled ? check.judge(this.#scratch, 0, length) : check.judge(bytes, from + 1, to - 1)
    if ((verdict & SURE) === 0 || ((verdict & BEYOND_ASCII) !== 0 && !this.#fields.isUtf8())) return false
    if ((verdict & CSV_QUOTES) !== 0) return true
    this.#copier.leaveOut(from, from + 1)
    this.#copier.leaveOut(to - 1 - (verdict >> CUT_SHIFT), to)
    return true
  }

  /** What is not as it is, but for some bytes. */
  #takeSpecial(verdict: number, end: number): boolean {
    // A quote within a field without quotes would have to be doubled.
    if ((verdict & CSV_QUOTES) !== 0) return false
    if ((verdict & BEYOND_ASCII) !== 0 && !this.#fields.isUtf8()) return false
    const cut = verdict >> CUT_SHIFT
    if (cut > 0) this.#copier.leaveOut(end - cut, end)
    return true
  }
}
