import { redact } from "../core/secrets.ts"
import { readSecretFields } from "../ledger/secret-fields.ts"
import type { Session } from "../postgres/session.ts"
import { keysOf, maskingOfLetter, hidesRaw } from "./described-letter.ts"
import { storedLine, type LetterAsText } from "./envelope.ts"
import { isMasked, masked, maskedMessage, type Masking } from "./masking.ts"

export interface LetterFilter {
  pipeline?: string | undefined
  code?: string | undefined
  /** Default: all. */
  status?: string | undefined
  /** Last seen at or after. */
  since?: Date | undefined
}

/** A letter as a line of JSON without its line end, and whether something in it was masked: it cannot be imported again then. */
export interface ExportedLetter {
  readonly line: string
  readonly masked: boolean
}

/** Letters fetched at a time. */
const PAGE = 1_000

interface ExportedRow extends LetterAsText {
  /** `first_seen` with its microseconds, which a Date has no room for. */
  cursor: string
  partition_key: string
  ordinal: string
}

/**
 * The letters as JSONL, oldest first; the first four keys are `ts, error_code, error_msg, record`. What is secret is masked: such a letter
 * says `"masked": true`, and its original text is left out.
 */
export async function* exportDeadLetters(
  session: Session,
  filter: LetterFilter,
  masking: Masking,
): AsyncIterable<ExportedLetter> {
  const secrets = await readSecretFields(session)
  let after: ExportedRow | undefined
  for (;;) {
    const { rows } = await session.query<ExportedRow>(
      `SELECT id, first_seen AS ts, first_seen::text AS cursor, partition_key, ordinal, fingerprint, pipeline_name, run_id, correlation_id, source::text,
              step, error_code, error_msg, rule, path, faults::text, record::text, raw, oversize::text, attempts, first_seen, last_seen, status, replay_of,
              schema_version
       FROM ops.dead_letters
       WHERE ($1::text IS NULL OR pipeline_name = $1) AND ($2::text IS NULL OR error_code = $2) AND ($3::text IS NULL OR status = $3)
         AND ($4::timestamptz IS NULL OR last_seen >= $4)
         AND ($5::timestamptz IS NULL OR (first_seen, partition_key, ordinal, id) > ($5, $6, $7, $8))
       ORDER BY first_seen, partition_key, ordinal, id LIMIT ${PAGE}`,
      [
        filter.pipeline ?? null,
        filter.code ?? null,
        filter.status ?? null,
        filter.since ?? null,
        after?.cursor ?? null,
        after?.partition_key ?? null,
        after?.ordinal ?? null,
        after?.id ?? null,
      ],
    )
    for (const row of rows) yield maskedLine(storedLine(row, secrets.get(row.pipeline_name)), masking)
    const last = rows.at(-1)
    if (last === undefined || rows.length < PAGE) return
    after = last
  }
}

interface ExportedFault {
  readonly path?: string
  readonly message?: string
}

interface Exported {
  readonly error_msg: string
  readonly path: string | null
  readonly record: unknown
  readonly raw: string
  /** Where it tells them in a list. */
  readonly faults?: readonly ExportedFault[]
}

/** The same line where nothing in it is kept from view; otherwise one without what is. */
function maskedLine(line: string, given: Masking): ExportedLetter {
  const letter = JSON.parse(line) as Exported & Record<string, unknown>
  const rule = maskingOfLetter(letter, given)
  const { record, raw } = letter
  const place = (path = ""): readonly PropertyKey[] => keysOf(record, path)
  const listed = letter.faults ?? [{ path: letter.path ?? "" }]
  const faults = letter.faults?.map((fault) => ({
    ...fault,
    ...(fault.message === undefined ? {} : { message: maskedMessage(fault.message, place(fault.path), rule) }),
  }))
  const hides = hidesRaw(letter, rule) || listed.some(({ path }) => isMasked(place(path), rule))
  const shown = {
    error_msg: maskedSummary(letter, faults ?? [], rule),
    record: masked(record, rule),
    ...(faults === undefined ? {} : { faults }),
    raw: hides ? null : masked(raw, rule),
  }
  const isSame = Object.entries(shown).every(([key, value]) => JSON.stringify(letter[key]) === JSON.stringify(value))
  return isSame
    ? { line, masked: false }
    : { line: JSON.stringify({ ...letter, ...shown, masked: true }), masked: true }
}

/** The message of all faults: of those that were masked, where one was. */
function maskedSummary(letter: Exported, faults: readonly ExportedFault[], rule: Masking): string {
  const { record, error_msg: message, path } = letter
  if (faults.length === 0) return maskedMessage(message, keysOf(record, path ?? ""), rule)
  const isSame = faults.every((fault, n) => fault.message === letter.faults?.[n]?.message)
  return isSame ? redact(message) : faults.map((fault) => fault.message ?? "").join("; ")
}
