import { CopyText } from "../engine/pipeline/copy-text.ts"
import { LetterFiller } from "./letter-filler.ts"
import type { LetterLines, LetterParts, LettersOfBatch, LetterSource, RecordForm } from "./letter-lines.ts"
import { ORDER, WHOLE, type LetterPack } from "./letter-parcel.ts"
import type { LetterThread } from "./letter-thread.ts"

/** Bytes of lines and parts that are worth a parcel. */
const FULL = 1 << 20
const FIRST_ORDERS = 1 << 12
const NOTHING: LetterSource = {
  ...{ columns: [], bytes: Buffer.alloc(0) },
  ...{ starts: new Uint32Array(), ends: new Uint32Array() },
}

/** Packs letters for the thread that puts them together. */
export class LetterPacker implements LetterLines {
  readonly #thread: LetterThread
  #batch: LettersOfBatch | undefined
  #orders = new Float64Array(FIRST_ORDERS * ORDER)
  #length = 0
  #parts: number[] = []
  readonly #numbers = new Map<LetterParts, number>()
  #latest: LetterParts | undefined
  #latestNumber = 0
  #texts = new CopyText()
  readonly #filler = new LetterFiller()

  constructor(thread: LetterThread) {
    this.#thread = thread
  }

  begin(batch: LettersOfBatch): void {
    this.#batch = batch
    this.#filler.begin(batch)
  }

  fill(parts: LetterParts, form: RecordForm, i: number, to: number, line: number, offset: number): void {
    if (parts !== this.#latest) {
      this.#latestNumber = this.#numberOf(parts)
      this.#latest = parts
    }
    this.#room()
    const orders = this.#orders
    let at = this.#length
    orders[at++] = this.#latestNumber
    orders[at++] = form
    orders[at++] = i
    orders[at++] = to
    orders[at++] = line
    orders[at++] = offset
    this.#length = at
  }

  /** To send its parts would take as long as to put it together. */
  fillOnce(parts: LetterParts, form: RecordForm, i: number, to: number, line: number, offset: number): void {
    const before = this.#texts.length
    this.#filler.fill(this.#texts, parts, form, i, to, line, offset)
    this.#whole(before)
  }

  add(line: string): void {
    const before = this.#texts.length
    this.#texts.add(line)
    this.#whole(before)
  }

  readonly isElsewhere = true

  get isFull(): boolean {
    return this.#texts.length >= FULL
  }

  async send(): Promise<void> {
    if (this.#batch === undefined || this.#length === 0) return
    const { origin, source } = this.#batch
    const pack: LetterPack = {
      orders: this.#orders.subarray(0, this.#length),
      parts: Uint32Array.from(this.#parts),
      source: source === undefined || this.#numbers.size === 0 ? NOTHING : source,
      texts: this.#texts.text(),
    }
    await this.#thread.take(origin, pack)
    this.#length = 0
    this.#parts = []
    this.#numbers.clear()
    this.#latest = undefined
    this.#texts = new CopyText(this.#texts.memory)
  }

  #numberOf(parts: LetterParts): number {
    const known = this.#numbers.get(parts)
    if (known !== undefined) return known
    const number = this.#numbers.size
    this.#numbers.set(parts, number)
    const { beforeRecord, beforeLine, beforeRaw, behind, idAt } = parts
    for (const part of [beforeRecord, beforeLine, beforeRaw, behind]) {
      this.#parts.push(part.length)
      this.#texts.copy(part, 0, part.length)
    }
    this.#parts.push(idAt)
    return number
  }

  /** What was added to the texts is a letter. */
  #whole(before: number): void {
    this.#room()
    this.#orders[this.#length] = WHOLE
    this.#orders[this.#length + 1] = this.#texts.text().length - before
    this.#length += ORDER
  }

  #room(): void {
    if (this.#length + ORDER <= this.#orders.length) return
    const larger = new Float64Array(this.#orders.length * 2)
    larger.set(this.#orders)
    this.#orders = larger
  }
}
