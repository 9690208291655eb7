import type { FileHandle } from "node:fs/promises"
import { resolve } from "node:path"
import { SpillwayError, systemCode } from "../core/errors.ts"
import type { FileStat } from "../core/files.ts"
import type { Ports } from "../core/ports.ts"
import { isSameFile, stampOf } from "../sources/file-stamp.ts"
import type { Input } from "./input.ts"

/** Where bytes go. Nothing is seen of them before `complete`, where that can be. */
export interface OutputFile {
  write(bytes: Uint8Array): Promise<void>
  /** All is written: puts it on the disk. */
  finish(): Promise<void>
  /** Makes it visible under its name. */
  publish(): Promise<void>
  /** Leaves nothing behind. */
  discard(): Promise<void>
}

const none = (): Promise<void> => Promise.resolve()

/** Takes everything and keeps nothing. */
export const nowhere: OutputFile = { write: none, finish: none, publish: none, discard: none }

/** Standard output, which takes text and cannot be taken back. */
export const toStdout = (write: (text: string) => Promise<void>): OutputFile => ({
  ...nowhere,
  write: (bytes) => write(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8")),
})

/**
 * A file that appears under its name when it is complete: written beside it, put on the disk, renamed. Throws `CONFIG` when the name is
 * that of an input, a folder or a device, `RESOURCE` when it cannot be written. `/dev/null` takes everything.
 */
export async function outputFile(
  name: string,
  inputs: readonly Input[],
  where: { readonly directory: string; readonly ports: Ports },
): Promise<OutputFile> {
  const path = resolve(where.directory, name)
  if (path === "/dev/null") return nowhere
  const { files, random, clock } = where.ports
  refuse(path, await statOf(path, where.ports), inputs, clock.now())
  const temporary = `${path}.${random.hex(4)}.tmp`
  const guarded = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      throw unwritable(error, path)
    }
  }
  const handle = await guarded(() => files.create(temporary))
  return new TemporaryFile(handle, guarded, {
    publish: () => files.rename(temporary, path),
    remove: () => files.remove(temporary),
  })
}

/** Bytes that are put on the disk at a time, while further ones are made: at the end little is left to wait for. */
const SYNC_BYTES = 32 << 20

class TemporaryFile implements OutputFile {
  readonly #handle: FileHandle
  readonly #guarded: <T>(work: () => Promise<T>) => Promise<T>
  readonly #name: { publish(): Promise<void>; remove(): Promise<void> }
  /** The write under way: the next bytes are made meanwhile. */
  #writing: Promise<unknown> = Promise.resolve()
  /** What is being put on the disk meanwhile; undefined when that is done. */
  #syncing: Promise<void> | undefined
  #unsynced = 0
  #open = true

  constructor(
    handle: FileHandle,
    guarded: <T>(work: () => Promise<T>) => Promise<T>,
    name: { publish(): Promise<void>; remove(): Promise<void> },
  ) {
    this.#handle = handle
    this.#guarded = guarded
    this.#name = name
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0) return
    await this.#settled()
    this.#writing = this.#writeAll(bytes)
    // Looked at before the next write.
    this.#writing.catch(() => undefined)
    this.#unsynced += bytes.length
    if (this.#unsynced >= SYNC_BYTES && this.#syncing === undefined) this.#sync()
  }

  async finish(): Promise<void> {
    await this.#settled()
    await this.#guarded(async () => this.#syncing)
    await this.#guarded(() => this.#handle.sync())
    await this.#close()
  }

  publish(): Promise<void> {
    return this.#guarded(() => this.#name.publish())
  }

  async discard(): Promise<void> {
    await this.#writing.catch(() => undefined)
    await this.#syncing?.catch(() => undefined)
    await this.#close().catch(() => undefined)
    await this.#name.remove().catch(() => undefined)
  }

  async #settled(): Promise<void> {
    await this.#guarded(() => this.#writing)
  }

  async #writeAll(bytes: Uint8Array): Promise<void> {
    for (let from = 0; from < bytes.length;) from += (await this.#handle.write(bytes, from)).bytesWritten
  }

  /** A disk tells of a failure once: it is kept for `finish`. */
  #sync(): void {
    this.#unsynced = 0
    this.#syncing = this.#handle.datasync().then(() => {
      this.#syncing = undefined
    })
    this.#syncing.catch(() => undefined)
  }

  async #close(): Promise<void> {
    if (!this.#open) return
    this.#open = false
    await this.#handle.close()
  }
}

async function statOf(path: string, { files }: Ports): Promise<FileStat | undefined> {
  try {
    return await files.stat(path)
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined
    throw unwritable(error, path)
  }
}

function refuse(path: string, stat: FileStat | undefined, inputs: readonly Input[], now: number): void {
  if (stat === undefined) return
  const isInput = inputs.some((input) => input.stat !== undefined && isSameFile(input.stat, { ...stampOf(stat, now) }))
  if (isInput)
    throw new SpillwayError("CONFIG", "the output is one of the inputs", {
      where: path,
      hint: "give the output a name of its own; inputs are never written to",
    })
  if (!stat.isFile)
    throw new SpillwayError("CONFIG", `the output is ${stat.isDirectory ? "a folder" : "no ordinary file"}`, {
      where: path,
      hint: "name a file, or - for standard output",
    })
}

function unwritable(error: unknown, path: string): unknown {
  if (error instanceof SpillwayError) return error
  return new SpillwayError("RESOURCE", `the output cannot be written (${systemCode(error) ?? String(error)})`, {
    where: path,
    cause: error,
    hint: "check that the folder exists, may be written to, and has room",
  })
}
