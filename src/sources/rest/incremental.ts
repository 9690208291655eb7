import { SpillwayError } from "../../core/errors.ts"
import type { JsonValue } from "../../core/json.ts"
import { pathOf, type BodyPath } from "./body.ts"
import { Cursors, cursorTypeOf, type CursorKey, type CursorType, type CursorValue } from "./cursor.ts"
import type { WindowUnit } from "./windows.ts"

/** How a source is read on from where the last run ended. */
export interface IncrementalOptions {
  /** Path of the value in an item that grows: a time of change, an id. */
  cursor: BodyPath
  /** Default: by `start`; a timestamp without one. */
  type?: CursorType
  /** The parameter that takes the value from which records are wanted. */
  param?: string
  /** The first run asks for records from here. Older ones are left out; a time more than a day before is taken for a wrong one, and passed on to the schema. */
  start?: CursorValue
  /** The parameter that takes the value up to which records are wanted. */
  endParam?: string
  /** Records from here on are left out. */
  end?: CursorValue
  /** Each run asks again for so much before the newest value it has: a duration for times, a number for numbers. What comes again unchanged is left out. */
  lag?: string | number
  /** A partition for each day or month (UTC) from `start` to now or `end`, so that ranges can be loaded again and by several workers. */
  by?: WindowUnit
  /** `descending`: the newest come first, and reading ends where the last run's records begin. Then `param` is not needed. */
  order?: "ascending" | "descending"
  /** Properties that tell records with the same cursor value apart. Default: the whole record. */
  identity?: readonly string[]
}

/** The same, checked. */
export interface Incremental {
  readonly cursors: Cursors
  readonly path: readonly string[]
  readonly param: string | undefined
  readonly endParam: string | undefined
  readonly start: CursorValue | undefined
  readonly startKey: CursorKey | undefined
  /** A time below this is a wrong one: the API was never asked for so old records. */
  readonly strayBelow: CursorKey | undefined
  readonly end: CursorValue | undefined
  readonly endKey: CursorKey | undefined
  readonly lag: number
  readonly by: WindowUnit | undefined
  readonly descending: boolean
  readonly identity: readonly string[] | undefined
  readonly description: JsonValue
}

const DAY_MS = 86_400_000

/** Checks what was declared. Throws `CONFIG`. */
export function incrementalOf(options: IncrementalOptions): Incremental {
  const { cursor, type, param, start, endParam, end, lag, by, order, identity } = options
  const path = pathOf(cursor)
  const cursors = new Cursors(type ?? cursorTypeOf(start))
  const descending = order === "descending"
  if (path.length === 0) throw refused("it names no cursor", 'name the property: cursor: "updated_at"')
  if (param === undefined && !descending)
    throw refused(
      "nothing tells the API what is new",
      'name the parameter: param: "since"; or, where the API lists the newest first, order: "descending"',
    )
  const startKey = keyOf(cursors, "start", start)
  // A day's grace for APIs that round what they are asked for.
  const strayBelow = cursors.isTime && !descending && typeof startKey === "number" ? startKey - DAY_MS : undefined
  const checked = {
    cursors,
    path,
    param,
    endParam,
    start,
    startKey,
    strayBelow,
    end,
    endKey: keyOf(cursors, "end", end),
    lag: cursors.lag(lag),
    by,
    descending,
    identity,
    description: { ...options, type: cursors.type },
  }
  const { endKey } = checked
  if (startKey !== undefined && endKey !== undefined && startKey >= endKey)
    throw refused(`start (${start}) is not before end (${end})`, "end is not part of what is read")
  if (by !== undefined) requireTimes(checked)
  return checked
}

function requireTimes({ cursors, startKey, endParam, by }: Incremental): void {
  const fault = !cursors.isTime
    ? `the cursor is a ${cursors.type}, not a time`
    : startKey === undefined
      ? "start is missing"
      : endParam === undefined
        ? "endParam is missing"
        : undefined
  if (fault !== undefined)
    throw refused(
      `it cannot be read by ${by}: ${fault}`,
      'give start: "2026-01-01", and with endParam the parameter that takes the end',
    )
}

function keyOf(cursors: Cursors, what: string, value: CursorValue | undefined): CursorKey | undefined {
  if (value === undefined) return undefined
  const key = cursors.key(value)
  if (key === undefined)
    throw refused(
      `${what}: ${JSON.stringify(value)} is not a ${cursors.type}`,
      "correct it, or name the type of the cursor",
    )
  return key
}

const refused = (message: string, hint: string): SpillwayError =>
  new SpillwayError("CONFIG", `incremental is not well declared: ${message}`, { where: "rest()", hint })
