import { isUtf8 } from "node:buffer"
import type { StoredLetter } from "../ledger/dead-letter-rows.ts"
import { onlyFault, type LetterError } from "./only-fault.ts"

/** What a letter's line of JSON says. `record`, `faults`, `source` and `oversize` are JSON text; times are ISO, UTC. */
export interface EnvelopeParts {
  readonly id: string
  readonly fingerprint: string
  readonly errorCode: string
  readonly errorMessage: string
  readonly record: string | undefined
  readonly pipeline: string
  readonly runId: string
  readonly correlationId: string | undefined
  readonly step: string
  readonly rule: string | undefined
  readonly path: string | undefined
  readonly faults: string
  readonly source: string
  readonly raw: Uint8Array
  readonly oversize: string | undefined
  readonly attempts: number
  readonly firstSeen: string
  readonly lastSeen: string
  readonly status: string
  readonly replayOf: string | undefined
  readonly schemaVersion: string
  /** Fields that whoever shows the letter masks. */
  readonly secrets: readonly string[]
}

const text = (value: string | undefined): string => (value === undefined ? "null" : JSON.stringify(value))

/**
 * A letter as a line of JSON without its line end: the one form of files and exports. The first four keys are `ts, error_code, error_msg,
 * record`; `raw` is base64, named by `raw_encoding`, where its bytes are not UTF-8. `faults` is there where they are several: the only one
 * repeats what the letter says already, but for `expected` and `actual_type`.
 */
export function envelopeLine(letter: EnvelopeParts): string {
  const raw = Buffer.from(letter.raw.buffer, letter.raw.byteOffset, letter.raw.byteLength)
  const readable = isUtf8(raw)
  const firstSeen = text(letter.firstSeen)
  return (
    `{"ts":${firstSeen},"error_code":${text(letter.errorCode)},"error_msg":${text(letter.errorMessage)},"record":${letter.record ?? "null"},` +
    `"id":${text(letter.id)},"fingerprint":${text(letter.fingerprint)},"pipeline_name":${text(letter.pipeline)},"run_id":${text(letter.runId)},` +
    `"correlation_id":${text(letter.correlationId)},"step":${text(letter.step)},"rule":${text(letter.rule)},"path":${text(letter.path)},` +
    faultsText(letter.faults, letter) +
    `"source":${letter.source},"raw":${text(raw.toString(readable ? "utf8" : "base64"))},` +
    (readable ? "" : '"raw_encoding":"base64",') +
    (letter.oversize === undefined ? "" : `"oversize":${letter.oversize},`) +
    `"attempts":${letter.attempts},"first_seen":${firstSeen},"last_seen":${text(letter.lastSeen)},"status":${text(letter.status)},` +
    `"replay_of":${text(letter.replayOf)},"schema_version":${text(letter.schemaVersion)}` +
    (letter.secrets.length === 0 ? "}" : `,"secrets":${JSON.stringify(letter.secrets)}}`)
  )
}

/** What the faults add to the rest of a letter, as members with a comma behind each. */
function faultsText(faults: string, letter: LetterError): string {
  const only = onlyFault(faults, letter)
  if (only === undefined) return `"faults":${faults},`
  const { expected, actualType } = only
  return (
    (expected === undefined ? "" : `"expected":${text(expected)},`) +
    (actualType === undefined ? "" : `"actual_type":${text(actualType)},`)
  )
}

/** A letter of the ledger whose JSON columns were read as text: no digit of their numbers is lost. */
export interface LetterAsText extends Omit<
  StoredLetter,
  "record" | "faults" | "source" | "oversize" | "status_reason"
> {
  record: string | null
  faults: string
  source: string
  oversize: string | null
}

/** A letter of the ledger as a line. */
export const storedLine = (letter: LetterAsText, secrets: readonly string[] = []): string =>
  envelopeLine({
    id: letter.id,
    fingerprint: letter.fingerprint,
    errorCode: letter.error_code,
    errorMessage: letter.error_msg,
    record: letter.record ?? undefined,
    pipeline: letter.pipeline_name,
    runId: letter.run_id,
    correlationId: letter.correlation_id ?? undefined,
    step: letter.step,
    rule: letter.rule ?? undefined,
    path: letter.path ?? undefined,
    faults: letter.faults,
    source: letter.source,
    raw: letter.raw,
    oversize: letter.oversize ?? undefined,
    attempts: letter.attempts,
    firstSeen: letter.first_seen.toISOString(),
    lastSeen: letter.last_seen.toISOString(),
    status: letter.status,
    replayOf: letter.replay_of ?? undefined,
    schemaVersion: letter.schema_version,
    secrets,
  })

/** A letter of the ledger as the object that its line says. */
export function envelope(letter: StoredLetter, secrets?: readonly string[]): Record<string, unknown> {
  const { record, oversize } = letter
  const asText: LetterAsText = {
    ...letter,
    record: record === null || record === undefined ? null : JSON.stringify(record),
    faults: JSON.stringify(letter.faults),
    source: JSON.stringify(letter.source),
    oversize: oversize === null || oversize === undefined ? null : JSON.stringify(oversize),
  }
  return JSON.parse(storedLine(asText, secrets)) as Record<string, unknown>
}
