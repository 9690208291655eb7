import type { FieldRanges } from "./records.ts"

/** What a byte check says of a field: nothing for sure, or right and, in further bits, what those who write it have to know. */
export const UNSURE = 0
export const SURE = 1
/** COPY's text format wants `suffix` behind it. */
export const WITH_SUFFIX = 2
/** It holds what COPY's text format escapes. */
export const COPY_ESCAPES = 4
/** It holds what CSV writes in quotes. */
export const CSV_QUOTES = 8
/** It holds what JSON escapes in a text. */
export const JSON_ESCAPES = 16
/** It holds bytes beyond ASCII: right as long as they are UTF-8. */
export const BEYOND_ASCII = 32
/** COPY's text format writes its first byte only (`t` for true). */
export const COPY_FIRST_BYTE = 64
/** From this bit on: how many bytes at its end are left out when it is written (`12.50` is written `12.5`). */
export const CUT_SHIFT = 8

/** Says of a field from its bytes, which are not none, one of the above, or several bits of them. */
export type ByteJudge = (bytes: Uint8Array, from: number, to: number) => number

/**
 * A check of a property on the bytes of its text, which are not none. It never refuses: what it is not sure of is left to
 * `validate`. What it is sure of, `fit`, `validate` and the writers would give back byte for byte, but for what the verdict says.
 */
export interface ByteCheck {
  /** Absence is accepted. */
  readonly optional: boolean
  /** What is absent becomes null; otherwise nothing at all. */
  readonly acceptsNull: boolean
  /** Written without quotes in JSON: a number, true or false. */
  readonly bare: boolean
  readonly suffix: Uint8Array
  readonly judge: ByteJudge
  /** Says the same of plain text (`FieldRanges.isPlain`), without looking at each byte of it. */
  readonly judgePlain?: ByteJudge | undefined
}

/** The judge of each column's fields without quotes. */
export function unquotedJudges(fields: FieldRanges, checks: readonly ByteCheck[]): readonly ByteJudge[] {
  const isPlain = fields.isPlain()
  return checks.map(({ judge, judgePlain = judge }) => (isPlain ? judgePlain : judge))
}
