import { createHash, type Hash } from "node:crypto"
import { SpillwayError } from "../core/errors.ts"

/** Where the bytes of a body go, in order. One writer at a time. */
export interface Destination {
  /** Bytes from the beginning of the body that are there. */
  readonly bytes: number
  /** What was written cannot be taken back. */
  readonly isGivenOut: boolean
  /** The body is read once more from its beginning, and not yet beyond what is there: it may turn out to be another one. */
  readonly isComparing: boolean
  write(chunk: Uint8Array): Promise<void>
  /** The body comes from its beginning again. */
  restart(): Promise<void>
  /** The body is complete. Gives its SHA-256, in hexadecimal. */
  finish(): Promise<string>
  /** Takes over what an earlier download kept under this name; whether there was something. */
  adopt(name: string): Promise<boolean>
  /** Keeps what is there for a later download, under this name. Gives the path; undefined where nothing can be kept. */
  keep(name: string): Promise<string | undefined>
  /** Leaves nothing behind. */
  discard(): Promise<void>
}

/**
 * Hands the bytes on as they come. When the body has to be read from its beginning again, it is compared with what was handed on: where it differs,
 * `NETWORK` (terminal) is thrown, because nothing can be taken back. `name` is for messages.
 */
export function handedOn(name: string, write: (chunk: Uint8Array) => Promise<void>): Destination {
  return new HandedOn(name, write)
}

class HandedOn implements Destination {
  readonly #name: string
  readonly #write: (chunk: Uint8Array) => Promise<void>
  readonly #hash = createHash("sha256")
  #again: { readonly hash: Hash; bytes: number } | undefined
  bytes = 0

  constructor(name: string, write: (chunk: Uint8Array) => Promise<void>) {
    this.#name = name
    this.#write = write
  }

  get isGivenOut(): boolean {
    return this.bytes > 0
  }

  get isComparing(): boolean {
    return this.#again !== undefined
  }

  async write(chunk: Uint8Array): Promise<void> {
    const next = this.#again === undefined ? chunk : this.#compare(this.#again, chunk)
    if (next.byteLength === 0) return
    this.#hash.update(next)
    this.bytes += next.byteLength
    await this.#write(next)
  }

  restart(): Promise<void> {
    this.#again = this.bytes === 0 ? undefined : { hash: createHash("sha256"), bytes: 0 }
    return Promise.resolve()
  }

  async finish(): Promise<string> {
    if (this.#again !== undefined) throw anotherBody(this.#name)
    return Promise.resolve(this.#hash.digest("hex"))
  }

  adopt(): Promise<boolean> {
    return Promise.resolve(false)
  }

  keep(): Promise<undefined> {
    return Promise.resolve(undefined)
  }

  discard(): Promise<void> {
    return Promise.resolve()
  }

  /** What of `chunk` lies beyond what was handed on. */
  #compare(again: { readonly hash: Hash; bytes: number }, chunk: Uint8Array): Uint8Array {
    const known = chunk.subarray(0, this.bytes - again.bytes)
    again.hash.update(known)
    again.bytes += known.byteLength
    if (again.bytes === this.bytes) {
      if (again.hash.digest("hex") !== this.#hash.copy().digest("hex")) throw anotherBody(this.#name)
      this.#again = undefined
    }
    return chunk.subarray(known.byteLength)
  }
}

const anotherBody = (where: string): SpillwayError =>
  new SpillwayError("NETWORK", "the body broke off, and what came at the next try is another body", {
    class: "terminal",
    where,
    hint: "what was handed on cannot be taken back: write to a file, which is begun anew",
  })
