import type { RecordObject } from "../core/records.ts"
import type { ByteField } from "./byte-checks.ts"
import { textRuleOf } from "./exact-texts.ts"
import { within } from "./number-range.ts"

/** The part of a zod schema (version 4) that is read here; zod itself is never imported. */
interface ZodNode {
  readonly _zod: { readonly def: ZodDef }
}

interface ZodDef {
  readonly type: string
  readonly checks?: readonly { readonly _zod?: { readonly def?: CheckDef } }[]
  readonly shape?: Readonly<Record<string, ZodNode>>
  readonly catchall?: ZodNode
  readonly innerType?: ZodNode
  readonly entries?: Readonly<Record<string, string | number>>
  readonly check?: string
  readonly format?: string
  readonly coerce?: boolean
  readonly error?: unknown
}

interface CheckDef {
  readonly check?: string
  readonly format?: string
  readonly value?: unknown
  readonly inclusive?: boolean
  readonly minimum?: unknown
  readonly maximum?: unknown
  readonly length?: unknown
  readonly pattern?: unknown
}

/** Formats that zod judges by their pattern alone. */
const PATTERN_FORMATS: ReadonlySet<unknown> = new Set([
  "regex",
  "uuid",
  "guid",
  "date",
  "datetime",
  "ulid",
  "nanoid",
  "e164",
])

type Accepts = (value: unknown) => boolean

export interface RecordAcceptor {
  /** What zod would make of a record, when that is sure without asking zod; undefined otherwise. */
  accept(record: RecordObject): RecordObject | undefined
  /** What is known of each property's text, by property; undefined where one of them has no text that says it all. */
  readonly byteFields: ReadonlyMap<string, ByteField> | undefined
}

interface FieldJudge {
  readonly accepts: Accepts
  readonly bytes: ByteField | undefined
}

/**
 * For a plain object schema of texts, numbers, booleans, enums, `decimal()` and `timestamp()`: tells in a fraction of zod's time
 * that a record is valid, and gives the record that zod would give. It never refuses: whatever it does not accept is judged
 * by zod itself, as is every record of a schema with anything else in it (undefined then).
 */
export function zodAcceptor(schema: unknown): RecordAcceptor | undefined {
  const def = defOf(schema)
  if (def?.type !== "object" || def.shape === undefined || def.catchall !== undefined || hasChecks(def))
    return undefined
  const fields: { name: string; judge: FieldJudge }[] = []
  for (const [name, node] of Object.entries(def.shape)) {
    const judge = name === "__proto__" ? undefined : judgeOf(node)
    if (judge === undefined) return undefined
    fields.push({ name, judge })
  }
  const byteFields = new Map(fields.flatMap(({ name, judge }) => (judge.bytes ? [[name, judge.bytes] as const] : [])))
  const tests = fields.map(({ name, judge }) => ({ name, accepts: judge.accepts }))
  return {
    byteFields: byteFields.size === fields.length ? byteFields : undefined,
    accept(record) {
      const accepted: RecordObject = {}
      for (const { name, accepts } of tests) {
        const value = record[name]
        if (!accepts(value)) return undefined
        // zod leaves out what is absent, and looks no further than the record's own properties would be found by `in`.
        if (value !== undefined || name in record) accepted[name] = value
      }
      return accepted
    },
  }
}

function defOf(node: unknown): ZodDef | undefined {
  if (typeof node !== "object" || node === null || !("_zod" in node)) return undefined
  return (node as ZodNode)._zod.def
}

const hasChecks = (def: ZodDef): boolean => (def.checks?.length ?? 0) > 0

function judgeOf(node: ZodNode | undefined): FieldJudge | undefined {
  const def = defOf(node)
  if (def === undefined || def.coerce === true) return undefined
  switch (def.type) {
    case "optional":
      return orElse(hasChecks(def) ? undefined : judgeOf(def.innerType), undefined)
    case "nullable":
      return orElse(hasChecks(def) ? undefined : judgeOf(def.innerType), null)
    case "string":
      return exactText(node) ?? plainText(def)
    case "number":
      return number(def)
    case "boolean":
      return hasChecks(def) ? undefined : BOOLEAN
    case "enum":
      return hasChecks(def) ? undefined : member(def.entries ?? {})
    default:
      return undefined
  }
}

const BOOLEAN: FieldJudge = {
  accepts: (value) => typeof value === "boolean",
  bytes: { rule: { kind: "boolean" }, optional: false },
}

const orElse = (inner: FieldJudge | undefined, nothing: null | undefined): FieldJudge | undefined =>
  inner && {
    accepts: (value) => value === nothing || inner.accepts(value),
    bytes: inner.bytes && { ...inner.bytes, optional: true },
  }

function exactText(node: ZodNode | undefined): FieldJudge | undefined {
  const rule = textRuleOf(node)
  return (
    rule && {
      accepts: (value) => typeof value === "string" && rule.test(value),
      bytes: { rule: rule.bytes, optional: false },
    }
  )
}

/** The values of an enum; those of a numeric TypeScript enum, which also maps back, are left to zod. */
function member(entries: Readonly<Record<string, string | number>>): FieldJudge | undefined {
  const values = Object.values(entries).filter((value) => typeof value === "string")
  if (values.length < Object.keys(entries).length) return undefined
  const known = new Set<unknown>(values)
  return { accepts: (value) => known.has(value), bytes: { rule: { kind: "member", values }, optional: false } }
}

/** Checks of a schema, its own format included; undefined when one of them is none that a check definition tells in full. */
function checksOf(def: ZodDef): readonly CheckDef[] | undefined {
  const own = def.check === undefined ? [] : [def as CheckDef]
  const others = (def.checks ?? []).map((check) => check._zod?.def)
  const known = others.filter((check): check is CheckDef => check?.check !== undefined)
  return known.length === others.length ? [...own, ...known] : undefined
}

function number(def: ZodDef): FieldJudge | undefined {
  const checks = checksOf(def) ?? [{}]
  const holds = numberTest(checks)
  if (holds === undefined) return undefined
  const kind = checks.some(({ check }) => check === "number_format") ? "integer" : "number"
  return {
    accepts: (value) => typeof value === "number" && Number.isFinite(value) && holds(value),
    bytes: { rule: { kind, holds }, optional: false },
  }
}

/** One test for all checks, as it is asked for each value; undefined when one of them is not known. */
function numberTest(checks: readonly CheckDef[]): ((value: number) => boolean) | undefined {
  const limits = { least: [-Infinity], most: [Infinity], above: [-Infinity], below: [Infinity] }
  let whole = false
  for (const { check, format, value, inclusive } of checks) {
    if (check === "number_format" && (format === "safeint" || format === "int32")) {
      whole = true
      if (format === "int32") {
        limits.least.push(-(2 ** 31))
        limits.most.push(2 ** 31 - 1)
      }
    } else if (typeof value !== "number" || Number.isNaN(value)) return undefined
    else if (check === "greater_than") limits[inclusive === true ? "least" : "above"].push(value)
    else if (check === "less_than") limits[inclusive === true ? "most" : "below"].push(value)
    else return undefined
  }
  const isWithin = within({
    ...{ least: Math.max(...limits.least), most: Math.min(...limits.most) },
    ...{ above: Math.max(...limits.above), below: Math.min(...limits.below) },
  })
  return whole ? (value) => Number.isSafeInteger(value) && isWithin(value) : isWithin
}

function plainText(def: ZodDef): FieldJudge | undefined {
  let least = 0
  let most = Infinity
  const patterns: RegExp[] = []
  for (const { check, minimum, maximum, length, format, pattern } of checksOf(def) ?? [{}]) {
    if (check === "min_length" && typeof minimum === "number") least = Math.max(least, minimum)
    else if (check === "max_length" && typeof maximum === "number") most = Math.min(most, maximum)
    else if (check === "length_equals" && typeof length === "number") {
      least = Math.max(least, length)
      most = Math.min(most, length)
    } else if (check === "string_format" && PATTERN_FORMATS.has(format) && isStateless(pattern)) patterns.push(pattern)
    else return undefined
  }
  return {
    accepts: (value) =>
      typeof value === "string" && isWithin(value, least, most) && patterns.every((pattern) => pattern.test(value)),
    bytes: { rule: { kind: "text", least, most, patterns }, optional: false },
  }
}

/** Lengths count characters: a pair of surrogates is one. */
function isWithin(text: string, least: number, most: number): boolean {
  if (least === 0 && text.length <= most) return true
  const length = /[\ud800-\udfff]/.test(text) ? [...text].length : text.length
  return length >= least && length <= most
}

/** A pattern that says the same each time it is asked. */
const isStateless = (pattern: unknown): pattern is RegExp => pattern instanceof RegExp && !/[gy]/.test(pattern.flags)
