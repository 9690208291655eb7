import { MessageChannel, Worker } from "node:worker_threads"
import type { LetterOrigin } from "../dead-letters/letter.ts"
import { PIECE_BYTES, type FromThread, type ThreadData } from "./letter-thread-messages.ts"
import { parcelOf, sizeOf, type LetterPack } from "./letter-parcel.ts"
import type { OutputFile } from "./output-file.ts"

/** The source as it stands, or its place in `dist/`, where this module is in a chunk. */
const ENTRY = import.meta.url.endsWith(".ts")
  ? new URL("./letter-thread-entry.ts", import.meta.url)
  : new URL("../validate/letter-thread-entry.js", import.meta.url)

/** Parcels on the way: one is put together while the next one is packed. */
const PARCELS = 2
/** A parcel's or a piece's memory beyond this is not kept. */
const MOST_BYTES_KEPT = 8 << 20
const FIRST_BYTES = 1 << 20
/** It makes hardly any objects. */
const YOUNG_MIB = 4

/** A thread that puts letters together. What it makes goes to the file from here, in order. */
export class LetterThread {
  readonly #file: OutputFile
  readonly #worker: Worker
  readonly #channel = new MessageChannel()
  readonly #returned = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
  readonly #memories = Array.from({ length: PARCELS }, () => new SharedArrayBuffer(FIRST_BYTES))
  #isReady = false
  #sent = 0
  #done = 0
  /** Ends when all text that has come was handed to the file. */
  #writing: Promise<void> = Promise.resolve()
  /** The piece that the file may still be writing. */
  #held: ArrayBuffer | undefined
  #failure: { readonly error: unknown } | undefined
  #change = Promise.withResolvers<void>()

  /** `entry`: what the thread runs. */
  constructor(file: OutputFile, entry = ENTRY) {
    this.#file = file
    const { port2: memories } = this.#channel
    const workerData: ThreadData = { memories, returned: this.#returned }
    this.#worker = new Worker(entry, {
      workerData,
      transferList: [memories],
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB },
    })
    this.#worker.on("message", (message: FromThread) => this.#hear(message))
    this.#worker.on("error", (error) => this.#fail(error))
    this.#worker.on("exit", () => this.#fail(new Error("the thread that puts letters together has ended")))
  }

  /** Whether it has begun, and can take letters at once. Throws what it failed with. */
  hasBegun(): boolean {
    this.#expectWell()
    return this.#isReady
  }

  /** Waits until it can. */
  begun(): Promise<void> {
    return this.#until(() => this.#isReady)
  }

  /** Takes letters over. Waits while those before them are too many; throws when one of those could not be put together or written. */
  async take(origin: LetterOrigin, pack: LetterPack): Promise<void> {
    await this.#until(() => this.#sent - this.#done < PARCELS)
    const slot = this.#sent++ % PARCELS
    const size = sizeOf(pack)
    let memory = this.#memories[slot] as SharedArrayBuffer
    if (memory.byteLength < size) memory = new SharedArrayBuffer(Math.max(size, memory.byteLength * 2))
    if (memory.byteLength <= MOST_BYTES_KEPT) this.#memories[slot] = memory
    this.#worker.postMessage(parcelOf(origin, pack, memory))
  }

  /** Waits until all that was taken is in the file's hands. */
  async finish(): Promise<void> {
    await this.#until(() => this.#sent === this.#done)
    await this.#writing
    this.#expectWell()
  }

  /** Ends the thread, whatever it does. */
  async end(): Promise<void> {
    this.#fail(new Error("ended"))
    await this.#worker.terminate()
    await this.#writing
    this.#channel.port1.close()
  }

  #hear(message: FromThread): void {
    if (message.kind === "ready") this.#isReady = true
    else if (message.kind === "done") this.#done++
    else this.#writing = this.#writing.then(() => this.#write(message.memory, message.length))
    this.#changed()
  }

  async #write(memory: ArrayBuffer, length: number): Promise<void> {
    if (this.#failure !== undefined) return
    try {
      await this.#file.write(Buffer.from(memory, 0, length))
    } catch (error) {
      this.#fail(error)
      return
    }
    // The write before this one has ended.
    if (this.#held !== undefined) this.#giveBack(this.#held)
    this.#held = memory
  }

  #giveBack(written: ArrayBuffer): void {
    const memory = written.byteLength <= MOST_BYTES_KEPT ? written : new ArrayBuffer(PIECE_BYTES)
    this.#channel.port1.postMessage(memory, [memory])
    Atomics.add(this.#returned, 0, 1)
    Atomics.notify(this.#returned, 0)
  }

  async #until(condition: () => boolean): Promise<void> {
    while (this.#failure === undefined && !condition()) await this.#change.promise
    this.#expectWell()
  }

  #expectWell(): void {
    if (this.#failure !== undefined) throw this.#failure.error
  }

  #fail(error: unknown): void {
    this.#failure ??= { error }
    this.#changed()
  }

  #changed(): void {
    this.#change.resolve()
    this.#change = Promise.withResolvers()
  }
}
