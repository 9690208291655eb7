import { WORD } from "./json-skip.ts"

/** Members of an object that stood one after the other, byte for byte the same in several objects. */
export interface KnownRun {
  /** Of no other run that is known at the same time. */
  readonly number: number
  /** From the quote of its first key to that of the key behind it; to behind the bracket that closes the object where it is the object's end. */
  readonly length: number
  readonly isEnd: boolean
  /** How many members they are. */
  readonly members: number
  /** Where the values of keys begin and end, counted from the run's beginning: key, from, to, and so on. */
  readonly ranges: Int32Array
  /** Its bytes, a word at a time; the last word may overlap the one before. */
  readonly words: Int32Array
}

/** Runs are told apart at first by these bytes of theirs: behind the first key, where the values of fingerprints differ. */
const MARK_FROM = 16
const MARK_TO = 40
const LONGEST = 1 << 10
const PLACES = 1 << 10
const HASH_PRIME = 0x85ebca6b | 0
/** Runs kept in one place, those that were met last in front. */
const KEPT = 4
/** After so many objects it is judged whether runs come again often enough to be worth looking for. */
const JUDGED_AFTER = 1_000

/** Runs of members, found by their bytes. In letters, what says where and why is the same again and again. */
export class KnownRuns {
  readonly #places: KnownRun[][] = Array.from({ length: PLACES }, () => [])
  #number = 0
  #found = 0
  #missed = 0

  /** Whether looking for runs is worth it. */
  get worthwhile(): boolean {
    return this.#missed < JUDGED_AFTER || this.#found > this.#missed
  }

  /** The run that stands at `start`, if it is known and ends before `end`. */
  find(view: DataView, start: number, end: number): KnownRun | undefined {
    if (start + MARK_TO > end) return undefined
    const place = this.#places[placeOf(view, start)] as KnownRun[]
    for (let n = 0; n < place.length; n++) {
      const run = place[n] as KnownRun
      if (start + run.length > end || !stands(run, view, start)) continue
      this.#found++
      if (n > 0) {
        place[n] = place[0] as KnownRun
        place[0] = run
      }
      return run
    }
    this.#missed++
    return undefined
  }

  /** Keeps the run from `start` to `end`. Some are not worth it, or too long. */
  put(view: DataView, start: number, end: number, run: Pick<KnownRun, "members" | "ranges" | "isEnd">): void {
    const length = end - start
    if (length < MARK_TO || length > LONGEST) return
    const words = new Int32Array(Math.ceil(length / WORD))
    for (let n = 0; n < words.length; n++) words[n] = view.getInt32(start + offsetOf(n, length), true)
    const place = this.#places[placeOf(view, start)] as KnownRun[]
    place.unshift({ ...run, number: this.#number++, length, words })
    if (place.length > KEPT) place.pop()
  }
}

const offsetOf = (word: number, length: number): number => Math.min(word * WORD, length - WORD)

function placeOf(view: DataView, start: number): number {
  let hash = 0
  for (let at = start + MARK_FROM; at < start + MARK_TO; at += WORD)
    hash = Math.imul(hash ^ view.getInt32(at, true), HASH_PRIME)
  return (hash ^ (hash >>> 15)) & (PLACES - 1)
}

function stands({ words, length }: KnownRun, view: DataView, start: number): boolean {
  const last = words.length - 1
  if (view.getInt32(start + length - WORD, true) !== words[last]) return false
  for (let n = 0; n < last; n++) if (view.getInt32(start + n * WORD, true) !== words[n]) return false
  return true
}
