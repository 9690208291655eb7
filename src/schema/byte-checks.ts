import { SURE, UNSURE, type ByteCheck, type ByteJudge } from "../core/byte-check.ts"
import type { Column } from "../core/contracts.ts"
import { booleanJudge, decimalJudge, integerJudge, numberJudge, type Digits } from "./number-bytes.ts"
import { memberJudge, patternJudge, plainTextJudge, textJudge } from "./text-bytes.ts"
import { dateJudge, instantJudge } from "./time-bytes.ts"

/** What a schema says of a property's text, in words that can be judged by its bytes. */
export type ByteRule =
  /** Lengths in characters. */
  | {
      readonly kind: "text"
      readonly least: number
      readonly most: number
      readonly patterns?: readonly RegExp[]
      /** A day, or a date and time with its zone. */
      readonly form?: "date" | "instant"
    }
  | { readonly kind: "member"; readonly values: readonly string[] }
  | { readonly kind: "integer"; readonly holds: (value: number) => boolean }
  | { readonly kind: "number"; readonly holds: (value: number) => boolean }
  | { readonly kind: "boolean" }
  /** `plain`: every numeral without a sign is right. */
  | { readonly kind: "decimal"; readonly plain: boolean; readonly test: (text: string) => boolean }
  | { readonly kind: "instant"; readonly zoneInText: boolean }

export interface ByteField {
  readonly rule: ByteRule
  readonly optional: boolean
}

const NOTHING = new Uint8Array(0)
/** Columns whose texts go into COPY as they are. */
const TEXT_TYPES: ReadonlySet<string> = new Set(["text", "uuid"])

/**
 * The byte check for a column, as long as the column is of the type that goes with the rule; undefined otherwise, and where the
 * rule cannot be judged by bytes.
 */
export function byteCheck({ rule, optional }: ByteField, column: Column, acceptsNull = false): ByteCheck | undefined {
  if (optional && !column.nullable) return undefined
  const type = column.type.trim().toLowerCase()
  const judges = judgesOf(rule, type, column.zone)
  if (judges === undefined) return undefined
  const bare = rule.kind === "integer" || rule.kind === "number" || rule.kind === "boolean"
  const suffixed = rule.kind === "instant" && column.zone !== undefined
  return { optional, acceptsNull, bare, suffix: suffixed ? Buffer.from(` ${column.zone}`) : NOTHING, ...judges }
}

type Judges = Pick<ByteCheck, "judge" | "judgePlain">

function judgesOf(rule: ByteRule, type: string, zone: string | undefined): Judges | undefined {
  if (rule.kind === "text") return textual(rule, type, zone)
  const judge = judgeOf(rule, type, zone)
  return judge && { judge }
}

function judgeOf(
  rule: Exclude<ByteRule, { kind: "text" }>,
  type: string,
  zone: string | undefined,
): ByteJudge | undefined {
  switch (rule.kind) {
    case "member":
      return type === "text" ? memberJudge(rule.values) : undefined
    case "integer": {
      const limit = integerRange(type)
      return limit === undefined ? undefined : integerJudge(rule.holds, limit)
    }
    case "number":
      return type === "double precision" ? numberJudge(rule.holds) : undefined
    case "boolean":
      return type === "boolean" ? booleanJudge : undefined
    case "decimal": {
      const digits = numericDigits(type)
      return digits && decimalJudge(rule, digits)
    }
    case "instant":
      return type === "timestamptz" && (rule.zoneInText ? zone === undefined : zone !== undefined)
        ? instantJudge(rule.zoneInText)
        : undefined
  }
}

function textual(rule: ByteRule & { kind: "text" }, type: string, zone: string | undefined): Judges | undefined {
  const { least, most, patterns = [], form } = rule
  const further = patterns.map(patternJudge)
  if (form === "date" || type === "date") further.push(dateJudge)
  else if (form === "instant" || type === "timestamptz")
    further.push(zone === undefined ? instantJudge(true) : undefined)
  if (!TEXT_TYPES.has(type) && type !== "date" && type !== "timestamptz") return undefined
  const known = further.filter((judge) => judge !== undefined)
  if (known.length < further.length) return undefined
  return {
    judge: allOf([textJudge(least, most), ...known]),
    judgePlain: allOf([plainTextJudge(least, most), ...known]),
  }
}

/** Sure of what all of them are sure of. */
function allOf(judges: readonly [ByteJudge, ...ByteJudge[]]): ByteJudge {
  if (judges.length === 1) return judges[0]
  return (bytes, from, to) => {
    let verdict = SURE
    for (const judge of judges) {
      const own = judge(bytes, from, to)
      if (own === UNSURE) return UNSURE
      verdict |= own
    }
    return verdict
  }
}

/** The largest absolute value that is sure to fit; undefined for other types. */
const integerRange = (type: string): number | undefined =>
  type === "bigint" ? Number.MAX_SAFE_INTEGER : type === "integer" ? 2 ** 31 - 1 : undefined

const ANY_DIGITS: Digits = { whole: Infinity, fraction: Infinity }

/** Digits that a numeric column takes without rounding or refusing; undefined for other types. */
function numericDigits(type: string): Digits | undefined {
  if (type === "numeric") return ANY_DIGITS
  const [, precision, scale] = /^numeric\((\d+),(\d+)\)$/.exec(type) ?? []
  if (precision === undefined || scale === undefined) return undefined
  return { whole: Number(precision) - Number(scale), fraction: Number(scale) }
}
