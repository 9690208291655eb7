import { createHash } from "node:crypto"
import { DecodeFault } from "../core/records.ts"

const LF = 10
const CR = 13
/** How much of an oversize line is kept. */
export const HEAD_BYTES = 64 * 1024

/** A line too long to keep: its first 64 KiB, its length and hash (all without the line end). */
export interface OversizeLine {
  readonly head: Uint8Array
  readonly bytes: number
  readonly sha256: string
  /** Length with the line end. */
  readonly taken: number
}

/** Reads past a line of any length in constant memory. */
export class OversizeLineReader {
  readonly #hash = createHash("sha256")
  readonly #head: Uint8Array[] = []
  #headBytes = 0
  #bytes = 0
  /** A carriage return at the end of a chunk belongs to the line only when no line feed follows. */
  #heldReturn = false

  /** Takes the line's next bytes. Gives how many of `chunk` belong to the line and its end, and whether the line is over. */
  push(chunk: Uint8Array): { taken: number; over: boolean } {
    const feed = chunk.indexOf(LF)
    const over = feed >= 0
    if (this.#heldReturn && feed !== 0) this.#add(Uint8Array.of(CR))
    this.#heldReturn = this.#heldReturn && feed === 0
    let content = over ? feed : chunk.length
    const endsInReturn = content > 0 && chunk[content - 1] === CR
    if (endsInReturn) {
      content--
      this.#heldReturn = true
    }
    this.#add(chunk.subarray(0, content))
    return { taken: over ? feed + 1 : chunk.length, over }
  }

  /** What is known of the line; `fed`: it ended in a line feed, not with the file. */
  finish(fed: boolean): OversizeLine {
    return {
      head: Buffer.concat(this.#head),
      bytes: this.#bytes,
      sha256: this.#hash.digest("hex"),
      taken: this.#bytes + (this.#heldReturn ? 1 : 0) + (fed ? 1 : 0),
    }
  }

  #add(content: Uint8Array): void {
    if (content.length === 0) return
    this.#hash.update(content)
    this.#bytes += content.length
    const room = HEAD_BYTES - this.#headBytes
    if (room <= 0) return
    const kept = Buffer.from(content.subarray(0, room))
    this.#head.push(kept)
    this.#headBytes += kept.length
  }
}

/** The fault of an oversize line. */
export function tooLong(line: OversizeLine, maxRecordBytes: number): DecodeFault {
  return new DecodeFault("too_long", `the line is ${line.bytes} bytes long, more than ${maxRecordBytes}`, {
    expected: `at most ${maxRecordBytes} bytes`,
    oversize: { bytes: line.bytes, sha256: line.sha256 },
  })
}
