import type { SourceContext } from "../../core/contracts.ts"
import type { LetterOrigin } from "../../dead-letters/letter.ts"
import type { Patch } from "../../dead-letters/patch.ts"
import { heldPartitions, type LetterResult, type ReplayedLetter } from "../../ledger/replays.ts"
import type { Session } from "../../postgres/session.ts"
import type { Target } from "../../postgres/target.ts"
import { secretFields, type Pipeline } from "../definition.ts"
import type { BatchToCopy } from "../pipeline/copy-batch.ts"
import { batchEncoder, type EncodedBatch } from "../pipeline/encode-batch.ts"
import { NewColumns } from "../pipeline/new-columns.ts"
import { recordPath } from "../pipeline/record-path.ts"
import type { JudgedPartition } from "../publish/gate.ts"
import { targetOf } from "../target-of.ts"
import { LettersBatch } from "./letters-batch.ts"
import { mendLetters } from "./mend-letters.ts"

/** What letters are taken through, and how they are mended. */
export interface LetterContext {
  readonly pipeline: Pipeline
  readonly target: Target
  readonly source: SourceContext
  readonly patch: Patch | undefined
}

const HELD = "its partition is held and has nothing in the table: correct the source, or the check, and run again"
const SAME_PLACE = "another letter stands at the same place of its source"

/** A letter that is not tried. */
const left = (id: string, reason: string): LetterResult => ({
  id,
  outcome: "left",
  reason,
  code: undefined,
  record: undefined,
})

/** Letters of one partition that share the start of their `_seq`. */
interface LetterGroup {
  readonly partition: string
  readonly seq: number
  readonly letters: readonly ReplayedLetter[]
  /** Letters at a place that another of the group has. */
  readonly surplus: readonly ReplayedLetter[]
}

/** Letters by partition and version: these share `_source` and the start of their `_seq`. */
function grouped(letters: readonly ReplayedLetter[]): LetterGroup[] {
  const groups = Map.groupBy(letters, ({ partition, seq }) => JSON.stringify([partition, seq]))
  const places = new Set<string>()
  return [...groups.values()].map((members) => {
    const own: ReplayedLetter[] = []
    const surplus: ReplayedLetter[] = []
    for (const letter of members) {
      const place = JSON.stringify([letter.partition, letter.ordinal])
      ;(places.has(place) ? surplus : own).push(letter)
      places.add(place)
    }
    const [first] = members as [ReplayedLetter]
    return { partition: first.partition, seq: first.seq, letters: own, surplus }
  })
}

/** What the record path makes of letters. */
export interface TakenLetters {
  readonly partition: string
  /** Letters that have rows, by their place. */
  readonly rows: ReadonlyMap<number, LetterResult>
  /** Those that are dealt with: failed, filtered, left, discarded. */
  readonly settled: readonly LetterResult[]
  readonly judged: JudgedPartition
}

/** The columns that the table has besides those of the schema; undefined where it takes none. A replay adds no further ones. */
const tableColumns = (pipeline: Pipeline, target: Target): NewColumns | undefined =>
  pipeline.onNewColumn === "evolve"
    ? new NewColumns(target.columns.slice(targetOf(pipeline).columns.length), { grows: false })
    : undefined

/**
 * Takes letters through the record path, by partition; their rows go to `copy`. `seq`: all rows are of this reading instead of that
 * which set their letters aside.
 */
export async function takeLetters(
  session: Session,
  context: LetterContext,
  letters: readonly ReplayedLetter[],
  copy: (batch: BatchToCopy) => Promise<EncodedBatch>,
  seq?: number,
): Promise<{ readonly taken: readonly TakenLetters[]; readonly left: readonly LetterResult[] }> {
  const partitions = [...new Set(letters.map(({ partition }) => partition))]
  const held = await heldPartitions(session, context.pipeline.name, partitions)
  const taken: TakenLetters[] = []
  for (const group of grouped(letters.filter(({ partition }) => !held.has(partition))))
    taken.push(await takeThrough(context, { ...group, seq: seq ?? group.seq }, copy))
  return {
    taken,
    left: letters.filter(({ partition }) => held.has(partition)).map(({ id }) => left(id, HELD)),
  }
}

/** Takes the letters of one group through the record path. */
async function takeThrough(
  { pipeline, source, target, patch }: LetterContext,
  { partition, seq, letters, surplus }: LetterGroup,
  copy: (batch: BatchToCopy) => Promise<EncodedBatch>,
): Promise<TakenLetters> {
  const mended = await mendLetters(pipeline, partition, letters, patch, source)
  const batch = new LettersBatch(mended.letters)
  const origin: LetterOrigin = {
    pipeline: pipeline.name,
    partition,
    unit: pipeline.source.unit,
    secrets: secretFields(pipeline),
  }
  const newColumns = tableColumns(pipeline, target)
  const path = recordPath(forLetters(pipeline), partition, () => undefined, newColumns)
  const encode = batchEncoder({ pipeline, origin, seq, turn: () => source.ports.clock.turn(), newColumns }, path)
  const encoded = await copy({ encoded: undefined, encode: (send) => encode(batch).encode(send) })
  const faults = new Map(encoded.letters.map((letter) => [letter.ordinal, letter]))
  const withRows = new Set(encoded.lineRecords)
  const rows = new Map<number, LetterResult>()
  const settled = [...mended.settled, ...surplus.map(({ id }) => left(id, SAME_PLACE))]
  for (const [i, { letter }] of mended.letters.entries()) {
    const fault = faults.get(letter.ordinal)
    const result: LetterResult = {
      id: letter.id,
      outcome: fault !== undefined ? "failed" : withRows.has(i) ? "loaded" : "filtered",
      reason: fault?.errorMessage,
      code: fault?.errorCode,
      record: mended.patched.get(letter.id),
    }
    if (result.outcome === "loaded") rows.set(letter.ordinal, result)
    else settled.push(result)
  }
  return { partition, rows, settled, judged: { key: partition, tally: encoded.tally } }
}

/** One record with a column nobody knows must not end the replay of all others. */
const forLetters = (pipeline: Pipeline): Pipeline =>
  pipeline.onNewColumn === "fail" ? { ...pipeline, onNewColumn: "deadLetter" } : pipeline
