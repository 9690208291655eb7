import { addLetters, type ImportedLetter } from "../ledger/dead-letter-rows.ts"
import { addSecretFields } from "../ledger/secret-fields.ts"
import { plainJson, storableJson, storablePrefix, storableText } from "../ledger/storable.ts"
import type { Session } from "../postgres/session.ts"
import { parsed } from "./json-skip.ts"
import { letterId } from "./letter.ts"
import { LETTER, LetterReader } from "./letter-facts.ts"
import { readLetterFiles, type LetterInput, type LetterPlace } from "./letter-files.ts"
import type { ObjectScan } from "./object-scan.ts"
import { tellsOnlyFault, toldFault } from "./only-fault.ts"
import type { UnreadLetter } from "./triage-report.ts"

export interface ImportOutcome {
  readonly read: number
  readonly added: number
  /** Letters that were there already, by their id. */
  readonly known: number
  /** The first few pieces of the input that are not letters, and how many there are. */
  readonly unread: readonly UnreadLetter[]
  readonly unreadCount: number
  /** Of all letters read, added or known. */
  readonly ids: readonly string[]
}

/** Letters written at a time: at most so many, and after so many bytes no more. */
const PORTION = 500
const PORTION_BYTES = 4 << 20
const UNREAD_SHOWN = 20

/**
 * Adds the letters of a file or folder to the database as letters of `pipeline`, in one transaction: with the status that they carry, otherwise as pending. Importing the same file again adds
 * nothing: a letter that Spillway did not write gets an id from pipeline, file, line and content. Throws `CONFIG` and `RESOURCE` as reading does.
 */
export function importLetters(
  session: Session,
  from: LetterInput & { readonly pipeline: string; readonly now: number },
): Promise<ImportOutcome> {
  return session.transaction(async () => {
    const unread = new Unread()
    let read = 0
    let added = 0
    const ids: string[] = []
    const secrets = new Set<string>()
    const reader = new LetterReader()
    const make: Make = (scan, place) => {
      for (const field of secretsOf(scan)) secrets.add(field)
      return letterOf(reader, scan, place, from)
    }
    for await (const letters of portionsOf(from, make, unread)) {
      read += letters.length
      ids.push(...letters.map((letter) => letter.id))
      added += await addLetters(session, letters)
    }
    await addSecretFields(session, from.pipeline, secrets)
    return { read, added, known: read - added, unread: unread.samples, unreadCount: unread.count, ids }
  })
}

type Make = (scan: ObjectScan, place: LetterPlace) => ImportedLetter

class Unread {
  count = 0
  readonly samples: UnreadLetter[] = []

  add(where: string, reason: string): void {
    this.count++
    if (this.samples.length < UNREAD_SHOWN) this.samples.push({ where, reason })
  }
}

/** Letters in portions, read as they are asked for. */
async function* portionsOf(input: LetterInput, make: Make, unread: Unread): AsyncIterable<ImportedLetter[]> {
  const full: ImportedLetter[][] = []
  let portion: ImportedLetter[] = []
  let bytes = 0
  const taker = {
    add(scan: ObjectScan, place: LetterPlace) {
      // Triage only counts what scanning finds; what is kept has to be JSON in full.
      if (parsed(scan.bytes.toString("utf8", scan.start, scan.end)) === undefined) {
        unread.add(`${place.file}:${place.line}`, "it is not JSON")
        return
      }
      if (scan.value(LETTER.masked) === true) {
        unread.add(`${place.file}:${place.line}`, "its secret fields are masked: export it with --reveal")
        return
      }
      portion.push(make(scan, place))
      bytes += scan.end - scan.start
      if (portion.length < PORTION && bytes < PORTION_BYTES) return
      full.push(portion)
      portion = []
      bytes = 0
    },
    cannotRead: (where: string, reason: string) => unread.add(where, reason),
  }
  for await (const _block of readLetterFiles(input, taker)) yield* full.splice(0)
  if (portion.length > 0) yield portion
}

function letterOf(
  reader: LetterReader,
  scan: ObjectScan,
  place: LetterPlace,
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
  return {
    // Whoever else numbers letters does so for one file.
    id: facts.id === "" || !scan.isText(LETTER.fingerprint) ? letterId(origin, ordinal, raw) : storableText(facts.id),
    fingerprint: storableText(facts.group),
    pipeline: from.pipeline,
    runId: storablePrefix(facts.run, LONGEST_NAME) || "imported",
    correlationId: storablePrefix(scan.text(LETTER.correlation_id) ?? "", LONGEST_NAME) || undefined,
    partition: storableText(partition),
    ordinal,
    source: storableJson(named),
    step: storableText(facts.step) || "validate",
    code: storableText(facts.code),
    message: storableText(facts.message),
    rule: storableText(first?.rule ?? "") || undefined,
    path: storableText(scan.text(LETTER.path) ?? first?.field ?? "") || undefined,
    faults: storableJson(faultsOf(scan)),
    record: recordOf(scan),
    raw,
    attempts: attemptsOf(scan),
    status: STATUSES.has(facts.status) ? facts.status : "pending",
    firstSeen: time,
    lastSeen: new Date(facts.lastSeen ?? facts.time ?? from.now).toISOString(),
    schemaVersion: storableText(scan.text(LETTER.schema_version) ?? "imported"),
  }
}

/** What a letter can be in the ledger. */
const STATUSES: ReadonlySet<string> = new Set(["pending", "replayed", "discarded", "poisoned", "superseded"])

/** Of run ids in the ledger. */
const LONGEST_NAME = 50

/** What may be a number that the database cannot hold. */
const BEYOND_NUMERIC = /\d{16000}|e[+-]?\d{4}/i

/** As it stands in the file, where the database can hold that: no digit of its numbers is lost. */
function recordOf(scan: ObjectScan): string | undefined {
  const record = scan.value(LETTER.record)
  if (record === undefined || record === null) return undefined
  const text = scan.bytes.toString("utf8", scan.from(LETTER.record), scan.to(LETTER.record))
  return plainJson(record) === undefined || BEYOND_NUMERIC.test(text) ? storableJson(record) : text
}

/** The only fault that a letter tells, or those that it lists, as far as they have our form. */
function faultsOf(scan: ObjectScan): unknown[] {
  if (tellsOnlyFault(scan, LETTER)) return [toldFault(scan, LETTER)]
  const faults = scan.value(LETTER.faults)
  const isText = (value: unknown): boolean => value === undefined || typeof value === "string"
  return (Array.isArray(faults) ? (faults as unknown[]) : []).filter((fault) => {
    if (typeof fault !== "object" || fault === null || Array.isArray(fault)) return false
    const { path, rule, expected, message } = fault as Record<string, unknown>
    return [path, rule, expected, message].every(isText)
  })
}

function secretsOf(scan: ObjectScan): string[] {
  const secrets = scan.value(LETTER.secrets)
  return Array.isArray(secrets) ? secrets.filter((field) => typeof field === "string").map(storableText) : []
}

function attemptsOf(scan: ObjectScan): number {
  const attempts = scan.value(LETTER.attempts)
  return typeof attempts === "number" && Number.isInteger(attempts) && attempts > 0 && attempts < 2 ** 31 ? attempts : 1
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
