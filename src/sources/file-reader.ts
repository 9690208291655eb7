import type { Format, PartitionReader, RandomAccess, SourceContext, SourcePartition } from "../core/contracts.ts"
import { SpillwayError } from "../core/errors.ts"
import type { Batch, Position } from "../core/records.ts"
import {
  compressionByMagic,
  compressionByName,
  decompress,
  MAGIC_BYTES,
  whenClosed,
  type Compression,
} from "../formats/compression.ts"
import { EarlyIterator } from "./early-iterator.ts"
import { asFileError, changedWhileRead, unreadable } from "./file-errors.ts"
import { isSameFile } from "./file-stamp.ts"

/** The version of a file that cannot be read begins with this; the operating system's code follows. */
export const UNREADABLE = "unreadable:"

/** Chunks of a file's decompressed bytes, and how many bytes of the stored file they took. */
interface Content extends AsyncIterable<Uint8Array> {
  readonly consumed: number
}

export interface FileToRead {
  readonly path: string
  readonly partition: SourcePartition
  readonly format: Format
  readonly from: Position | undefined
}

/** Reads one file from its start, or after a position. Throws what holds the file, with its path in `where`. */
export class FileReader implements PartitionReader {
  readonly #file: FileToRead
  readonly #context: SourceContext
  #content: { readonly columns: readonly string[] | undefined } | undefined
  #batches: EarlyIterator<Batch> | undefined

  constructor(file: FileToRead, context: SourceContext) {
    this.#file = file
    this.#context = context
  }

  get columns(): readonly string[] | undefined {
    return this.#content?.columns
  }

  [Symbol.asyncIterator](): AsyncIterator<Batch> {
    return (this.#batches = new EarlyIterator(this.#read()))
  }

  prepare(): void {
    // Another part of a file that is read here and there would take as much memory again.
    if (this.#file.format.reader === undefined) this.#batches?.begin()
  }

  async *#read(): AsyncGenerator<Batch, void, void> {
    const { path } = this.#file
    try {
      this.#context.signal.throwIfAborted()
      await this.#expectUnchanged()
      yield* this.#decoded()
      this.#context.signal.throwIfAborted()
      await this.#expectUnchanged()
    } catch (error) {
      this.#context.signal.throwIfAborted()
      throw asFileError(error, path)
    }
  }

  async *#decoded(): AsyncGenerator<Batch, void, void> {
    const { format, from } = this.#file
    const { exact, signal, maxRecordBytes } = this.#context
    if (format.reader !== undefined) {
      const reader = format.reader(await this.#randomAccess(), { position: from, exact, maxRecordBytes })
      this.#content = reader
      return yield* checked(reader, signal)
    }
    const decoder = format.decoder({ position: from, exact, maxRecordBytes })
    this.#content = decoder
    const compression = await this.#compression()
    const start = typeof from?.["offset"] === "number" ? from["offset"] : 0
    const content = compression === undefined ? this.#plain(start) : this.#unpacked(compression, start)
    let reported = content.consumed
    for await (const chunk of content) {
      for (const batch of decoder.push(chunk)) {
        signal.throwIfAborted()
        yield compression === undefined ? batch : withBytes(batch, content.consumed - reported)
        reported = content.consumed
      }
    }
    for (const batch of decoder.end()) {
      yield compression === undefined ? batch : withBytes(batch, content.consumed - reported)
      reported = content.consumed
    }
  }

  async #randomAccess(): Promise<RandomAccess> {
    const { path, format } = this.#file
    const { files } = this.#context.ports
    const { signal } = this.#context
    if (compressionByName(path) !== undefined)
      throw new SpillwayError("DECODE", `${format.name} inside another compression cannot be read`, {
        hint: `store it as it is: ${format.name} compresses by itself`,
      })
    const { size } = await files.stat(path)
    return {
      size,
      async read(start, end) {
        const bytes = new Uint8Array(end - start)
        let filled = 0
        for await (const chunk of files.chunks(path, { start, end, signal })) {
          const wanted = chunk.subarray(0, bytes.length - filled)
          bytes.set(wanted, filled)
          filled += wanted.length
          if (filled === bytes.length) break
        }
        if (filled < bytes.length) throw changedWhileRead(path)
        return bytes.buffer
      },
    }
  }

  async #expectUnchanged(): Promise<void> {
    const { path, partition } = this.#file
    if (partition.version.startsWith(UNREADABLE)) throw unreadable(partition.version.slice(UNREADABLE.length), path)
    const stat = await this.#context.ports.files.stat(path)
    if (!isSameFile(stat, partition.stamp)) throw changedWhileRead(path)
  }

  async #compression(): Promise<Compression | undefined> {
    const { path } = this.#file
    const byName = compressionByName(path)
    if (byName !== undefined) return byName
    const head = this.#context.ports.files.read(path, { chunkBytes: MAGIC_BYTES, signal: this.#context.signal })
    const closed = whenClosed(head)
    try {
      for await (const chunk of head) return compressionByMagic(chunk as Buffer)
      return undefined
    } finally {
      head.destroy()
      await closed
    }
  }

  #plain(start: number): Content {
    const { signal, ports } = this.#context
    const chunks = ports.files.chunks(this.#file.path, { start, signal })
    return { consumed: 0, [Symbol.asyncIterator]: () => chunks[Symbol.asyncIterator]() }
  }

  /** The decompressed bytes after the first `start`, which have to be unpacked again to get there. */
  #unpacked(compression: Compression, start: number): Content {
    const { files } = this.#context.ports
    const { signal } = this.#context
    const { path } = this.#file
    const content = decompress(compression, (at) => files.read(path, { start: at, signal }))
    return {
      get consumed() {
        return content.consumed
      },
      async *[Symbol.asyncIterator]() {
        let skip = start
        for await (const chunk of content) {
          if (skip < chunk.length) yield chunk.subarray(skip)
          skip = Math.max(0, skip - chunk.length)
        }
      },
    }
  }
}

async function* checked(batches: AsyncIterable<Batch>, signal: AbortSignal): AsyncGenerator<Batch, void, void> {
  for await (const batch of batches) {
    signal.throwIfAborted()
    yield batch
  }
}

/** Progress counts the bytes of the file as it is stored; of a compressed one the format only saw what was inside. */
function withBytes(batch: Batch, bytes: number): Batch {
  return Object.defineProperty(batch, "bytes", { value: bytes })
}
