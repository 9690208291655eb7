import { LetterFiller } from "./letter-filler.ts"
import type { LetterLines, LetterParts, LettersOfBatch, RecordForm } from "./letter-lines.ts"
import type { OutputFile } from "./output-file.ts"
import { OutputText } from "./output-text.ts"

/** Letters that are put together at once, on the thread that judges records. */
export class LettersHere implements LetterLines {
  readonly #output: OutputText
  readonly #filler = new LetterFiller()

  constructor(file: OutputFile) {
    this.#output = new OutputText(file)
  }

  begin(batch: LettersOfBatch): void {
    this.#filler.begin(batch)
  }

  fill(parts: LetterParts, form: RecordForm, i: number, to: number, line: number, offset: number): void {
    this.#filler.fill(this.#output.text, parts, form, i, to, line, offset)
  }

  fillOnce(parts: LetterParts, form: RecordForm, i: number, to: number, line: number, offset: number): void {
    this.fill(parts, form, i, to, line, offset)
  }

  add(line: string): void {
    this.#output.text.add(line)
  }

  readonly isElsewhere = false

  get isFull(): boolean {
    return this.#output.isFull
  }

  send(): Promise<void> {
    return this.#output.send()
  }
}
