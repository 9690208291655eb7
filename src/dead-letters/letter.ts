import { hash } from "node:crypto"
import { DecodeFault, type Batch, type Fault, type RecordObject } from "../core/records.ts"
import { withoutSecrets, type SecretFields } from "../core/secret-fields.ts"
import type { StagedLetter } from "../ledger/dead-letters.ts"
import { plainJson, storableJson, storableText } from "../ledger/storable.ts"

/** Where letters of a partition come from. */
export interface LetterOrigin {
  readonly pipeline: string
  /** The partition's key. */
  readonly partition: string
  /** What the partition is, as the letter's `source` names it. */
  readonly unit: "file" | "url" | "topic" | "query"
  /** Fields whose values no message of a letter tells. Default: none. */
  readonly secrets?: SecretFields
}

const NO_SECRETS: SecretFields = new Set()

const sha256 = (data: string | Uint8Array): string => hash("sha256", data)

/**
 * Groups letters that have the same cause: `v1:` and 16 hex digits of SHA-256 over pipeline, step, code, rule, path with
 * array indices as `[]`, expected, actual type. A normalised message only where there is no rule. No record values.
 */
export function fingerprint(pipeline: string, fault: Fault): string {
  const cause = fault.rule ?? normalised(fault.message)
  const path = (fault.path ?? "").replace(/\[\d+\]/g, "[]")
  const parts = [pipeline, fault.step, fault.code, cause, path, fault.expected ?? "", fault.actualType ?? ""]
  const text = JSON.stringify(parts)
  const known = fingerprints.get(text)
  if (known !== undefined) return known
  const made = `v1:${sha256(text).slice(0, 16)}`
  if (fingerprints.size >= FINGERPRINTS_KEPT) fingerprints.clear()
  fingerprints.set(text, made)
  return made
}

/** Few causes make most letters: their hashes are kept. */
const fingerprints = new Map<string, string>()
const FINGERPRINTS_KEPT = 1_000

/** A message without what varies from record to record: quoted text, numbers, long hexadecimal. */
const normalised = (message: string): string =>
  message
    .replace(/"(?:[^"\\]|\\.)*"|'[^']*'/g, "?")
    .replace(/\b[0-9a-f]{8,}\b/gi, "?")
    .replace(/[+-]?\d+(?:\.\d+)?/g, "?")

/**
 * Derived, so that reading the same record again gives the same letter: SHA-256 over pipeline, source and position as a JSON array
 * and, right behind it, the record's bytes or the hexadecimal hash of a record that is too long to keep.
 */
export function letterId(
  origin: Pick<LetterOrigin, "pipeline" | "partition">,
  ordinal: number,
  record: string | Uint8Array,
): string {
  const place = JSON.stringify([origin.pipeline, origin.partition, ordinal])
  const told = typeof record === "string" ? place + record : Buffer.concat([Buffer.from(place), record])
  return `dl_${sha256(told).slice(0, 32)}`
}

/** The letter of record `i` of a batch, with everything that is wrong with it. */
export function makeLetter(
  origin: LetterOrigin,
  batch: Batch,
  i: number,
  faults: readonly [Fault, ...Fault[]],
): StagedLetter {
  const raw = batch.raw(i)
  const decoded = batch.record(i)
  const oversize = decoded instanceof DecodeFault ? decoded.oversize : undefined
  const [first] = faults
  const record = decoded instanceof DecodeFault ? undefined : decoded
  const told = faults.map((fault) => withoutSecrets(fault, record, origin.secrets ?? NO_SECRETS))
  const ordinal = batch.ordinal(i)
  return {
    id: letterId(origin, ordinal, oversize?.sha256 ?? raw),
    fingerprint: fingerprint(origin.pipeline, first),
    ordinal,
    source: JSON.stringify({ [origin.unit]: origin.partition, ...batch.place(i) }),
    step: first.step,
    errorCode: first.code,
    errorMessage: storableText(told.map((fault) => fault.message).join("; ")),
    rule: first.rule,
    path: first.path,
    faults: storableJson(told),
    record: record === undefined ? undefined : recordJson(record),
    raw,
    oversize: oversize === undefined ? undefined : JSON.stringify(oversize),
  }
}

/** PostgreSQL's text and jsonb cannot hold NUL or half a surrogate pair; where either occurs, only `raw` keeps the record. */
function recordJson(record: RecordObject): string | undefined {
  const plain = plainJson(record)
  if (plain !== undefined) return plain
  const text = JSON.stringify(record, (_key, value: unknown) => (typeof value === "bigint" ? value.toString() : value))
  return /\\u0000|\\ud[89a-f]/i.test(text) ? undefined : text
}
