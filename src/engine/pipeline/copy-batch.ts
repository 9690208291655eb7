import { SpillwayError } from "../../core/errors.ts"
import type { Fault } from "../../core/records.ts"
import { refusedCopyLine } from "../../postgres/errors.ts"
import type { Session } from "../../postgres/session.ts"
import { splitLines, type EncodedBatch } from "./encode-batch.ts"

/** A batch whose lines can be copied while they are encoded, once; from then on it is known whole. */
export interface BatchToCopy {
  encoded: EncodedBatch | undefined
  encode(send: (lines: Buffer) => void): Promise<EncodedBatch>
  /** Told once, when it is encoded and on its way: the server has some work before it. */
  readonly sent?: (encoded: EncodedBatch) => void
}

/**
 * Copies a batch inside the caller's transaction. The first time its lines go out while they are encoded. Records that the
 * database refuses come back as letters, and the rest goes in without them.
 */
export async function copyBatch(session: Session, sql: string, batch: BatchToCopy): Promise<EncodedBatch> {
  session.savepoint("batch")
  try {
    if (batch.encoded === undefined) await copyWhileEncoding(session, sql, batch)
    else if (batch.encoded.lines.length > 0) await session.copyIn(sql, batch.encoded.lines)
    return known(batch)
  } catch (error) {
    if (!isRefusal(error)) throw error
    await session.query("ROLLBACK TO SAVEPOINT batch")
  }
  const refused = await findRefused(session, sql, known(batch))
  const kept = known(batch).without(refused)
  if (kept.lines.length > 0) await session.copyIn(sql, kept.lines)
  return kept
}

async function copyWhileEncoding(session: Session, sql: string, batch: BatchToCopy): Promise<void> {
  const copy = await session.startCopy(sql)
  try {
    // Encoded to its end even when the server has refused a line or is gone: it happens only once.
    batch.encoded = await batch.encode((lines) => copy.write(lines))
  } catch (error) {
    await copy.abandon()
    throw error
  }
  const finished = copy.finish()
  batch.sent?.(batch.encoded)
  await finished
}

function known(batch: BatchToCopy): EncodedBatch {
  if (batch.encoded === undefined) throw new SpillwayError("UNKNOWN", "a batch was copied before it was encoded")
  return batch.encoded
}

const isRefusal = (error: unknown): error is SpillwayError =>
  error instanceof SpillwayError && error.code === "DB_CONSTRAINT"

/** Lines that are copied at once after one was refused; more as long as all goes well. */
const SMALLEST_PROBE = 16

/**
 * The records whose rows the database refuses, each found by the line that COPY names. Leaves nothing in staging. What is
 * copied again after each refusal grows with the distance between them, so that many of them do not cost their square.
 */
async function findRefused(session: Session, sql: string, batch: EncodedBatch): Promise<Map<number, Fault>> {
  const refused = new Map<number, Fault>()
  const lines = splitLines(batch.lines)
  session.savepoint("refusal")
  let from = 0
  let probe = lines.length
  while (from < lines.length) {
    try {
      await session.copyIn(sql, Buffer.concat(lines.slice(from, from + probe)))
      from += probe
      probe *= 2
    } catch (error) {
      if (!isRefusal(error)) throw error
      const line = refusedCopyLine(error)
      // Without a line nothing tells which record it is; the partition is held with the server's own words.
      if (line === undefined) throw error
      const at = from + line - 1
      const record = batch.lineRecords[at]
      if (record === undefined) throw error
      refused.set(record, refusal(error))
      from = at + 1
      probe = Math.max(SMALLEST_PROBE, 2 * line)
      await session.query("ROLLBACK TO SAVEPOINT refusal")
    }
  }
  await session.query("ROLLBACK TO SAVEPOINT refusal")
  return refused
}

function refusal(error: SpillwayError): Fault {
  const { constraint, sqlState } = error.context
  const column = error.context.column ?? /, column (.+?)(?::|$)/.exec(error.where ?? "")?.[1]
  const rule = [constraint, sqlState].find((name) => typeof name === "string")
  return {
    code: "DB_CONSTRAINT",
    step: "load",
    rule: rule ?? "refused",
    message: `the database refuses it: ${error.message}`,
    ...(typeof column === "string" ? { path: column } : {}),
  }
}
