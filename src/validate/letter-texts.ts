import type { Batch } from "../core/records.ts"
import type { LetterOrigin } from "../dead-letters/letter.ts"
import { ID_DIGITS } from "./letter-ids.ts"
import type { LetterFrame } from "./letter-line.ts"
import type { LetterParts } from "./letter-lines.ts"
import { kindOf, letterTemplate, type LetterTemplate } from "./letter-template.ts"
import type { Faults } from "./short-way.ts"
import type { FaultTally } from "./tally.ts"

/** What JSON writes for characters that a text of PostgreSQL may be unable to hold. */
const ESCAPED_BY_NUMBER = "\\u"
/** Kinds of faults, and faults that come again, that are worth keeping. */
const KINDS_KEPT = 100
const FAULTS_KEPT = 5_000
/** How long a letter's time stands for the time of those after it. */
const TIME_KEPT_MS = 1_000

/** What letters with equal faults have in common; the messages are in there. */
export interface LetterText extends LetterParts {
  readonly template: LetterTemplate
}

/** The texts that letters of one input are made of. */
export class LetterTexts {
  readonly #origin: LetterOrigin
  #frame: LetterFrame
  readonly #tally: FaultTally
  #since = -Infinity
  /** By the kinds of faults. */
  readonly #templates = new Map<string, LetterTemplate | undefined>()
  /** By faults that come again. */
  readonly #known = new Map<object, LetterText | undefined>()

  constructor(origin: LetterOrigin, frame: Omit<LetterFrame, "time">, tally: FaultTally) {
    this.#origin = origin
    this.#frame = { ...frame, time: "" }
    this.#tally = tally
  }

  get frame(): LetterFrame {
    return this.#frame
  }

  /** What follows is looked at at `now`, milliseconds since the epoch. */
  begin(now: number): void {
    if (Math.abs(now - this.#since) < TIME_KEPT_MS && this.#known.size < FAULTS_KEPT) return
    this.#since = now
    this.#frame = { ...this.#frame, time: new Date(now).toISOString() }
    this.#templates.clear()
    this.#known.clear()
  }

  /** Of faults that come again, as the same object `key`; undefined when the letter has to be written in the long way. */
  known(batch: Batch, i: number, faults: Faults, key: object): LetterText | undefined {
    const known = this.#known.get(key)
    if (known !== undefined || this.#known.has(key)) return known
    const made = this.of(batch, i, faults)
    this.#known.set(key, made)
    return made
  }

  /** Undefined when the letter has to be written in the long way. */
  of(batch: Batch, i: number, faults: Faults): LetterText | undefined {
    // What a fault without a rule has in common with others depends on its message; what is told of secrets, on the record.
    if (faults[0].rule === undefined || (this.#origin.secrets?.size ?? 0) > 0) return undefined
    const messages = faults.map(({ message }) => JSON.stringify(message).slice(1, -1))
    if (messages.some((message) => message.includes(ESCAPED_BY_NUMBER))) return undefined
    const template = this.#templateOf(batch, i, faults)
    if (template === undefined) return undefined
    const told = messages.map((message) => Buffer.from(message))
    const { beforeMessage, beforeMessages } = template
    const between = beforeMessages.flatMap((before, n) => [before, told[n] as Buffer])
    return {
      template,
      ...{ beforeRaw: template.beforeRaw, behind: template.behind, idAt: template.beforeId.length },
      beforeRecord: Buffer.concat([beforeMessage, Buffer.from(messages.join("; ")), template.beforeRecord]),
      beforeLine: Buffer.concat([template.beforeId, Buffer.alloc(ID_DIGITS), ...between, template.beforeLine]),
    }
  }

  /** Counts a letter with this text. */
  count({ template }: LetterText): void {
    // What was seen first is told first, of faults that are as frequent.
    if (template.count++ === 0) this.#tally.add(template.faults)
  }

  /** Gives the letters counted since the last time. */
  settle(): number {
    let letters = 0
    for (const template of this.#templates.values()) {
      if (template === undefined || template.count === 0) continue
      letters += template.count
      if (template.count > 1) this.#tally.add(template.faults, template.count - 1)
      template.count = 0
    }
    return letters
  }

  #templateOf(batch: Batch, i: number, faults: Faults): LetterTemplate | undefined {
    const kind = kindOf(faults)
    const known = this.#templates.get(kind)
    if (known !== undefined || this.#templates.size >= KINDS_KEPT || this.#templates.has(kind)) return known
    const made = letterTemplate(this.#origin, this.#frame, { batch, i, faults })
    this.#templates.set(kind, made)
    return made
  }
}
