import type { LetterLines, LettersOfBatch } from "./letter-lines.ts"
import { LetterPacker } from "./letter-packer.ts"
import { LetterThread } from "./letter-thread.ts"
import { LettersHere } from "./letters-here.ts"
import type { OutputFile } from "./output-file.ts"

/** Such a share of a batch is worth a thread, where as many letters are still to come and most are put together from the same parts. */
const WORTH_SHARE = 1 / 16

/** How far a validation is. */
export interface LettersSoFar {
  /** Of the batch that was judged last. */
  readonly records: number
  readonly letters: number
  /** Letters with parts that come again. */
  readonly known: number
  /** Of the whole input, as far as it has been read; undefined where its length is not known. */
  readonly readShare: number | undefined
}

/** The letters of one validation, on their way to the file: put together here, and by a thread of its own where there are many. */
export class LetterOutput {
  readonly #file: OutputFile
  readonly #worthLetters: number
  readonly #here: LettersHere
  #thread: LetterThread | undefined
  #packer: LetterPacker | undefined
  #known = 0

  /** `worthLetters`: so many letters still to come are worth a thread. */
  constructor(file: OutputFile, worthLetters: number) {
    this.#file = file
    this.#worthLetters = worthLetters
    this.#here = new LettersHere(file)
  }

  /** Waits for a thread before the first letter, where any is worth it. */
  async open(): Promise<void> {
    if (this.#worthLetters > 0) return
    this.#thread = new LetterThread(this.#file)
    await this.#thread.begun()
  }

  /** Where the letters of a batch go. All of them go to the thread from when it is ready: their order stays. */
  begin(batch: LettersOfBatch): LetterLines {
    if (this.#packer === undefined && this.#thread?.hasBegun() === true) this.#packer = new LetterPacker(this.#thread)
    const lines = this.#packer ?? this.#here
    lines.begin(batch)
    return lines
  }

  /** Starts a thread when it is worth it. */
  judge({ records, letters, known, readShare }: LettersSoFar): void {
    this.#known += known
    if (this.#thread !== undefined || known < records * WORTH_SHARE || known < letters / 2) return
    const ahead = readShare === undefined ? this.#known : this.#known * (1 / readShare - 1)
    if (ahead >= this.#worthLetters) this.#thread = new LetterThread(this.#file)
  }

  /** All letters are in the file's hands, and no thread is left. */
  async finish(): Promise<void> {
    await this.#thread?.finish()
    await this.end()
  }

  /** Leaves no thread behind. */
  async end(): Promise<void> {
    await this.#thread?.end()
    this.#thread = undefined
  }
}
