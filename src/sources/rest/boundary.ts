import { hash } from "node:crypto"
import { SpillwayError } from "../../core/errors.ts"
import { canonicalJson, type JsonValue } from "../../core/json.ts"
import { valueAtPath } from "./body.ts"
import type { CursorKey, Cursors, CursorValue } from "./cursor.ts"

/** How many records at the boundary are remembered. */
const MOST_REMEMBERED = 5_000

/** What is kept of a reading so that the next one goes on without loss and without repeats; plain JSON. */
export interface BoundaryState {
  /** The newest cursor value that was read; null before the first. */
  readonly cursor: CursorValue | null
  /** Records that the next reading may meet again: their hash, cursor key (null: none that could be read) and how often they came. */
  readonly seen: readonly (readonly [hash: string, key: CursorKey | null, times: number])[]
}

export const NOTHING_READ: BoundaryState = { cursor: null, seen: [] }

export interface BoundaryRules {
  readonly cursors: Cursors
  /** Path of the cursor in an item. */
  readonly path: readonly string[]
  /** In the unit of keys. */
  readonly lag: number
  /** Properties that tell records with the same cursor apart; undefined: all of the record. */
  readonly identity: readonly string[] | undefined
  /** Records below are not wanted. */
  readonly floor: CursorKey | undefined
  /** A time below this is a wrong one, since nobody asked for so old records: what the schema has to say of it. */
  readonly strayBelow: CursorKey | undefined
  /** Records from here on are not wanted. */
  readonly ceiling: CursorKey | undefined
  /** A record that comes again does no harm. */
  readonly keyed: boolean
  readonly now: () => number
  readonly onForgotten: () => void
}

interface Remembered {
  readonly key: CursorKey | null
  times: number
}

/** Sorts out what of each page is new: leaves out what the last reading had, and what lies outside of the window. */
export class Boundary {
  readonly #rules: BoundaryRules
  /** What the last reading had and this one has not met yet. */
  readonly #before: Map<string, Remembered>
  readonly #newestBefore: CursorKey | undefined
  readonly #hasStrays: boolean
  /** What this reading has met. */
  #met: Map<string, Remembered>
  #cursor: CursorValue | null
  #newest: CursorKey | undefined
  /** Records that came though they are older than what was asked for; they are left out. */
  older = 0

  constructor(rules: BoundaryRules, before: BoundaryState, current: BoundaryState | undefined) {
    this.#rules = rules
    this.#before = remembered(before)
    this.#met = remembered(current ?? NOTHING_READ)
    for (const [id, { times }] of this.#met) take(this.#before, id, times)
    const keys = before.seen.flatMap(([, key]) => (key === null ? [] : [key]))
    this.#newestBefore = keys.length === 0 ? undefined : keys.reduce((a, b) => (a > b ? a : b))
    this.#hasStrays = before.seen.some(([, key]) => key === null)
    this.#cursor = (current ?? before).cursor
    this.#newest = this.#cursor === null ? undefined : rules.cursors.key(this.#cursor)
  }

  /** The items that are handed on, by number, and whether all of the page lie below the window. */
  sort(length: number, value: (i: number) => unknown): { kept: number[]; allBelow: boolean } {
    const { floor, ceiling } = this.#rules
    const keys = Array.from({ length }, (_, i) => this.#keyOf(value(i)))
    keys.forEach((key, i) => this.#moveOn(key, value(i)))
    const threshold = this.#threshold()
    const kept: number[] = []
    let below = 0
    keys.forEach((key, i) => {
      if (key !== undefined && floor !== undefined && key < floor) below++
      else if (key !== undefined && ceiling !== undefined && key >= ceiling) return
      else if (!this.#isRepeat(key, value(i), threshold)) kept.push(i)
    })
    this.older += below
    this.#forget(threshold)
    return { kept, allBelow: length > 0 && below === length }
  }

  /** What the next page of this reading, or the next reading, goes on from. */
  state(): BoundaryState {
    return { cursor: this.#cursor, seen: [...this.#met].map(([id, { key, times }]) => [id, key, times]) }
  }

  /** The same at the end, with what the last reading had and was not given again. */
  finalState(): BoundaryState {
    const threshold = this.#threshold()
    for (const [id, { key, times }] of this.#before)
      if (key !== null && threshold !== undefined && key >= threshold) add(this.#met, id, key, times)
    this.#forget(threshold)
    return this.state()
  }

  #keyOf(item: unknown): CursorKey | undefined {
    const { cursors, path, strayBelow } = this.#rules
    const key = cursors.key(valueAtPath(item, path))
    return key !== undefined && strayBelow !== undefined && key < strayBelow ? undefined : key
  }

  /** A value from the future must not carry the cursor past what is yet to come. */
  #moveOn(key: CursorKey | undefined, item: unknown): void {
    const { cursors, path, now, floor, ceiling } = this.#rules
    if (key === undefined || (this.#newest !== undefined && key <= this.#newest)) return
    if ((floor !== undefined && key < floor) || (ceiling !== undefined && key >= ceiling)) return
    if (cursors.isTime && (key as number) > now()) return
    this.#newest = key
    this.#cursor = valueAtPath(item, path) as CursorValue
  }

  #threshold(): CursorKey | undefined {
    return typeof this.#newest === "number" ? this.#newest - this.#rules.lag : this.#newest
  }

  #isRepeat(key: CursorKey | undefined, item: unknown, threshold: CursorKey | undefined): boolean {
    const mayRepeat =
      key === undefined ? this.#hasStrays : this.#newestBefore !== undefined && key <= this.#newestBefore
    const mayComeAgain = key === undefined || threshold === undefined || key >= threshold
    if (!mayRepeat && !mayComeAgain) return false
    const id = this.#idOf(item)
    if (mayComeAgain) add(this.#met, id, key ?? null, 1)
    return mayRepeat && take(this.#before, id, 1)
  }

  #idOf(item: unknown): string {
    const { identity, path } = this.#rules
    const told =
      identity === undefined
        ? item
        : [valueAtPath(item, path) ?? null, ...identity.map((name) => valueAtPath(item, [name]) ?? null)]
    return hash("sha256", canonicalJson(told), "base64url").slice(0, 14)
  }

  #forget(threshold: CursorKey | undefined): void {
    for (const [id, { key }] of this.#met)
      if (key !== null && threshold !== undefined && key < threshold) this.#met.delete(id)
    if (this.#met.size <= MOST_REMEMBERED) return
    if (!this.#rules.keyed) throw tooMany()
    this.#rules.onForgotten()
    const newestFirst = [...this.#met].sort(([, { key: a }], [, { key: b }]) =>
      a === b ? 0 : (a ?? "") > (b ?? "") ? -1 : 1,
    )
    this.#met = new Map(newestFirst.slice(0, MOST_REMEMBERED))
  }
}

const remembered = (state: BoundaryState): Map<string, Remembered> =>
  new Map(state.seen.map(([id, key, times]) => [id, { key, times }]))

function add(into: Map<string, Remembered>, id: string, key: CursorKey | null, times: number): void {
  const there = into.get(id)
  if (there === undefined) into.set(id, { key, times })
  else there.times += times
}

/** Takes so many out; whether there was one. */
function take(from: Map<string, Remembered>, id: string, times: number): boolean {
  const there = from.get(id)
  if (there === undefined) return false
  there.times -= times
  if (there.times <= 0) from.delete(id)
  return true
}

const tooMany = (): SpillwayError =>
  new SpillwayError(
    "RESOURCE",
    `more than ${MOST_REMEMBERED} records share the newest cursor value, or lie within the lag`,
    {
      hint: "to append, they all have to be told apart from those of the next reading: take a finer cursor or a smaller lag, or upsert by a key",
    },
  )

/** A state that came back from where it was kept; undefined for anything else. */
export function boundaryState(value: JsonValue | undefined): BoundaryState | undefined {
  if (typeof value !== "object" || value === null || !("seen" in value) || !("cursor" in value)) return undefined
  return value as unknown as BoundaryState
}
