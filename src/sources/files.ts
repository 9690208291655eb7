import { resolve } from "node:path"
import type { Readable } from "node:stream"
import type { Format, KnownPartition, Source, SourceContext, SourcePartition } from "../core/contracts.ts"
import { SpillwayError, systemCode } from "../core/errors.ts"
import type { JsonValue } from "../core/json.ts"
import { decodeAgain } from "./decode-again.ts"
import { asFileError } from "./file-errors.ts"
import { chooser, commonly, folderFilter, formatFor } from "./file-formats.ts"
import { asFolder, findFiles, keyOf, patternText, type Found } from "./file-patterns.ts"
import { FileReader, UNREADABLE } from "./file-reader.ts"
import { contentVersion, isSameFile, isTrustworthy, stampOf } from "./file-stamp.ts"
import type { ObjectStorage } from "./s3/object-storage.ts"
import { s3 } from "./s3/s3.ts"
import { isS3, s3Address } from "./s3/objects.ts"
import { objectsSource } from "./s3/source.ts"
import { spool, spooledPath } from "./stdin-spool.ts"

export interface FilesOptions {
  /** How bytes become records. Default by name: `.csv`, `.tsv`, `.jsonl`, `.ndjson`, `.json`, before `.gz` or `.zst`; `.parquet`. */
  format?: Format
  /** The folder that patterns start from and keys are relative to. Default: the project folder. */
  root?: string | URL
  /** Where patterns that begin with `s3://` are looked up. Default: `s3()`, by the environment. */
  storage?: ObjectStorage
  /** What the pattern `"-"` reads. Default: the standard input of the process. */
  input?: Readable
}

/** Files hashed at once. */
const HASHES_AT_ONCE = 4

/**
 * Files, one partition each, compressed (gzip, zstd) or not. A pattern is a path, a glob, a folder (its files with a
 * known extension, and those of the folders below, hidden ones left out) or `"-"`, the standard input, which is spooled
 * to `.spillway/spool` first. `s3://bucket/…` is the same in object storage: there the version is the ETag and the size. The key is the path from `root`, the version the SHA-256 of the stored bytes; a file whose
 * size, times and inode are as noted is not read to know it. A file that cannot be read is still listed, and holds itself
 * alone: `read` throws `RESOURCE`. Reading throws `DATA_LOSS` (transient) for a file that vanished or changes meanwhile,
 * `DECODE` for one that is damaged as a whole. Listing throws `CONFIG` for a path or folder that does not exist; a glob
 * that matches nothing gives no partitions.
 */
export function files(patterns: string | URL | readonly (string | URL)[], options: FilesOptions = {}): Source {
  const texts = (typeof patterns === "string" || patterns instanceof URL ? [patterns] : patterns).map(patternText)
  if (texts.length === 0)
    throw new SpillwayError("CONFIG", "files() names no pattern", { hint: 'give a path or a glob: "data/*.csv"' })
  if (texts.some(isS3)) return storedSource(texts, options)
  return texts.includes("-") ? inputSource(texts, options) : filesSource(texts, options)
}

function storedSource(patterns: readonly string[], options: FilesOptions): Source {
  if (!patterns.every(isS3))
    throw new SpillwayError("CONFIG", "patterns in object storage stand beside others", {
      hint: "make two pipelines, one for s3:// and one for files",
    })
  const storage = options.storage ?? s3()
  for (const pattern of patterns) s3Address(pattern)
  const { format } = options
  const description = {
    source: "files",
    patterns: [...patterns],
    format: format?.description ?? "by extension",
    storage: storage.description,
  }
  return objectsSource(patterns, storage, { format, description })
}

function filesSource(patterns: readonly string[], options: FilesOptions): Source {
  const formatOf = chooser(options.format)
  let untyped = patterns.map(formatOf).find((format) => format !== undefined)?.untyped ?? true
  return {
    kind: "files",
    unit: "file",
    resumable: true,
    description: describe(patterns, options),
    get untyped() {
      return untyped
    },
    async list(context, known) {
      const root = asFolder(options.root, context.directory)
      await expectFolder(root, context)
      const found = await findAll(patterns, root, options.format, context)
      untyped = commonly(found.map(({ path }) => formatFor(path, formatOf))) ?? untyped
      return inParallel(found, HASHES_AT_ONCE, (file) => asPartition(keyOf(root, file.path), file, known, context))
    },
    read(partition, from, context) {
      const path = resolve(asFolder(options.root, context.directory), partition.key)
      return new FileReader({ path, partition, from, format: formatFor(path, formatOf) }, context)
    },
    decodeRecords(key, raws, context) {
      const path = resolve(asFolder(options.root, context.directory), key)
      return decodeAgain(path, formatFor(path, formatOf), raws, context)
    },
  }
}

function inputSource(patterns: readonly string[], options: FilesOptions): Source {
  const { format } = options
  if (format === undefined || patterns.length > 1)
    throw new SpillwayError(
      "CONFIG",
      patterns.length > 1 ? '"-" stands beside other patterns' : '"-" has no name to tell its format by',
      {
        hint: 'use files("-", { format: csv() })',
      },
    )
  // Input can be taken in only once, however often it is listed.
  let spooled: Promise<string> | undefined
  return {
    kind: "files",
    unit: "file",
    resumable: true,
    untyped: format.untyped,
    description: describe(patterns, options),
    async list(context, known) {
      spooled ??= spool(options.input ?? process.stdin, context)
      const key = await spooled
      return [await asPartition(key, { path: inputPath(key, context), isDirectory: false }, known, context)]
    },
    read: (partition, from, context) =>
      new FileReader({ path: inputPath(partition.key, context), partition, from, format }, context),
    decodeRecords: (key, raws, context) => decodeAgain(inputPath(key, context), format, raws, context),
  }
}

function inputPath(key: string, context: SourceContext): string {
  const path = spooledPath(context.directory, key)
  if (path !== undefined) return path
  throw new SpillwayError("CONFIG", `the partition "${key}" was not read from standard input`, {
    hint: "run again with the source it came from",
  })
}

function describe(patterns: readonly string[], { format, root }: FilesOptions): JsonValue {
  const named = root === undefined ? {} : { root: String(root) }
  return { source: "files", patterns: [...patterns], format: format?.description ?? "by extension", ...named }
}

async function expectFolder(root: string, context: SourceContext): Promise<void> {
  const isFolder = await context.ports.files.stat(root).then(
    (stat) => stat.isDirectory,
    () => false,
  )
  if (!isFolder)
    throw new SpillwayError("CONFIG", "the folder that files are looked for in does not exist", {
      where: root,
      hint: "create it, or correct root",
    })
}

/** What all patterns find, each file once, by key. */
async function findAll(
  patterns: readonly string[],
  root: string,
  format: Format | undefined,
  context: SourceContext,
): Promise<Found[]> {
  const inFolder = folderFilter(format)
  const byKey = new Map<string, Found>()
  for (const pattern of patterns)
    for (const found of await findFiles(context.ports.files, root, pattern, inFolder))
      byKey.set(keyOf(root, found.path), found)
  return [...byKey].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, found]) => found)
}

async function asPartition(
  key: string,
  { path, isDirectory }: Found,
  known: ReadonlyMap<string, KnownPartition>,
  context: SourceContext,
): Promise<SourcePartition> {
  const unreadable = (code: string): SourcePartition => ({
    key,
    version: UNREADABLE + code,
    bytes: undefined,
    stamp: null,
  })
  if (isDirectory) return unreadable("EISDIR")
  try {
    const { ports } = context
    const now = ports.clock.now()
    const stat = await ports.files.stat(path)
    if (!stat.isFile) return unreadable("ENOTFILE")
    const before = known.get(key)
    const isKnown = before !== undefined && !before.version.startsWith(UNREADABLE)
    if (isKnown && isSameFile(stat, before.stamp) && isTrustworthy(before.stamp))
      return { key, version: before.version, bytes: stat.size, stamp: before.stamp }
    const stamp = { ...stampOf(stat, now) }
    return { key, version: await contentVersion(path, context), bytes: stat.size, stamp }
  } catch (error) {
    context.signal.throwIfAborted()
    const code = systemCode(error)
    if (code === undefined) throw asFileError(error, path)
    return unreadable(code)
  }
}

/** Maps in order, with at most `most` at work at a time. */
async function inParallel<T, R>(items: readonly T[], most: number, task: (item: T) => Promise<R>): Promise<R[]> {
  const results = new Array<R>(items.length)
  const queue = items.entries()
  const work = async (): Promise<void> => {
    for (const [i, item] of queue) results[i] = await task(item)
  }
  await Promise.all(Array.from({ length: Math.min(most, items.length) }, work))
  return results
}
