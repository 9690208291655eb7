import { BEYOND_ASCII, CSV_QUOTES, CUT_SHIFT, SURE, type ByteCheck } from "../core/contracts.ts"
import { FIELD_DOUBLED, FIELD_OFFSET, FIELD_QUOTED, type FieldRanges } from "../core/records.ts"
import type { CopyText } from "../engine/pipeline/copy-text.ts"
import { withoutDoubling } from "./doubled-quotes.ts"
import { RowCopier } from "./row-copier.ts"
import type { SureColumn, SureRows } from "./short-way.ts"

/** A longer field goes the long way. */
const LONGEST_FIELD = 4096
const QUOTE = 0x22
/** All that a verdict says of what stays as it is without quotes. */
const AS_IT_IS = (1 << CUT_SHIFT) - 1 - (CSV_QUOTES | BEYOND_ASCII)

/** From CSV to CSV with the same columns; quotes that need not be and zeros behind a number are left out. */
export function verbatimRows(fields: FieldRanges, plan: readonly SureColumn[], text: CopyText): SureRows {
  const { bytes, starts, ends } = fields
  const width = plan.length
  const checks = plan.map(({ check }) => check)
  const scratch = Buffer.alloc(LONGEST_FIELD)
  const copier = new RowCopier(bytes, text, 2 * width)
  let doubtfulFrom = 0

  /** A field in quotes, from quote to quote. */
  const takeQuoted = (check: ByteCheck, from: number, end: number): boolean => {
    const to = end & FIELD_OFFSET
    if (to - from > LONGEST_FIELD) return false
    if (to - from === 2) {
      if (check.optional) copier.leaveOut(from, to)
      return check.optional
    }
    const doubled = end >= FIELD_DOUBLED
    const length = doubled ? withoutDoubling(bytes, from + 1, to - 1, scratch) : 0
    const verdict = doubled ? check.judge(scratch, 0, length) : check.judge(bytes, from + 1, to - 1)
    if ((verdict & SURE) === 0 || ((verdict & BEYOND_ASCII) !== 0 && !fields.isUtf8())) return false
    if ((verdict & CSV_QUOTES) !== 0) return true
    copier.leaveOut(from, from + 1)
    copier.leaveOut(to - 1 - (verdict >> CUT_SHIFT), to)
    return true
  }

  /** What is not as it is, but for some bytes. */
  const takeSpecial = (verdict: number, end: number): boolean => {
    // A quote within a field without quotes would have to be doubled.
    if ((verdict & CSV_QUOTES) !== 0) return false
    if ((verdict & BEYOND_ASCII) !== 0 && !fields.isUtf8()) return false
    const cut = verdict >> CUT_SHIFT
    if (cut > 0) copier.leaveOut(end - cut, end)
    return true
  }

  /** The first column that is not sure; the width when all are. */
  const sureColumns = (i: number, start: number): number => {
    let from = start
    let slot = i * width
    let column = 0
    for (; column < width; column++) {
      const check = checks[column] as ByteCheck
      const end = ends[slot++] as number
      if (end >= FIELD_QUOTED) {
        if (!takeQuoted(check, from, end)) break
        from = (end & FIELD_OFFSET) + 1
        continue
      }
      if (end === from) {
        if (!check.optional) break
      } else {
        const verdict = check.judge(bytes, from, end)
        if (verdict === 0 || ((verdict & AS_IT_IS) !== verdict && !takeSpecial(verdict, end))) break
      }
      from = end + 1
    }
    return column
  }

  return {
    get doubtfulFrom() {
      return doubtfulFrom
    },
    take(i) {
      doubtfulFrom = 0
      if (!fields.isWhole(i)) return false
      const start = starts[i] as number
      copier.begin()
      const sure = sureColumns(i, start)
      if (sure < width) {
        doubtfulFrom = sure
        return false
      }
      const end = (ends[i * width + width - 1] as number) & FIELD_OFFSET
      // Of a single column a blank row is written differently.
      if (width === 1 && (end === start || (end - start === 2 && bytes[start] === QUOTE))) return false
      copier.take(start, end)
      return true
    },
    flush: () => copier.flush(),
  }
}
