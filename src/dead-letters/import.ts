import { hash } from "node:crypto"
import { addLetters, type ImportedLetter } from "../ledger/dead-letter-rows.ts"
import { storableJson, storableText } from "../ledger/storable.ts"
import type { Session } from "../postgres/session.ts"
import { letterId } from "./letter.ts"
import { LETTER, LetterReader } from "./letter-facts.ts"
import { readLetterFiles, type LetterInput } from "./letter-files.ts"
import type { ObjectScan } from "./object-scan.ts"
import type { UnreadLetter } from "./triage-report.ts"

export interface ImportOutcome {
  readonly read: number
  readonly added: number
  /** Letters that were there already, by their id. */
  readonly known: number
  readonly unread: readonly UnreadLetter[]
  /** Of all letters read, added or known. */
  readonly ids: readonly string[]
}

/** Letters written at a time. */
const PORTION = 500

/**
 * Adds the letters of a file or folder to the database as letters of `pipeline`, in one transaction: with the status that they carry, otherwise as pending. Importing the same file again adds
 * nothing: a letter without an id gets one from pipeline, file, line and content. Throws `CONFIG` and `RESOURCE` as reading does.
 */
export function importLetters(
  session: Session,
  from: LetterInput & { readonly pipeline: string; readonly now: number },
): Promise<ImportOutcome> {
  return session.transaction(async () => {
    const unread: UnreadLetter[] = []
    let read = 0
    let added = 0
    const ids: string[] = []
    const reader = new LetterReader()
    for await (const letters of portionsOf(from, (scan, place) => letterOf(reader, scan, place, from), unread)) {
      read += letters.length
      ids.push(...letters.map((letter) => letter.id))
      added += await addLetters(session, letters)
    }
    return { read, added, known: read - added, unread, ids }
  })
}

type Make = (scan: ObjectScan, place: { file: string; line: number }) => ImportedLetter

/** Letters in portions, read as they are asked for. */
async function* portionsOf(input: LetterInput, make: Make, unread: UnreadLetter[]): AsyncIterable<ImportedLetter[]> {
  const portion: ImportedLetter[] = []
  const taker = {
    add: (scan: ObjectScan, place: { file: string; line: number }) => void portion.push(make(scan, place)),
    cannotRead: (where: string, reason: string) => void unread.push({ where, reason }),
  }
  for await (const _block of readLetterFiles(input, taker))
    while (portion.length >= PORTION) yield portion.splice(0, PORTION)
  if (portion.length > 0) yield portion
}

function letterOf(
  reader: LetterReader,
  scan: ObjectScan,
  place: { readonly file: string; readonly line: number },
  from: { readonly pipeline: string; readonly now: number },
): ImportedLetter {
  const facts = reader.facts(scan)
  const raw = rawOf(scan)
  const source = scan.value(LETTER.source)
  const named = typeof source === "object" && source !== null ? source : { file: place.file, line: place.line }
  const partition = facts.source === "" ? place.file : facts.source
  const ordinal = lineOf(source) ?? place.line
  const origin = { pipeline: from.pipeline, partition, unit: "file" } as const
  const time = new Date(facts.time ?? from.now).toISOString()
  const [first] = facts.faults
  const faults = scan.value(LETTER.faults)
  return {
    id: facts.id === "" ? letterId(origin, ordinal, hash("sha256", raw)) : storableText(facts.id),
    fingerprint: storableText(facts.group),
    pipeline: from.pipeline,
    runId: facts.run.slice(0, LONGEST_NAME) || "imported",
    correlationId: undefined,
    partition: storableText(partition),
    ordinal,
    source: storableJson(named),
    step: storableText(facts.step) || "validate",
    code: storableText(facts.code),
    message: storableText(facts.message),
    rule: storableText(first?.rule ?? "") || undefined,
    path: storableText(scan.text(LETTER.path) ?? first?.field ?? "") || undefined,
    faults: storableJson(Array.isArray(faults) ? faults : []),
    record: recordOf(scan),
    raw,
    attempts: 1,
    status: STATUSES.has(facts.status) ? facts.status : "pending",
    firstSeen: time,
    lastSeen: new Date(facts.lastSeen ?? facts.time ?? from.now).toISOString(),
    schemaVersion: "imported",
  }
}

/** What a letter can be in the ledger. */
const STATUSES: ReadonlySet<string> = new Set(["pending", "replayed", "discarded", "poisoned", "superseded"])

/** Of run ids in the ledger. */
const LONGEST_NAME = 50

const recordOf = (scan: ObjectScan): string | undefined => {
  const record = scan.value(LETTER.record)
  return record === undefined || record === null ? undefined : storableJson(record)
}

/** The original bytes; where the letter carries none, its record. */
function rawOf(scan: ObjectScan): Buffer {
  const raw = scan.text(LETTER.raw)
  if (raw !== undefined) return Buffer.from(raw, scan.text(LETTER.raw_encoding) === "base64" ? "base64" : "utf8")
  const from = scan.from(LETTER.record)
  return from < 0 ? Buffer.alloc(0) : Buffer.from(scan.bytes.subarray(from, scan.to(LETTER.record)))
}

function lineOf(source: unknown): number | undefined {
  if (typeof source !== "object" || source === null) return undefined
  const { line, offset } = source as { line?: unknown; offset?: unknown }
  return [line, offset].find((value): value is number => Number.isSafeInteger(value))
}
