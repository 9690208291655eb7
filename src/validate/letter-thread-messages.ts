import type { MessagePort } from "node:worker_threads"

/** Pieces of text that are made, sent and written at the same time, and how much memory each begins with. */
export const PIECES = 16
export const PIECE_BYTES = (1 << 20) + (64 << 10)
/** Bytes that are worth a write. */
export const FULL = 1 << 20

/** What a thread begins with. */
export interface ThreadData {
  /** Memory of pieces that were written, to be used again. */
  readonly memories: MessagePort
  /** How many of them came so far; whoever has none waits on this. */
  readonly returned: Int32Array
}

export type FromThread =
  | { readonly kind: "ready" }
  /** Text of letters: so many bytes of the memory. */
  | { readonly kind: "text"; readonly memory: ArrayBuffer; readonly length: number }
  /** A parcel was put together; its text was sent. */
  | { readonly kind: "done" }
