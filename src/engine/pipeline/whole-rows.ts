import {
  BEYOND_ASCII,
  COPY_ESCAPES,
  COPY_FIRST_BYTE,
  CUT_SHIFT,
  SURE,
  UNSURE,
  WITH_SUFFIX,
  unquotedJudges,
  type ByteCheck,
  type ByteJudge,
} from "../../core/byte-check.ts"
import { put, putRange, putUndoubled } from "../../core/put-bytes.ts"
import { FIELD_DOUBLED, FIELD_OFFSET, FIELD_QUOTED, type Batch, type FieldRanges } from "../../core/records.ts"
import { putEscaped, putNull } from "./copy-bytes.ts"
import {
  LONGEST_FIELD,
  lineageWriter,
  SPARE_BYTES_PER_COLUMN,
  type ColumnPlan,
  type RowLineage,
  type RowWriter,
} from "./row-plan.ts"

/** Bits of a verdict that say that a field is not written as it stands; all from `CUT_SHIFT` on are among them. */
const DIFFERENT = COPY_ESCAPES | COPY_FIRST_BYTE | WITH_SUFFIX | (-1 << CUT_SHIFT)

/**
 * Rows whose fields are the columns in their order: what is right as it stands is copied together with the delimiters in it,
 * around the few fields that are written differently.
 */
export function wholeRowWriter(
  fields: FieldRanges,
  plans: readonly ColumnPlan[],
  batch: Batch,
  lineage: RowLineage,
): RowWriter {
  const { bytes, starts, ends, delimiter, quote } = fields
  const width = plans.length
  const checks = plans.map(({ check }) => check)
  const judges = unquotedJudges(fields, checks)
  const behind = lineageWriter(lineage, delimiter)
  const spare = width * SPARE_BYTES_PER_COLUMN + behind.bytes
  const blank: number[] = []
  // Of the same class as the batch's bytes, which keeps the checks' loops fast.
  const unquoted = Buffer.alloc(LONGEST_FIELD)
  let out: Buffer = unquoted
  let at = 0

  const copy = (from: number, to: number): void => {
    at = putRange(out, at, bytes, from, to)
  }

  const isRight = (verdict: number): boolean =>
    verdict !== UNSURE && ((verdict & BEYOND_ASCII) === 0 || fields.isUtf8())

  /** Writes what came before a field, from `mark` on, and the field, which does not stay as it stands. */
  const rewrite = (check: ByteCheck, verdict: number, mark: number, from: number, to: number): void => {
    if ((verdict & COPY_ESCAPES) !== 0) {
      copy(mark, from)
      at = putEscaped(out, at, bytes, from, to, delimiter)
      return
    }
    copy(mark, (verdict & COPY_FIRST_BYTE) !== 0 ? from + 1 : to - (verdict >> CUT_SHIFT))
    if ((verdict & WITH_SUFFIX) !== 0) at = put(out, at, check.suffix)
  }

  /** Writes a field without its quotes; false when it is not sure. */
  const writeQuoted = (check: ByteCheck, from: number, to: number, doubled: boolean): boolean => {
    let content = bytes
    if (doubled) {
      to = putUndoubled(unquoted, 0, bytes, from, to, quote)
      from = 0
      content = unquoted
    }
    const verdict = check.judge(content, from, to)
    if (!isRight(verdict)) return false
    const end = (verdict & COPY_FIRST_BYTE) !== 0 ? from + 1 : to - (verdict >> CUT_SHIFT)
    at = putEscaped(out, at, content, from, end, delimiter)
    if ((verdict & WITH_SUFFIX) !== 0) at = put(out, at, check.suffix)
    return true
  }

  /** Writes the fields of a record; false when one of them is not sure. */
  const writeFields = (i: number): boolean => {
    let from = starts[i] as number
    let mark = from
    let slot = i * width
    for (let c = 0; c < width; c++) {
      const check = checks[c] as ByteCheck
      const end = ends[slot++] as number
      const to = end & FIELD_OFFSET
      if (to - from > LONGEST_FIELD) return false
      if (end >= FIELD_QUOTED ? to - from === 2 : to === from) {
        if (!check.optional) return false
        copy(mark, from)
        at = putNull(out, at)
        blank.push(c)
        mark = to
      } else if (end >= FIELD_QUOTED) {
        copy(mark, from)
        if (!writeQuoted(check, from + 1, to - 1, end >= FIELD_DOUBLED)) return false
        mark = to
      } else {
        const verdict = (judges[c] as ByteJudge)(bytes, from, to)
        if (verdict !== SURE && !isRight(verdict)) return false
        if ((verdict & DIFFERENT) !== 0) {
          rewrite(check, verdict, mark, from, to)
          mark = to
        }
      }
      from = to + 1
    }
    copy(mark, from - 1)
    return true
  }

  return (i, text) => {
    if (!fields.isWhole(i)) return false
    // Escapes may double what a field takes.
    text.room((((ends[i * width + width - 1] as number) & FIELD_OFFSET) - (starts[i] as number)) * 2 + spare)
    out = text.bytes
    at = text.length
    blank.length = 0
    if (!writeFields(i)) return false
    text.length = behind.write(out, at, batch.ordinal(i))
    for (const c of blank) (plans[c] as ColumnPlan).nulls.count++
    return true
  }
}
