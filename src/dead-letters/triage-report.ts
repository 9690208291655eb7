import type { DescribedLetter } from "./described-letter.ts"

/** How many letters have something. */
export interface Tallied {
  readonly name: string
  readonly letters: number
}

export interface FieldTally {
  /** Array indices as `[]`; empty for the whole record. */
  readonly field: string
  readonly rule: string
  /** Letters with this fault, among others or alone. */
  readonly letters: number
}

/** Letters of one cause. */
export interface GroupTally {
  readonly fingerprint: string
  readonly pipeline: string
  readonly step: string
  readonly code: string
  readonly field: string
  readonly rule: string
  readonly letters: number
  /** Milliseconds since the epoch; undefined where no letter tells. */
  readonly firstSeen: number | undefined
  readonly lastSeen: number | undefined
  /** Letters in each of 24 equal slices of the time from the report's `from` to its `to`. */
  readonly trend: readonly number[]
  /** The first few letters. */
  readonly samples: readonly DescribedLetter[]
}

/** What cannot be read as a letter. */
export interface UnreadLetter {
  /** File and line. */
  readonly where: string
  readonly reason: string
}

/** What happened, by all that triage looks at; the most frequent first. */
export interface TriageReport {
  readonly letters: number
  /** First and last time, milliseconds since the epoch; undefined where no letter tells. */
  readonly from: number | undefined
  readonly to: number | undefined
  readonly trend: readonly number[]
  readonly byCode: readonly Tallied[]
  readonly byField: readonly FieldTally[]
  readonly byPipeline: readonly Tallied[]
  readonly byStatus: readonly Tallied[]
  /** Files, addresses, topics. */
  readonly bySource: readonly Tallied[]
  readonly groups: readonly GroupTally[]
  /** Groups in all: `groups` may hold only the largest. */
  readonly groupCount: number
  /** Letters that are in none of `groups` because there were too many groups to keep. */
  readonly ungrouped: number
  /** How many pieces of the input are not letters, and the first few of them. */
  readonly unread: number
  readonly unreadSamples: readonly UnreadLetter[]
}

/** The order of every list in a report: the most letters first, then by name. */
export function mostFirst<T extends { readonly letters: number }>(rows: Iterable<T>, name: (row: T) => string): T[] {
  return [...rows].sort((a, b) => b.letters - a.letters || (name(a) < name(b) ? -1 : 1))
}
