import { printable, typeName } from "../../core/shown.ts"
import { isObject } from "./body.ts"

/** The types that each property of the items was seen with, such as `number|string`; `null` where it was null or absent in some. */
export type FieldTypes = Readonly<Record<string, string>>

/** What changed in the shape of the items. */
export interface Drift {
  readonly kind: "new" | "retyped" | "missing"
  readonly field: string
  readonly before: string
  readonly now: string
}

/** Items of a page that are looked at. */
const LOOKED_AT = 10
const MOST_FIELDS = 500

/** Compares the top-level properties of the items with those of earlier readings, each change told once. */
export class FieldWatch {
  readonly #before: ReadonlyMap<string, string>
  readonly #seen = new Map<string, Set<string>>()
  readonly #told = new Set<string>()
  readonly #times = new Map<string, number>()
  readonly #texts = new Map<string, { readonly size: number; readonly isAlways: boolean; readonly text: string }>()
  #looked = 0

  /** `before` is empty where there was no earlier reading: then nothing is a change. */
  constructor(before: FieldTypes, current: FieldTypes) {
    this.#before = new Map(Object.entries(before))
    for (const [field, types] of Object.entries(current)) this.#seen.set(field, new Set(types.split("|")))
  }

  look(length: number, value: (i: number) => unknown): Drift[] {
    const drifts: Drift[] = []
    for (let i = 0; i < Math.min(length, LOOKED_AT); i++) {
      const item = value(i)
      if (!isObject(item)) continue
      this.#looked++
      for (const [field, inner] of Object.entries(item)) {
        const drift = this.#meet(printable(field), typeName(inner))
        if (drift !== undefined) drifts.push(drift)
      }
    }
    return drifts
  }

  /** Properties that were there in all items before, and in none now. */
  missing(): Drift[] {
    if (this.#seen.size === 0) return []
    return [...this.#before]
      .filter(([field, types]) => !this.#seen.has(field) && !types.split("|").includes("null"))
      .map(([field, before]) => ({ kind: "missing", field, before, now: "" }))
  }

  /** What was met in this reading. */
  current(): FieldTypes {
    const fields: Record<string, string> = {}
    for (const [field, types] of this.#seen) fields[field] = this.#text(field, types)
    return fields
  }

  /** What the next reading is compared with: what was met in this one, and the types known from before. */
  known(): FieldTypes {
    const merged = this.#types()
    for (const [field, types] of this.#before)
      if (merged.has(field) || this.#seen.size === 0) {
        const all = merged.get(field) ?? new Set<string>()
        for (const type of types.split("|")) all.add(type)
        merged.set(field, all)
      }
    return Object.fromEntries([...merged].map(([field, types]) => [field, textOf(types)]))
  }

  /** Asked for with every page, and mostly the same: types only become more. */
  #text(field: string, types: ReadonlySet<string>): string {
    const isAlways = this.#isAlways(field)
    const last = this.#texts.get(field)
    if (last !== undefined && last.size === types.size && last.isAlways === isAlways) return last.text
    const text = textOf(isAlways ? types : new Set([...types, "null"]))
    this.#texts.set(field, { size: types.size, isAlways, text })
    return text
  }

  #isAlways(field: string): boolean {
    return (this.#times.get(field) ?? 0) === this.#looked
  }

  #types(): Map<string, Set<string>> {
    return new Map(
      [...this.#seen].map(([field, types]) => {
        return [field, this.#isAlways(field) ? new Set(types) : new Set([...types, "null"])]
      }),
    )
  }

  #meet(field: string, type: string): Drift | undefined {
    const types = this.#seen.get(field)
    this.#times.set(field, (this.#times.get(field) ?? 0) + 1)
    if (types?.has(type) === true) return undefined
    if (types !== undefined) types.add(type)
    else if (this.#seen.size < MOST_FIELDS) this.#seen.set(field, new Set([type]))
    if (this.#before.size === 0 || this.#told.has(field)) return undefined
    const before = this.#before.get(field)
    const known = before?.split("|").filter((name) => name !== "null")
    if (before !== undefined && (type === "null" || known?.length === 0 || known?.includes(type))) return undefined
    this.#told.add(field)
    return { kind: before === undefined ? "new" : "retyped", field, before: before ?? "", now: type }
  }
}

const textOf = (types: ReadonlySet<string>): string => [...types].sort().join("|")

/** A change in words. */
export function driftText({ kind, field, before, now }: Drift): string {
  const name = JSON.stringify(field)
  if (kind === "new") return `the items have a new property ${name} (${now})`
  if (kind === "missing") return `none of the items has the property ${name} any more`
  return `the property ${name} is now ${now}, it was ${before}`
}
