import type { SourceContext } from "../../core/contracts.ts"
import type { RecordObject } from "../../core/records.ts"
import { shown } from "../../core/shown.ts"
import { Discarded, type Patch } from "../../dead-letters/patch.ts"
import { storableJson } from "../../ledger/storable.ts"
import type { LetterResult, ReplayedLetter } from "../../ledger/replays.ts"
import type { Pipeline } from "../definition.ts"
import type { MendedLetter } from "./letters-batch.ts"

/** Letters as they are to go through the pipeline, and what became of those that are not to. */
export interface Mended {
  readonly letters: readonly MendedLetter[]
  readonly settled: readonly LetterResult[]
  /** Patched records as JSON text, by letter. */
  readonly patched: ReadonlyMap<string, string>
}

type Mending =
  | { readonly kind: "record"; readonly record: RecordObject }
  | { readonly kind: "raw"; readonly raw: Uint8Array }
  | { readonly kind: "settled"; readonly outcome: "left" | "discarded"; readonly reason: string }

/** Applies the patch to the letters of one partition, and decodes again what has no record. */
export async function mendLetters(
  pipeline: Pipeline,
  partition: string,
  letters: readonly ReplayedLetter[],
  patch: Patch | undefined,
  context: SourceContext,
): Promise<Mended> {
  const mended: MendedLetter[] = []
  const settled: LetterResult[] = []
  const patched = new Map<string, string>()
  const toDecode: { letter: ReplayedLetter; raw: Uint8Array }[] = []
  for (const letter of letters) {
    const mending = await mend(letter, patch)
    if (mending.kind === "settled") settled.push(resultOf(letter, mending.outcome, mending.reason))
    else if (mending.kind === "raw") toDecode.push({ letter, raw: mending.raw })
    else {
      mended.push({ letter, record: mending.record })
      if (patch !== undefined) patched.set(letter.id, storableJson(mending.record))
    }
  }
  if (toDecode.length > 0) {
    const raws = toDecode.map(({ raw }) => raw)
    const records = await pipeline.source.decodeRecords?.(partition, raws, context)
    for (const [i, { letter }] of toDecode.entries()) {
      const record = records?.[i]
      if (record === undefined) settled.push(resultOf(letter, "left", NOT_DECODABLE))
      else mended.push({ letter, record })
    }
  }
  return { letters: mended, settled, patched }
}

const NOT_DECODABLE =
  "it could not be decoded, and its source does not tell any more how: give the record with a patch (file.ts#fix)"

const resultOf = (letter: ReplayedLetter, outcome: LetterResult["outcome"], reason: string): LetterResult => ({
  id: letter.id,
  outcome,
  reason,
  code: undefined,
  record: undefined,
})

async function mend(letter: ReplayedLetter, patch: Patch | undefined): Promise<Mending> {
  const left = (reason: string): Mending => ({ kind: "settled", outcome: "left", reason })
  if (patch === undefined) {
    if (letter.cut) return left("it was too long to keep: only its head is there. Raise maxRecordBytes and run again")
    return letter.record === undefined ? { kind: "raw", raw: letter.raw } : { kind: "record", record: letter.record }
  }
  const { id, code, message, field, source } = letter
  let made: unknown
  try {
    const raw = new TextDecoder().decode(letter.raw)
    made = await patch.fix(structuredClone(letter.record), { id, raw, code, message, field, source })
  } catch (error) {
    return left(`the patch failed: ${error instanceof Error ? error.message : String(error)}`)
  }
  if (made === undefined) return left("the patch leaves it as it is")
  if (made instanceof Discarded) return { kind: "settled", outcome: "discarded", reason: made.reason }
  if (typeof made === "string") return { kind: "raw", raw: Buffer.from(made) }
  if (typeof made === "object" && made !== null && !Array.isArray(made))
    return { kind: "record", record: made as RecordObject }
  return left(`the patch gave ${shown(made)} instead of a record`)
}
