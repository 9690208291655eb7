import type { LetterLines, LetterParts, RecordForm } from "./letter-lines.ts"
import { ORDER, PARTS, WHOLE, type LetterPack } from "./letter-parcel.ts"

/** Gives the letters of a pack, one after the other, to where they are put together. */
export function unpack({ orders, parts, texts }: LetterPack, lines: UnpackedLetters): void {
  const known: LetterParts[] = []
  let read = 0
  const bytes = (length: number): Buffer => texts.subarray(read, (read += length))
  for (let at = 0; at < orders.length; at += ORDER) {
    const number = orders[at] as number
    if (number === WHOLE) {
      lines.add(bytes(orders[at + 1] as number))
      continue
    }
    if (number === known.length) known.push(partsAt(parts, number * PARTS, bytes))
    const form = orders[at + 1] as RecordForm
    const [i, to] = [orders[at + 2] as number, orders[at + 3] as number]
    lines.fill(known[number] as LetterParts, form, i, to, orders[at + 4] as number, orders[at + 5] as number)
  }
}

/** They are copied: memory that is shared is slow to read. */
const partsAt = (parts: Uint32Array, at: number, bytes: (length: number) => Buffer): LetterParts => {
  const [beforeRecord, beforeLine, beforeRaw, behind] = Array.from({ length: 4 }, (_, n) =>
    Buffer.from(bytes(parts[at + n] as number)),
  ) as [Buffer, Buffer, Buffer, Buffer]
  return { beforeRecord, beforeLine, idAt: parts[at + 4] as number, beforeRaw, behind }
}

interface UnpackedLetters extends Pick<LetterLines, "fill"> {
  add(line: Buffer): void
}
