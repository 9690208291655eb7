import { constants, createReadStream } from "node:fs"
import * as fs from "node:fs/promises"
import type { Readable } from "node:stream"
import { systemCode } from "./errors.ts"

export interface FileStat {
  readonly size: number
  readonly isFile: boolean
  readonly isDirectory: boolean
  readonly inode: string
  /** Nanoseconds since the epoch, as text. */
  readonly modified: string
  /** Of the last change of content or attributes, which no tool can set back; nanoseconds, as text. */
  readonly changed: string
}

export interface ChunksOptions {
  /** Bytes before the first that is wanted. Default 0. */
  readonly start?: number
  /** Default: the end of the file. */
  readonly end?: number
  readonly signal?: AbortSignal
}

/** The one door to the file system, so that every fault can be planted there. Errors are those of the operating system. */
export interface Files {
  stat(path: string): Promise<FileStat>
  /** Names in a folder, sorted by code unit. */
  list(path: string): Promise<readonly { name: string; isDirectory: boolean }[]>
  /** The bytes of a file from `start` on, up to `end`. A chunk's memory is used again: it is done with when the next is asked for. */
  chunks(path: string, options?: ChunksOptions): AsyncIterable<Uint8Array>
  /** The same as a stream, whose chunks stay as they are. */
  read(path: string, options?: { start?: number; chunkBytes?: number; signal?: AbortSignal }): Readable
  readText(path: string): Promise<string>
  /** Writes the whole file under another name and renames it: readers see the old or the new content, never a part. */
  writeAtomic(path: string, content: string | Uint8Array, mode?: number): Promise<void>
  /** A new file for streaming writes; fails when it exists. */
  create(path: string): Promise<fs.FileHandle>
  makeDirectory(path: string): Promise<void>
  rename(from: string, to: string): Promise<void>
  /** Puts what was renamed in a folder on the disk. */
  syncFolder(path: string): Promise<void>
  remove(path: string): Promise<void>
}

const READ_CHUNK = 1 << 20
const SMALLEST_CHUNK = 4096

export const nodeFiles: Files = {
  async stat(path) {
    const s = await fs.stat(path, { bigint: true })
    return {
      size: Number(s.size),
      isFile: s.isFile(),
      isDirectory: s.isDirectory(),
      inode: s.ino.toString(),
      modified: s.mtimeNs.toString(),
      changed: s.ctimeNs.toString(),
    }
  },
  async list(path) {
    const entries = await fs.readdir(path, { withFileTypes: true })
    const listed = await Promise.all(
      entries.map(async (entry) => ({
        name: entry.name,
        isDirectory: entry.isSymbolicLink()
          ? await fs.stat(`${path}/${entry.name}`).then(
              (s) => s.isDirectory(),
              () => false,
            )
          : entry.isDirectory(),
      })),
    )
    return listed.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
  },
  chunks: readAhead,
  read: (path, { start = 0, chunkBytes = READ_CHUNK, signal } = {}) =>
    createReadStream(path, { start, highWaterMark: chunkBytes, ...(signal ? { signal } : {}) }),
  readText: (path) => fs.readFile(path, "utf8"),
  async writeAtomic(path, content, mode = 0o666) {
    const temporary = `${path}.${process.pid}.tmp`
    const handle = await fs.open(temporary, constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC, mode)
    try {
      await handle.writeFile(content)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await fs.rename(temporary, path)
  },
  create: (path) => fs.open(path, "wx"),
  makeDirectory: async (path) => {
    await fs.mkdir(path, { recursive: true })
  },
  rename: (from, to) => fs.rename(from, to),
  async syncFolder(path) {
    const handle = await fs.open(path)
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  },
  remove: (path) => fs.rm(path, { force: true, recursive: true }),
}

/** Names of the files of a folder; none where there is no such folder. */
export async function namesIn(folder: string, files: Files): Promise<string[]> {
  try {
    return (await files.list(folder)).filter(({ isDirectory }) => !isDirectory).map(({ name }) => name)
  } catch (error) {
    if (systemCode(error) === "ENOENT") return []
    throw error
  }
}

/** Reads the next chunk while the one before is worked on, in two pieces of memory that take turns. */
async function* readAhead(
  path: string,
  { start = 0, end = Infinity, signal }: ChunksOptions = {},
): AsyncGenerator<Uint8Array, void, void> {
  const handle = await fs.open(path)
  let reading: Promise<{ bytesRead: number }> | undefined
  try {
    const { size } = await handle.stat()
    const chunkBytes = Math.min(READ_CHUNK, Math.max(SMALLEST_CHUNK, Math.min(size, end) - start))
    let memory = Buffer.allocUnsafe(chunkBytes)
    let spare = Buffer.allocUnsafe(chunkBytes)
    for (let position = start; ;) {
      const { bytesRead } = await (reading ?? handle.read(memory, 0, chunkBytes, position))
      signal?.throwIfAborted()
      const wanted = Math.min(bytesRead, end - position)
      if (wanted <= 0) return
      position += bytesRead
      if (position >= end) {
        yield memory.subarray(0, wanted)
        return
      }
      reading = handle.read(spare, 0, chunkBytes, position)
      // Its failure is met when the next chunk is asked for, which may be never.
      reading.catch(() => undefined)
      yield memory.subarray(0, bytesRead)
      ;[memory, spare] = [spare, memory]
    }
  } finally {
    await reading?.catch(() => undefined)
    await handle.close()
  }
}
