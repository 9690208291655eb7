import { isUtf8 } from "node:buffer"
import type { StagedLetter } from "../ledger/dead-letters.ts"

/** What all letters of one validation have in common. */
export interface LetterFrame {
  readonly pipeline: string
  readonly runId: string
  /** When the records were looked at: ISO, UTC. */
  readonly time: string
  readonly schemaVersion: string
}

const text = (value: string | undefined): string => (value === undefined ? "null" : JSON.stringify(value))

/** A letter as a line of JSON without its line end, with the keys that an export of the dead letters has, in the same order. */
export function letterLine(letter: StagedLetter, frame: LetterFrame): string {
  const raw = Buffer.from(letter.raw.buffer, letter.raw.byteOffset, letter.raw.byteLength)
  const readable = isUtf8(raw)
  const time = text(frame.time)
  return (
    `{"ts":${time},"error_code":${text(letter.errorCode)},"error_msg":${text(letter.errorMessage)},"record":${letter.record ?? "null"},` +
    `"id":${text(letter.id)},"fingerprint":${text(letter.fingerprint)},"pipeline_name":${text(frame.pipeline)},"run_id":${text(frame.runId)},` +
    `"correlation_id":null,"step":${text(letter.step)},"rule":${text(letter.rule)},"path":${text(letter.path)},"faults":${letter.faults},` +
    `"source":${letter.source},"raw":${text(raw.toString(readable ? "utf8" : "base64"))},` +
    (readable ? "" : '"raw_encoding":"base64",') +
    (letter.oversize === undefined ? "" : `"oversize":${letter.oversize},`) +
    `"attempts":1,"first_seen":${time},"last_seen":${time},"status":"pending","replay_of":null,"schema_version":${text(frame.schemaVersion)}}`
  )
}
