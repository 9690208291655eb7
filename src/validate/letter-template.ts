import type { Batch, Fault } from "../core/records.ts"
import { makeLetter, type LetterOrigin } from "../dead-letters/letter.ts"
import { viewOf } from "../core/put-bytes.ts"
import { ID_DIGITS, LetterIds } from "./letter-ids.ts"
import { letterLine, type LetterFrame } from "./letter-line.ts"
import type { Faults } from "./short-way.ts"

/** Stands where a letter's own values go, while its line is taken apart. */
const MARK = "\u{f8f0}"

const ID_PREFIX = "dl_"
/** Behind the place of a record. */
const CLOSE = Buffer.from("}")
const LINE_END = Buffer.from("\n")

/** A letter's line but for what differs between letters with the same kinds of faults: the text before, between and behind that. */
export interface LetterTemplate {
  /** Those of the first such letter. */
  readonly faults: Faults
  readonly beforeMessage: Buffer
  readonly beforeRecord: Buffer
  readonly beforeId: Buffer
  /** Before the message of each fault; none where the letter does not list its faults. */
  readonly beforeMessages: readonly Buffer[]
  /** Line and offset are what differs in a source. */
  readonly beforeLine: Buffer
  readonly beforeRaw: Buffer
  /** With the line end. */
  readonly behind: Buffer
  /** Letters written. */
  count: number
}

/** All that a template depends on: what is in the faults, and in which order, but for their messages. */
export function kindOf(faults: Faults): string {
  let kind = ""
  for (const fault of faults) {
    for (const name in fault)
      kind += name === "message" ? "\0message" : `\0${name}\0${String(fault[name as keyof Fault])}`
    kind += "\0\0"
  }
  return kind
}

/**
 * Has `letterLine` write a letter with marks in it, and takes the line apart at them. Undefined where a letter is more than these
 * parts.
 */
export function letterTemplate(
  origin: LetterOrigin,
  frame: LetterFrame,
  { batch, i, faults }: { readonly batch: Batch; readonly i: number; readonly faults: Faults },
): LetterTemplate | undefined {
  const letter = makeLetter(origin, batch, i, faults)
  const { line = Number.NaN, offset } = batch.place(i)
  const before = `${JSON.stringify({ [origin.unit]: origin.partition }).slice(0, -1)},"line":`
  if (letter.source !== `${before}${line},"offset":${offset}}`) return undefined
  // The id has to be one that is made of line and bytes.
  const raw = viewOf(letter.raw)
  const digits = new LetterIds(origin).digits(line, raw, 0, raw.byteLength).slice(0, ID_DIGITS)
  if (letter.id !== ID_PREFIX + digits) return undefined
  const marked = letterLine(
    {
      ...letter,
      ...{ record: MARK, id: ID_PREFIX + MARK, source: MARK, raw: Buffer.from(MARK), errorMessage: MARK },
      faults: JSON.stringify(faults.map((fault) => ({ ...fault, message: MARK }))),
    },
    frame,
  )
  const [beforeMessage, beforeRecord, beforeId, ...others] = marked.split(MARK).map((part) => Buffer.from(part))
  const [beforeSource, beforeRaw, behind] = others.slice(-3)
  if (beforeMessage === undefined || beforeRecord === undefined || beforeId === undefined) return undefined
  if (beforeSource === undefined || beforeRaw === undefined || behind === undefined) return undefined
  const beforeMessages = others.slice(0, -3)
  if (beforeMessages.length !== 0 && beforeMessages.length !== faults.length) return undefined
  const beforeLine = Buffer.concat([beforeSource, Buffer.from(before)])
  return {
    ...{ faults, beforeMessage, beforeRecord, beforeId, beforeMessages, beforeLine },
    beforeRaw: Buffer.concat([CLOSE, beforeRaw]),
    behind: Buffer.concat([behind, LINE_END]),
    count: 0,
  }
}
