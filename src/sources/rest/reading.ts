import type { KnownPartition, SourcePartition } from "../../core/contracts.ts"
import type { JsonValue } from "../../core/json.ts"
import { boundaryState, NOTHING_READ, type BoundaryState } from "./boundary.ts"
import type { CursorKey, CursorValue } from "./cursor.ts"
import type { FieldTypes } from "./drift.ts"
import type { Incremental } from "./incremental.ts"
import { windowsOf, type Window } from "./windows.ts"

/** What a reading left behind, committed with its rows. */
export interface ReadingState {
  /** What it was read by: the path of the cursor, or null. A state of another cursor says nothing. */
  readonly by: string | null
  /** Readings so far. */
  readonly reading: number
  readonly boundary: BoundaryState
  /** The ordinal of the last record. */
  readonly ordinal: number
  /** Records of this reading. */
  readonly records: number
  readonly fields: FieldTypes
  /** The window was over when this reading began: nothing more will come. */
  readonly settled: boolean
}

/** What one reading is asked for; the stamp of its partition. */
export interface Reading {
  readonly reading: number
  readonly before: BoundaryState
  /** The value of the parameter for the beginning, and the key below which records are left out; null for none. */
  readonly since: CursorValue | null
  readonly floor: CursorKey | null
  /** The same for the end. */
  readonly until: CursorValue | null
  readonly ceiling: CursorKey | null
  /** The ordinal that this reading goes on from. */
  readonly ordinal: number
  /** Of the reading before; empty for the first. */
  readonly fields: FieldTypes
  readonly recordsBefore: number
}

export interface Listing {
  /** What partitions are called, but for their window. */
  readonly name: string
  readonly incremental: Incremental | undefined
  /** Everything is to be read again. */
  readonly full: boolean
  readonly keepsRows: boolean
  /** Milliseconds since 1970. */
  readonly now: number
}

/** The partitions of a source with what each is to be asked for next. */
export function readings(listing: Listing, known: ReadonlyMap<string, KnownPartition>): SourcePartition[] {
  const { name, incremental, now } = listing
  if (incremental?.by === undefined) return [partitionOf(name, undefined, listing, known)]
  const { by, startKey, endKey } = incremental
  const end = typeof endKey === "number" ? endKey : Infinity
  return windowsOf(by, Number(startKey), Math.min(now + 1, end)).map((window) =>
    partitionOf(`${name} ${window.name}`, { ...window, to: Math.min(window.to, end) }, listing, known),
  )
}

function partitionOf(
  key: string,
  window: Window | undefined,
  listing: Listing,
  known: ReadonlyMap<string, KnownPartition>,
): SourcePartition {
  const { incremental, full, keepsRows } = listing
  const before = known.get(key)
  const last = stateOf(before?.state, incremental)
  if (window !== undefined && last?.settled === true && !full)
    return { key, version: before?.version ?? "", bytes: undefined, stamp: null, after: last.ordinal }
  const goesOn = incremental !== undefined && last !== undefined && !full
  const reading: Reading = {
    ...boundsOf(incremental, window, goesOn ? last.boundary : NOTHING_READ),
    reading: (last?.reading ?? 0) + 1,
    before: goesOn ? last.boundary : NOTHING_READ,
    ordinal: goesOn ? last.ordinal : 0,
    fields: last?.fields ?? {},
    recordsBefore: last?.records ?? 0,
  }
  // Until it is published the number stays the same, so that an interrupted reading is gone on with.
  const version = `reading ${reading.reading}`
  const extent = goesOn ? { after: last.ordinal } : { keepsRows }
  return { key, version, bytes: undefined, stamp: { ...reading } as unknown as JsonValue, ...extent }
}

function boundsOf(
  incremental: Incremental | undefined,
  window: Window | undefined,
  before: BoundaryState,
): Pick<Reading, "since" | "floor" | "until" | "ceiling"> {
  if (incremental === undefined) return { since: null, floor: null, until: null, ceiling: null }
  const { cursors, start, startKey, end, endKey, lag } = incremental
  const first = window === undefined ? startKey : window.from
  const last = window === undefined ? endKey : window.to
  const until = last === undefined ? null : last === endKey ? (end ?? null) : cursors.text(last, start)
  const firstText = first === undefined ? null : first === startKey ? (start ?? null) : cursors.text(first, start)
  const ends = { until, ceiling: last ?? null }
  const newest = before.cursor === null ? undefined : cursors.key(before.cursor)
  if (newest === undefined) return { since: firstText, floor: first ?? null, ...ends }
  const back = typeof newest === "number" ? newest - lag : newest
  if (first !== undefined && back <= first) return { since: firstText, floor: first, ...ends }
  return {
    since: back === newest ? before.cursor : cursors.text(back, before.cursor ?? undefined),
    floor: back,
    ...ends,
  }
}

/** What an earlier reading left; undefined where it was read by something else. */
function stateOf(state: JsonValue | undefined, incremental: Incremental | undefined): ReadingState | undefined {
  if (typeof state !== "object" || state === null || !("reading" in state)) return undefined
  const found = state as unknown as ReadingState
  if (boundaryState(state["boundary"]) === undefined) return undefined
  return found.by === (incremental?.path.join(".") ?? null) ? found : undefined
}
