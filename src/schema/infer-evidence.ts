import { compareDecimals, parseDecimal, type Decimal } from "../core/decimal.ts"
import { kindOfText, type TextKind } from "./infer-kind.ts"
import { parseInstant } from "./timestamp-text.ts"

/** What a value is, beyond nothing. `digits`: a text of JSON that is a number with a fraction. */
export type ValueKind = "integer" | "number" | "boolean" | "digits" | "object" | "list" | "other" | TextKind

/** How deep objects and lists are looked into; what lies below is taken as it comes. */
const DEEPEST = 5
/** With more keys than that an object's keys are data themselves. */
const MOST_FIELDS = 50
/** Distinct texts that are remembered, and how long each may be. */
const MOST_DISTINCT = 24
const LONGEST_DISTINCT = 40
const RFC_3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})$/

export interface NumberRange {
  readonly least: Decimal
  readonly most: Decimal
  /** Digits behind the point, at most. */
  readonly scale: number
  /** A double holds every one of them. */
  readonly safe: boolean
}

/** What was seen of a property or of a list's items. Its memory is bounded whatever comes. */
export class ValueEvidence {
  /** Values, without nulls. */
  count = 0
  /** Nulls; in formats of text alone, blanks. */
  nulls = 0
  readonly kinds = new Map<ValueKind, number>()
  numbers: NumberRange | undefined
  /** Of texts, in characters. */
  lengths: { least: number; most: number } | undefined
  /** Of dates and times, the first and the last by their text. */
  times: { first: string; last: string } | undefined
  /** All texts are digits. */
  allDigits = true
  /** All instants are written as RFC 3339 has it. */
  rfc3339 = true
  readonly #depth: number
  readonly #untyped: boolean
  /** By text; undefined when there are more than are remembered. */
  #distinct: Map<string, number> | undefined = new Map()
  #samples: string[] = []
  #fields: Map<string, ValueEvidence> | undefined = new Map()
  #items: ValueEvidence | undefined

  /** `untyped`: texts may stand for anything, as in a CSV. */
  constructor(untyped: boolean, depth = 0) {
    this.#untyped = untyped
    this.#depth = depth
  }

  get untyped(): boolean {
    return this.#untyped
  }

  get depth(): number {
    return this.#depth
  }

  /** Texts and how often each came; undefined when there are too many to tell. */
  get distinct(): ReadonlyMap<string, number> | undefined {
    return this.#distinct
  }

  /** The first few texts that differ. */
  get samples(): readonly string[] {
    return this.#samples
  }

  /** What objects hold; undefined when their keys are data, or too deep to look into. */
  get fields(): ReadonlyMap<string, ValueEvidence> | undefined {
    return this.#fields
  }

  get items(): ValueEvidence | undefined {
    return this.#items
  }

  add(value: unknown): void {
    if (value === null || value === undefined) {
      this.nulls++
      return
    }
    this.count++
    const kind = this.#take(value)
    this.kinds.set(kind, (this.kinds.get(kind) ?? 0) + 1)
  }

  #take(value: unknown): ValueKind {
    switch (typeof value) {
      case "string":
        return this.#takeText(value)
      case "boolean":
        return "boolean"
      case "number":
        if (!Number.isFinite(value)) return "other"
        this.#takeNumber(String(value))
        return Number.isSafeInteger(value) ? "integer" : "number"
      case "object":
        return Array.isArray(value)
          ? this.#takeList(value)
          : this.#takeObject(value as Readonly<Record<string, unknown>>)
      default:
        return "other"
    }
  }

  #takeText(text: string): ValueKind {
    this.#remember(text)
    const length = [...text].length
    const { least, most } = this.lengths ?? { least: length, most: length }
    this.lengths = { least: Math.min(least, length), most: Math.max(most, length) }
    if (!/^\d+$/.test(text)) this.allDigits = false
    const kind = kindOfText(text)
    if (kind === "date" || kind === "instant" || kind === "local-time") {
      const { first, last } = this.times ?? { first: text, last: text }
      const order = timeKey(text)
      this.times = { first: order < timeKey(first) ? text : first, last: order > timeKey(last) ? text : last }
      if (kind === "instant" && !RFC_3339.test(text)) this.rfc3339 = false
      return kind
    }
    if (kind !== "integer" && kind !== "decimal") return kind === "boolean" && !this.#untyped ? "text" : kind
    this.#takeNumber(text)
    if (this.#untyped) return kind
    return kind === "decimal" ? "digits" : "text"
  }

  #takeNumber(text: string): void {
    const value = parseDecimal(text)
    if (value === undefined) return
    const safe = value.fraction !== "" || Number.isSafeInteger(Number(text))
    const scale = /^-?\d+\.(\d+)$/.exec(text)?.[1]?.length ?? value.fraction.length
    const { least, most, ...so } = this.numbers ?? { least: value, most: value, scale, safe }
    this.numbers = {
      least: compareDecimals(value, least) < 0 ? value : least,
      most: compareDecimals(value, most) > 0 ? value : most,
      scale: Math.max(so.scale, scale),
      safe: so.safe && safe,
    }
  }

  #remember(text: string): void {
    if (this.#samples.length < 3 && text !== "" && !this.#samples.includes(text)) this.#samples.push(text)
    const distinct = this.#distinct
    if (distinct === undefined) return
    if (text.length <= LONGEST_DISTINCT) distinct.set(text, (distinct.get(text) ?? 0) + 1)
    if (text.length > LONGEST_DISTINCT || distinct.size > MOST_DISTINCT) this.#distinct = undefined
  }

  #takeList(items: readonly unknown[]): "list" {
    if (this.#depth >= DEEPEST) return "list"
    this.#items ??= new ValueEvidence(false, this.#depth + 1)
    for (const item of items) this.#items.add(item)
    return "list"
  }

  #takeObject(object: Readonly<Record<string, unknown>>): "object" {
    if (this.#depth >= DEEPEST) this.#fields = undefined
    const fields = this.#fields
    if (fields === undefined) return "object"
    for (const key of Object.keys(object)) {
      let field = fields.get(key)
      if (field === undefined) fields.set(key, (field = new ValueEvidence(false, this.#depth + 1)))
      field.add(object[key])
      if (fields.size <= MOST_FIELDS) continue
      this.#fields = undefined
      break
    }
    return "object"
  }
}

/** Orders dates and times, those with a zone by the instant. */
const timeKey = (text: string): string => parseInstant(text)?.toISOString() ?? text.replace(" ", "T")
