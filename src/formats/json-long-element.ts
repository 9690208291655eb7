import { createHash } from "node:crypto"
import { DecodeFault } from "../core/records.ts"
import { HEAD_BYTES } from "./oversize-line.ts"

/** An element too long to keep: its first 64 KiB, its length and its hash, in constant memory. */
export class LongElement {
  bytes = 0
  /** The physical line it begins on. */
  line: number | undefined
  readonly #hash = createHash("sha256")
  readonly #head: Buffer[] = []
  #headBytes = 0

  add(content: Uint8Array): void {
    this.#hash.update(content)
    this.bytes += content.length
    const room = HEAD_BYTES - this.#headBytes
    if (room <= 0) return
    const kept = Buffer.from(content.subarray(0, room))
    this.#head.push(kept)
    this.#headBytes += kept.length
  }

  finish(maxRecordBytes: number): { readonly head: Buffer; readonly fault: DecodeFault } {
    const fault = new DecodeFault("too_long", `the element is ${this.bytes} bytes long, more than ${maxRecordBytes}`, {
      expected: `at most ${maxRecordBytes} bytes`,
      oversize: { bytes: this.bytes, sha256: this.#hash.digest("hex") },
    })
    return { head: Buffer.concat(this.#head), fault }
  }
}
