import type { JsonValue } from "../core/json.ts"
import type { RecordObject } from "../core/records.ts"

/** What a fix is told about a letter, besides its record. */
export interface LetterToFix {
  readonly id: string
  /** The original text; bytes that are not UTF-8 as U+FFFD. */
  readonly raw: string
  readonly code: string
  readonly message: string
  /** The path of the first field that is at fault. */
  readonly field: string | undefined
  readonly source: Readonly<Record<string, unknown>>
}

/** A letter that nobody needs any more, with the reason. */
export class Discarded {
  readonly reason: string
  constructor(reason: string) {
    this.reason = reason
  }
}

/** What a fix returns for a letter that is to be given up. */
export const discard = (reason: string): Discarded => new Discarded(reason)

/**
 * Mends one record. It gets a copy (undefined where the original could not be decoded) and returns the record as it should have
 * come from the source; a string is decoded in place of the original text; `undefined` leaves the letter as it is.
 */
export type Fix = (record: RecordObject | undefined, letter: LetterToFix) => unknown

/** How letters are mended before they are replayed. */
export interface Patch {
  readonly fix: Fix
  /** As the ledger keeps it. */
  readonly description: JsonValue
}

/** A JSON Merge Patch (RFC 7396): members replace those of the record, `null` removes them, objects are merged. */
export function mergePatch(patch: Readonly<Record<string, JsonValue>>): Patch {
  return {
    fix: (record) => (record === undefined ? undefined : merged(record, patch)),
    description: { merge: patch },
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

function merged(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch
  const result = new Map(isObject(target) ? Object.entries(target) : [])
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) result.delete(name)
    else result.set(name, merged(result.get(name), value))
  }
  // Defines own properties, `__proto__` like any other.
  return Object.fromEntries(result)
}
