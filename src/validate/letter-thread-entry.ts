// The thread that puts letters together: takes parcels, gives their text in pieces of memory, which it gets back.
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads"
import { CopyText } from "../engine/pipeline/copy-text.ts"
import { LetterFiller } from "./letter-filler.ts"
import { packOf, type Parcel } from "./letter-parcel.ts"
import { unpack } from "./letter-unpacker.ts"
import { FULL, PIECES, PIECE_BYTES, type FromThread, type ThreadData } from "./letter-thread-messages.ts"

const { memories, returned } = workerData as ThreadData
const filler = new LetterFiller()
let made = 0
let taken = 0
let text = new CopyText(memory())

/** Memory for a piece of text: waits, where all of it is still to be written. */
function memory(): Buffer {
  if (made++ < PIECES) return Buffer.allocUnsafeSlow(PIECE_BYTES)
  while (Atomics.load(returned, 0) === taken) Atomics.wait(returned, 0, taken)
  taken++
  return Buffer.from(receiveMessageOnPort(memories)?.message as ArrayBuffer)
}

const tell = (message: FromThread, moved: ArrayBuffer[] = []): void => parentPort?.postMessage(message, moved)

function send(): void {
  const { length } = text.text()
  if (length === 0) return
  const { buffer } = text.bytes
  tell({ kind: "text", memory: buffer as ArrayBuffer, length }, [buffer as ArrayBuffer])
  text = new CopyText(memory())
}

const sendFull = (): void => {
  if (text.length >= FULL) send()
}

parentPort?.on("message", (parcel: Parcel) => {
  const pack = packOf(parcel)
  filler.begin({ origin: { ...parcel, unit: "file" }, source: pack.source })
  unpack(pack, {
    fill: (...letter) => {
      filler.fill(text, ...letter)
      sendFull()
    },
    add: (line) => {
      text.copy(line, 0, line.length)
      sendFull()
    },
  })
  send()
  tell({ kind: "done" })
})
tell({ kind: "ready" })
