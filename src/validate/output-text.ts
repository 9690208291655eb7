import { CopyText } from "../engine/pipeline/copy-text.ts"
import type { OutputFile } from "./output-file.ts"

/** Bytes that are worth a write. */
const FULL = 1 << 20

/** Text on its way into a file. Two pieces of memory take turns: one is written while the other is filled. */
export class OutputText {
  text = new CopyText()
  readonly #file: OutputFile
  #spare: Buffer | undefined

  constructor(file: OutputFile) {
    this.#file = file
  }

  get isFull(): boolean {
    return this.text.length >= FULL
  }

  async send(): Promise<void> {
    const { text } = this
    const bytes = text.text()
    // Only a write waits for the one before it, whose memory comes next.
    if (bytes.length === 0) return
    await this.#file.write(bytes)
    this.text = new CopyText(this.#spare)
    this.#spare = text.memory
  }
}
