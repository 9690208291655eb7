import { SpillwayError } from "../../core/errors.ts"
import type { Batch, Fault, RecordObject } from "../../core/records.ts"
import { makeLetter, type LetterOrigin } from "../../dead-letters/letter.ts"
import type { StagedLetter } from "../../ledger/dead-letters.ts"
import { addNumbers, zeroTally, type Tally } from "../../ledger/progress.ts"
import { rowEncoder } from "../../schema/encode.ts"
import type { Pipeline } from "../definition.ts"
import { between, TAB } from "./copy-bytes.ts"
import { CopyText } from "./copy-text.ts"
import { fastRows, type FastRows } from "./fast-rows.ts"
import type { NewColumns } from "./new-columns.ts"
import { Expanded, FILTERED, Rejected, type Outcome, type RecordPath } from "./record-path.ts"

/** `_seq` is the partition's number times this, plus the position; a partition has room for as many positions. */
export const SEQ_STRIDE = 2 ** 32

/** PostgreSQL refuses index rows above 2704 bytes (a third of a page); this leaves room for their header. */
const MAX_KEY_BYTES = 2600

/** A batch ready to be staged. */
export interface EncodedBatch {
  /** COPY text lines, each with its line end. */
  readonly lines: Buffer
  /** The record each line came from. */
  readonly lineRecords: readonly number[]
  readonly letters: readonly StagedLetter[]
  readonly tally: Tally
  /** Takes records that the database refused out of lines and into letters. */
  without(refused: ReadonlyMap<number, Fault>): EncodedBatch
}

/** After so many records their lines are handed on, and input and output go on: the database takes them while the next are read. */
const RECORDS_PER_TURN = 250

export interface EncodeContext {
  readonly pipeline: Pipeline
  readonly origin: LetterOrigin
  readonly seq: number
  /** Lets input and output go on. */
  readonly turn: () => Promise<void>
  /** Columns behind those of the schema; undefined where it takes none. */
  readonly newColumns?: NewColumns | undefined
}

const NO_VALUES: RecordObject = Object.freeze(Object.create(null) as RecordObject)

const escapeCopy = (text: string): string =>
  text.replace(/[\\\t\n\r]/g, (c) => (c === "\\" ? "\\\\" : c === "\t" ? "\\t" : c === "\n" ? "\\n" : "\\r"))

/** A batch on its way to COPY text. */
export interface BatchEncoding {
  /** What stands between the fields of its lines. */
  readonly delimiter: string
  /** Once: takes the records through the record path and encodes what is to be loaded; `send` gets the lines as they come. */
  encode(send: (lines: Buffer) => void): Promise<EncodedBatch>
}

/** Encodes a batch. The lines are there until the next batch is encoded. */
export type BatchEncoder = (batch: Batch) => BatchEncoding

/** Makes the encoder for the batches of one partition. */
export function batchEncoder(context: EncodeContext, path: RecordPath): BatchEncoder {
  const { pipeline, origin } = context
  const columns = pipeline.output.columns ?? []
  const encode = rowEncoder(columns)
  const append = pipeline.sink.mode === "append"
  const keyFault = keySizeCheck(pipeline.sink.key)
  const head = `\t${escapeCopy(origin.partition)}\t`
  const seqOf = sequence(context.seq)
  // One batch is staged before the next is encoded, so they can take turns in the same memory.
  let memory: Buffer | undefined

  const encodeBatch = async (
    batch: Batch,
    rows: FastRows | undefined,
    delimiter: number,
    send: (lines: Buffer) => void,
  ): Promise<EncodedBatch> => {
    const text = new CopyText(memory)
    const added = context.newColumns?.columns ?? []
    const encodeNew = added.length === 0 ? undefined : rowEncoder(added)
    const lineRecords: number[] = []
    const letters: StagedLetter[] = []
    const tally = zeroTally()

    const setAside = (i: number, faults: readonly [Fault, ...Fault[]]): void => {
      letters.push(makeLetter(origin, batch, i, faults))
      tally.deadLettered++
      tally.codes[faults[0].code] = (tally.codes[faults[0].code] ?? 0) + 1
    }

    const addLine = (i: number, item: number, record: RecordObject): Fault | undefined => {
      const row = encode(record)
      if (typeof row !== "string") return row
      const tooLong = keyFault(record)
      if (tooLong !== undefined) return tooLong
      const more = encodeNew?.(path.newValues() ?? NO_VALUES)
      if (typeof more === "object") return more
      const ordinal = batch.ordinal(i)
      const line = (more === undefined ? row : `${row}\t${more}`) + head + ordinal + (append ? `\t${item}\t` : "\t")
      text.add(between(`${line}${seqOf(ordinal)}\n`, delimiter))
      lineRecords.push(i)
      return undefined
    }

    const settle = (i: number, outcome: Outcome): void => {
      if (outcome === FILTERED) {
        tally.filtered++
        return
      }
      if (outcome instanceof Rejected) {
        setAside(i, outcome.faults)
        return
      }
      const before = lineRecords.length
      if (outcome instanceof Expanded) {
        for (const [item, record] of outcome.records.entries()) {
          const fault = addLine(i, item, record)
          if (fault === undefined) continue
          text.takeBack(lineRecords.length - before)
          lineRecords.length = before
          setAside(i, [fault])
          return
        }
      } else {
        const fault = addLine(i, 0, outcome)
        if (fault !== undefined) {
          setAside(i, [fault])
          return
        }
      }
      const added = lineRecords.length - before
      tally.staged += added
      tally.expanded += added - 1
    }

    for (let i = 0; i < batch.length; i++) {
      if (i % RECORDS_PER_TURN === RECORDS_PER_TURN - 1) {
        text.sendTo(send)
        await context.turn()
      }
      if (rows?.write(i, text) === true) {
        lineRecords.push(i)
        tally.staged++
        continue
      }
      const outcome = path.process(batch, i)
      settle(i, outcome instanceof Promise ? await outcome : outcome)
    }
    text.sendTo(send)
    memory = text.memory
    tally.read = batch.length
    tally.nulls = addNumbers(path.takeNulls(), rows?.nulls() ?? {})
    return encoded({ lines: text.text(), lineRecords, letters, tally }, (i, fault) =>
      makeLetter(origin, batch, i, [fault]),
    )
  }

  return (batch) => {
    const rows = fastRows(pipeline, batch, path, { head, append, seqOf, newColumns: context.newColumns })
    const delimiter = rows?.delimiter ?? TAB
    return {
      delimiter: String.fromCharCode(delimiter),
      encode: (send) => encodeBatch(batch, rows, delimiter, send),
    }
  }
}

function encoded(
  parts: Omit<EncodedBatch, "without">,
  letterOf: (record: number, fault: Fault) => StagedLetter,
): EncodedBatch {
  return {
    ...parts,
    without(refused) {
      const lines = Buffer.concat(
        splitLines(parts.lines).filter((_line, n) => !refused.has(parts.lineRecords[n] ?? -1)),
      )
      const lineRecords = parts.lineRecords.filter((record) => !refused.has(record))
      const tally: Tally = { ...parts.tally, codes: { ...parts.tally.codes } }
      const gone = parts.lineRecords.length - lineRecords.length
      tally.staged -= gone
      tally.expanded -= gone - refused.size
      tally.deadLettered += refused.size
      for (const fault of refused.values()) tally.codes[fault.code] = (tally.codes[fault.code] ?? 0) + 1
      const letters = [...parts.letters, ...[...refused].map(([record, fault]) => letterOf(record, fault))]
      return encoded({ lines, lineRecords, letters, tally }, letterOf)
    },
  }
}

/** The lines of COPY text, each with its line end: newlines in values are escaped, so every line feed ends one. */
export function splitLines(text: Buffer): Buffer[] {
  const lines: Buffer[] = []
  for (let from = 0; from < text.length;) {
    const end = text.indexOf(0x0a, from) + 1
    lines.push(text.subarray(from, end))
    from = end
  }
  return lines
}

/** `_seq` as decimal text; BigInt only where a double would not hold it. */
function sequence(partitionNumber: number): (ordinal: number) => string | number {
  const base = partitionNumber * SEQ_STRIDE
  const big = BigInt(partitionNumber) * BigInt(SEQ_STRIDE)
  const safe = base + SEQ_STRIDE < Number.MAX_SAFE_INTEGER
  return (ordinal) => {
    if (ordinal >= SEQ_STRIDE)
      throw new SpillwayError("RESOURCE", `a partition has more than ${SEQ_STRIDE} positions`, {
        hint: "split the file",
      })
    return safe ? base + ordinal : (big + BigInt(ordinal)).toString()
  }
}

function keySizeCheck(key: readonly string[]): (record: RecordObject) => Fault | undefined {
  return (record) => {
    let bytes = 0
    for (const property of key) {
      const value = record[property]
      // Three bytes is the most that one UTF-16 unit takes in UTF-8: only long keys are measured exactly.
      if (typeof value === "string") bytes += value.length * 3 > MAX_KEY_BYTES ? Buffer.byteLength(value) : value.length
    }
    if (bytes <= MAX_KEY_BYTES) return undefined
    return {
      code: "DB_CONSTRAINT",
      step: "load",
      rule: "key_size",
      path: key.join(","),
      expected: `at most ${MAX_KEY_BYTES} bytes`,
      message: `${key.join(", ")}: expected a key of at most ${MAX_KEY_BYTES} bytes, got ${bytes}`,
    }
  }
}
