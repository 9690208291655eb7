import { createHash, type Hash } from "node:crypto"
import type { FileHandle } from "node:fs/promises"
import { resolve } from "node:path"
import { SpillwayError, systemCode } from "../core/errors.ts"
import type { FileStat, Files } from "../core/files.ts"
import type { Ports } from "../core/ports.ts"
import { handedOn, type Destination } from "./destination.ts"

/**
 * A file that appears under its name when it is complete, in place of one that was there: written beside it as `NAME.<8 digits>.part`, put on the
 * disk, renamed. Throws `CONFIG` when the name is that of a folder or a device, `RESOURCE` when it cannot be written. `/dev/null` takes everything.
 */
export async function fileDestination(
  name: string,
  where: { readonly directory: string; readonly ports: Pick<Ports, "files" | "random"> },
): Promise<Destination> {
  const path = resolve(where.directory, name)
  if (path === "/dev/null") return handedOn(path, () => Promise.resolve())
  const { files, random } = where.ports
  const stat = await statOf(path, files)
  if (stat?.isFile === false)
    throw new SpillwayError("CONFIG", `the output is ${stat.isDirectory ? "a folder" : "no ordinary file"}`, {
      where: path,
      hint: "name a file, or leave --out away for standard output",
    })
  const temporary = `${path}.${random.hex(4)}.part`
  const handle = await guarded(path, () => files.create(temporary))
  return new TemporaryFile(path, temporary, handle, files)
}

/** Less is not worth keeping. */
const LEAST_KEPT_BYTES = 1024 * 1024

class TemporaryFile implements Destination {
  readonly #path: string
  readonly #temporary: string
  readonly #handle: FileHandle
  readonly #files: Files
  #hash: Hash = createHash("sha256")
  #isOpen = true
  readonly isGivenOut = false
  readonly isComparing = false
  bytes = 0

  constructor(path: string, temporary: string, handle: FileHandle, files: Files) {
    this.#path = path
    this.#temporary = temporary
    this.#handle = handle
    this.#files = files
  }

  async write(chunk: Uint8Array): Promise<void> {
    this.#hash.update(chunk)
    await guarded(this.#path, async () => {
      for (let done = 0; done < chunk.byteLength;) {
        const { bytesWritten } = await this.#handle.write(chunk, done, chunk.byteLength - done, this.bytes + done)
        done += bytesWritten
      }
    })
    this.bytes += chunk.byteLength
  }

  async restart(): Promise<void> {
    await guarded(this.#path, () => this.#handle.truncate(0))
    this.#hash = createHash("sha256")
    this.bytes = 0
  }

  async finish(): Promise<string> {
    await guarded(this.#path, () => this.#handle.sync())
    await this.#close()
    await guarded(this.#path, () => this.#files.rename(this.#temporary, this.#path))
    return this.#hash.digest("hex")
  }

  async adopt(name: string): Promise<boolean> {
    const kept = this.#keptAs(name)
    if ((await statOf(kept, this.#files)) === undefined) return false
    // Copied, not taken: another download may be reading it, too.
    await guarded(kept, async () => {
      for await (const chunk of this.#files.chunks(kept)) await this.write(chunk)
      await this.#files.remove(kept)
    })
    return true
  }

  async keep(name: string): Promise<string | undefined> {
    if (this.bytes < LEAST_KEPT_BYTES) {
      await this.discard()
      return undefined
    }
    await this.#close()
    await guarded(this.#path, () => this.#files.rename(this.#temporary, this.#keptAs(name)))
    return this.#keptAs(name)
  }

  async discard(): Promise<void> {
    await this.#close().catch(() => undefined)
    await this.#files.remove(this.#temporary).catch(() => undefined)
  }

  #keptAs(name: string): string {
    return `${this.#path}.${name}.part`
  }

  async #close(): Promise<void> {
    if (!this.#isOpen) return
    this.#isOpen = false
    await this.#handle.close()
  }
}

async function statOf(path: string, files: Files): Promise<FileStat | undefined> {
  try {
    return await files.stat(path)
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined
    throw unwritable(error, path)
  }
}

async function guarded<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw unwritable(error, path)
  }
}

function unwritable(error: unknown, path: string): unknown {
  if (error instanceof SpillwayError) return error
  return new SpillwayError("RESOURCE", `the output cannot be written (${systemCode(error) ?? String(error)})`, {
    where: path,
    cause: error,
    hint: "check that the folder exists, may be written to, and has room",
  })
}
