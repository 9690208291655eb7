import type { LetterOrigin } from "../dead-letters/letter.ts"
import type { LetterSource } from "./letter-lines.ts"

/**
 * Letters on their way to the thread that puts them together. What is sent is one piece of memory that both threads see, and where its
 * sections end: numbers and bytes, no objects.
 */
export interface Parcel {
  readonly pipeline: string
  readonly partition: string
  readonly columns: readonly string[]
  readonly memory: SharedArrayBuffer
  /** How many numbers or bytes each section has, in the order of `LetterPack`. */
  readonly lengths: readonly number[]
}

/** What a parcel holds. */
export interface LetterPack {
  /** `ORDER` numbers of each letter. */
  readonly orders: Float64Array
  /** `PARTS` numbers of the parts of letters, as they are used first. */
  readonly parts: Uint32Array
  readonly source: LetterSource
  /** Whole letters, and the bytes of parts, as they are used first. */
  readonly texts: Buffer
}

/** Which parts, record form, record, end, line, offset; of a letter that is there whole: `WHOLE`, its length. */
export const ORDER = 6
export const WHOLE = -1
/** The lengths of four, and where the id is. */
export const PARTS = 5

/** Sections begin at a multiple of so many bytes; behind the last one so many are free. */
const ALIGNED = 8
const aligned = (bytes: number): number => Math.ceil(bytes / ALIGNED) * ALIGNED

const sectionsOf = ({ orders, parts, source, texts }: LetterPack) =>
  [orders, parts, source.starts, source.ends, source.bytes, texts] as const

/** Bytes that a pack takes. */
export const sizeOf = (pack: LetterPack): number =>
  sectionsOf(pack).reduce((sum, { byteLength }) => sum + aligned(byteLength), ALIGNED)

/** Copies a pack into memory that is large enough for it. */
export function parcelOf({ pipeline, partition }: LetterOrigin, pack: LetterPack, memory: SharedArrayBuffer): Parcel {
  const bytes = Buffer.from(memory)
  let at = 0
  for (const section of sectionsOf(pack)) {
    bytes.set(new Uint8Array(section.buffer, section.byteOffset, section.byteLength), at)
    at += aligned(section.byteLength)
  }
  const lengths = sectionsOf(pack).map(({ length }) => length)
  return { pipeline, partition, columns: pack.source.columns, memory, lengths }
}

/** The pack, in the parcel's memory. */
export function packOf({ columns, memory, lengths }: Parcel): LetterPack {
  let behind = 0
  const next = (n: number, width: number): { at: number; length: number } => {
    const [at, length] = [behind, lengths[n] ?? 0]
    behind += aligned(length * width)
    return { at, length }
  }
  const words = ({ at, length }: { at: number; length: number }): Uint32Array => new Uint32Array(memory, at, length)
  const bytes = ({ at, length }: { at: number; length: number }): Buffer => Buffer.from(memory, at, length)
  const orders = next(0, Float64Array.BYTES_PER_ELEMENT)
  const [parts, starts, ends] = [1, 2, 3].map((n) => words(next(n, Uint32Array.BYTES_PER_ELEMENT))) as Words
  return {
    orders: new Float64Array(memory, orders.at, orders.length),
    parts,
    source: { columns, starts, ends, bytes: bytes(next(4, 1)) },
    texts: bytes(next(5, 1)),
  }
}

type Words = [Uint32Array, Uint32Array, Uint32Array]
