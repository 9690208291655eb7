import { z } from "zod"
import { compareDecimals, decimalText, parseDecimal, type Decimal } from "../core/decimal.ts"
import { SpillwayError } from "../core/errors.ts"
import { isZone } from "./columns.ts"
import type { ByteRule } from "./byte-checks.ts"
import { noteTextRule } from "./exact-texts.ts"
import type { SpillwayNote } from "./shape.ts"
import { parseTimestamp, type TimestampFault } from "./timestamp-text.ts"

/** An exact bound: a numeral as text, or a whole number. */
export type Bound = string | number

export interface DecimalOptions {
  /** Digits in all, as in `numeric(precision, scale)`; 1 to 1000. */
  precision?: number
  /** Digits behind the point. More are a fault, never rounded. Default: any number; 0 where `precision` is given. */
  scale?: number
  min?: Bound
  max?: Bound
  exclusiveMin?: Bound
  exclusiveMax?: Bound
}

interface Violation {
  readonly rule: string
  readonly expected: string
}

const NONE: readonly Violation[] = []

/** Gives what is wrong with a text. */
type Judge = (text: string) => readonly Violation[]

/**
 * An exact decimal number, kept as text from source to `numeric` column; JSON numbers become text with every digit they had.
 * Refuses blanks, `NaN` and infinities. Faults carry the rule `decimal`, `min`, `max`, `scale` or `precision`. Throws `CONFIG`.
 */
export function decimal(options: DecimalOptions = {}): z.ZodString {
  const { precision, scale = precision === undefined ? undefined : 0 } = options
  checkDigits(precision, scale)
  const bounds = toBounds(options)
  const expected = ["a number", bounds.map(({ sign, text }) => `${sign} ${text}`).join(" and ")]
    .filter(Boolean)
    .join(" ")
  const note = {
    kind: "decimal-text",
    type: precision === undefined ? "numeric" : `numeric(${precision},${scale ?? 0})`,
    expected,
    ...(scale === undefined ? {} : { scale }),
  } satisfies SpillwayNote & Record<string, unknown>
  return textOf(
    note,
    (text) => {
      const value = parseDecimal(text)
      if (value === undefined) return [{ rule: "decimal", expected }]
      let violations = NONE
      for (const { rule, holds } of bounds) if (!holds(value)) violations = [...violations, { rule, expected }]
      if (scale !== undefined && value.fraction.length > scale)
        violations = [
          ...violations,
          { rule: "scale", expected: `a number with at most ${scale} digits behind the point` },
        ]
      if (precision !== undefined && value.whole.length > precision - (scale ?? 0))
        violations = [
          ...violations,
          { rule: "precision", expected: `a number with at most ${precision - (scale ?? 0)} digits before the point` },
        ]
      return violations
    },
    (test) => ({
      kind: "decimal",
      plain: onlyFromBelow(bounds) && note.type === "numeric" && scale === undefined,
      test,
    }),
  )
}

/** Whether every numeral without a sign is within the bounds. */
const onlyFromBelow = (bounds: readonly DecimalBound[]): boolean =>
  bounds.every(({ rule, holds }) => rule === "min" && holds({ sign: 0, whole: "", fraction: "" }))

function checkDigits(precision: number | undefined, scale: number | undefined): void {
  const isCount = (value: number | undefined, low: number, high: number): boolean =>
    value === undefined || (Number.isInteger(value) && value >= low && value <= high)
  if (isCount(precision, 1, 1000) && isCount(scale, 0, precision ?? 1000)) return
  throw new SpillwayError(
    "CONFIG",
    `decimal(): precision ${precision ?? "(none)"} and scale ${scale ?? "(none)"} do not fit together`,
    {
      hint: "precision is 1 to 1000 digits in all, scale 0 to precision digits behind the point",
    },
  )
}

interface DecimalBound {
  readonly rule: "min" | "max"
  readonly sign: string
  readonly text: string
  readonly holds: (value: Decimal) => boolean
}

function toBounds(options: DecimalOptions): readonly DecimalBound[] {
  const bounds: DecimalBound[] = []
  const add = (
    name: keyof DecimalOptions,
    rule: "min" | "max",
    sign: string,
    holds: (order: number) => boolean,
  ): void => {
    const bound = options[name]
    if (bound === undefined) return
    const limit = toDecimal(name, bound)
    bounds.push({ rule, sign, text: decimalText(limit), holds: (value) => holds(compareDecimals(value, limit)) })
  }
  add("min", "min", "≥", (order) => order >= 0)
  add("exclusiveMin", "min", ">", (order) => order > 0)
  add("max", "max", "≤", (order) => order <= 0)
  add("exclusiveMax", "max", "<", (order) => order < 0)
  return bounds
}

function toDecimal(name: string, bound: Bound): Decimal {
  const parsed = typeof bound === "string" || Number.isSafeInteger(bound) ? parseDecimal(String(bound)) : undefined
  if (parsed !== undefined) return parsed
  throw new SpillwayError("CONFIG", `decimal(): ${name} ${JSON.stringify(bound)} is not an exact number`, {
    hint: 'write fractions as text: min: "0.01"',
  })
}

export interface TimestampOptions {
  /** The zone of text that carries none: `"UTC"`, a name such as `"Europe/London"`, or `"in text"`: every text must carry its own. */
  zone: string
}

const TIMESTAMP_EXPECTED: Readonly<Record<TimestampFault, string>> = {
  timestamp: "a date and time such as 2010-12-31 23:59:00",
  calendar: "a day and time that exist",
  precision: "a time with at most 6 digits of a second's fraction",
}

/**
 * A date and time as text, for a `timestamptz` column: `YYYY-MM-DD HH:MM[:SS[.ffffff]]`, `T` instead of the blank, with or without `Z` or an
 * offset, which wins over `zone`. Checked against the calendar. Faults carry the rule `timestamp`, `calendar`, `precision` or `zone`.
 * Throws `CONFIG` for an unknown zone.
 */
export function timestamp(options: TimestampOptions): z.ZodString {
  const zone = (options as TimestampOptions | undefined)?.zone
  const inText = zone === "in text"
  if (zone === undefined || (!inText && !isZone(zone)))
    throw new SpillwayError(
      "CONFIG",
      zone === undefined ? "timestamp() needs a zone" : `timestamp(): ${JSON.stringify(zone)} is not a time zone`,
      {
        hint: 'write timestamp({ zone: "UTC" }), { zone: "Europe/London" }, or { zone: "in text" } when every text carries its own',
      },
    )
  const expected = inText ? `${TIMESTAMP_EXPECTED.timestamp}Z, with its zone` : TIMESTAMP_EXPECTED.timestamp
  const note: SpillwayNote = { kind: "instant-text", type: "timestamptz", expected, ...(inText ? {} : { zone }) }
  return textOf(
    note,
    (text) => {
      const parsed = parseTimestamp(text)
      if (typeof parsed === "string")
        return [{ rule: parsed, expected: parsed === "timestamp" ? expected : TIMESTAMP_EXPECTED[parsed] }]
      return inText && parsed.zone === undefined ? [{ rule: "zone", expected }] : NONE
    },
    () => ({ kind: "instant", zoneInText: inText }),
  )
}

function textOf(note: SpillwayNote, judge: Judge, bytes: (test: (text: string) => boolean) => ByteRule): z.ZodString {
  const schema = z
    .string()
    .check((context) => {
      for (const spillway of judge(context.value))
        context.issues.push({ code: "custom", input: context.value, params: { spillway } })
    })
    .meta({ "x-spillway": note })
  const test = (text: string): boolean => judge(text).length === 0
  return noteTextRule(schema, { test, bytes: bytes(test) })
}
