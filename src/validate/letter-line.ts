import { envelopeLine } from "../dead-letters/envelope.ts"
import type { StagedLetter } from "../ledger/dead-letters.ts"

/** What all letters of one validation have in common. */
export interface LetterFrame {
  readonly pipeline: string
  readonly runId: string
  /** When the records were looked at: ISO, UTC. */
  readonly time: string
  readonly schemaVersion: string
  /** Fields that are masked wherever the letters are shown; the file itself keeps them, for repair. Default: none. */
  readonly secrets?: Iterable<string>
}

/** A letter as a line of JSON without its line end, as an export of the dead letters has it. */
export const letterLine = (letter: StagedLetter, frame: LetterFrame): string =>
  envelopeLine({
    ...letter,
    pipeline: frame.pipeline,
    runId: frame.runId,
    correlationId: undefined,
    attempts: 1,
    firstSeen: frame.time,
    lastSeen: frame.time,
    status: "pending",
    replayOf: undefined,
    schemaVersion: frame.schemaVersion,
    secrets: [...(frame.secrets ?? [])],
  })
