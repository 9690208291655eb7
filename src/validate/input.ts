import type { Decoder, Format, PartitionReader, SourceContext } from "../core/contracts.ts"
import { SpillwayError } from "../core/errors.ts"
import type { FileStat } from "../core/files.ts"
import type { Batch } from "../core/records.ts"
import { compressionByMagic, uncompressedName } from "../formats/compression.ts"
import { csv } from "../formats/csv.ts"
import { json } from "../formats/json.ts"
import { jsonl } from "../formats/jsonl.ts"
import { parquet } from "../formats/parquet.ts"
import { asFileError, unreadable } from "../sources/file-errors.ts"
import { findFiles, keyOf } from "../sources/file-patterns.ts"
import { FileReader } from "../sources/file-reader.ts"
import { stampOf } from "../sources/file-stamp.ts"

export type FormatName = "csv" | "jsonl" | "json"

/** One file, or a stream, that records are read from. */
export interface Input {
  /** As letters and the report name it: the path from the folder, or `-`. */
  readonly name: string
  /** Where it lies; undefined for the standard input. */
  readonly path: string | undefined
  readonly stat: FileStat | undefined
  /** Bytes to read, where known. */
  readonly bytes: number | undefined
  open(context: SourceContext): InputReader
}

export interface InputReader extends PartitionReader {
  /** Known once the first batch or the end was reached. */
  readonly format: Format | undefined
}

const FORMATS: Readonly<Record<FormatName, Format>> = { csv: csv(), jsonl: jsonl(), json: json() }
const TAB_SEPARATED = csv({ delimiter: "\t" })

const BY_EXTENSION: readonly (readonly [string, Format])[] = [
  [".csv", FORMATS.csv],
  [".tsv", TAB_SEPARATED],
  [".jsonl", FORMATS.jsonl],
  [".ndjson", FORMATS.jsonl],
  [".json", FORMATS.json],
  [".parquet", parquet()],
]

/** The format that a name tells, before what a compression adds. */
function formatByName(name: string): Format | undefined {
  const plain = uncompressedName(name).toLowerCase()
  return BY_EXTENSION.find(([extension]) => plain.endsWith(extension))?.[1]
}

/**
 * What `pattern` names, in order: a path, a glob, a folder, or `-`, which is `stdin`. A pipe with a name is read as it comes, once.
 * `given` wins over what names tell. Throws `CONFIG` when there is nothing, or a name tells no format.
 */
export async function findInputs(
  pattern: string,
  given: FormatName | undefined,
  context: SourceContext,
  stdin: AsyncIterable<unknown>,
): Promise<readonly Input[]> {
  const format = given === undefined ? undefined : FORMATS[given]
  if (pattern === "-") return [streamInput("-", undefined, undefined, format, () => stdin)]
  const found = await findFiles(
    context.ports.files,
    context.directory,
    pattern,
    (name) => formatByName(name) !== undefined,
  )
  const paths = found.map(({ path }) => path).sort()
  if (paths.length === 0)
    throw new SpillwayError("CONFIG", `no file matches ${JSON.stringify(pattern)}`, {
      hint: "check the pattern; it starts from this folder",
    })
  return Promise.all(paths.map((path) => inputAt(path, format, context)))
}

async function inputAt(path: string, given: Format | undefined, context: SourceContext): Promise<Input> {
  const { files, clock } = context.ports
  const key = keyOf(context.directory, path)
  const name = key.startsWith("../../") ? path : key
  try {
    const stat = await files.stat(path)
    if (stat.isDirectory) throw unreadable("EISDIR", path)
    if (!stat.isFile)
      return streamInput(name, path, stat, given ?? formatByName(name), (signal) => files.read(path, { signal }))
    const format = given ?? formatByName(path)
    if (format === undefined)
      throw new SpillwayError("CONFIG", "the file's name does not tell its format", {
        where: path,
        hint: "name it: --format csv, --format jsonl or --format json",
      })
    const partition = { key: name, version: "as it is", bytes: stat.size, stamp: { ...stampOf(stat, clock.now()) } }
    return {
      name,
      path,
      stat,
      bytes: stat.size,
      open: (reading) => {
        const reader = new FileReader({ path, partition, format, from: undefined }, reading)
        return Object.assign(reader, { format })
      },
    }
  } catch (error) {
    throw asFileError(error, path)
  }
}

function streamInput(
  name: string,
  path: string | undefined,
  stat: FileStat | undefined,
  format: Format | undefined,
  open: (signal: AbortSignal) => AsyncIterable<unknown>,
): Input {
  return {
    name,
    path,
    stat,
    bytes: undefined,
    open: (context) => new StreamReader(name, open(context.signal), format, context),
  }
}

/** Reads what cannot be read twice, in memory of a few batches. Without a format it goes by the first byte that is no space. */
class StreamReader implements InputReader {
  format: Format | undefined
  readonly #name: string
  readonly #stream: AsyncIterable<unknown>
  readonly #context: SourceContext
  #decoder: Decoder | undefined

  constructor(name: string, stream: AsyncIterable<unknown>, format: Format | undefined, context: SourceContext) {
    this.#name = name
    this.#stream = stream
    this.format = format
    this.#context = context
  }

  get columns(): readonly string[] | undefined {
    return this.#decoder?.columns
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Batch, void, void> {
    const { signal } = this.#context
    try {
      yield* this.#batches()
    } catch (error) {
      signal.throwIfAborted()
      throw asFileError(error, this.#name)
    }
    signal.throwIfAborted()
  }

  async *#batches(): AsyncGenerator<Batch, void, void> {
    let head: Buffer = Buffer.alloc(0)
    for await (const piece of this.#stream) {
      const bytes = typeof piece === "string" ? Buffer.from(piece) : (piece as Uint8Array)
      if (this.#decoder !== undefined) {
        yield* this.#decoder.push(bytes)
        continue
      }
      // The piece's memory may be used again.
      head = Buffer.concat([head, bytes])
      if (head.length >= HEAD_BYTES && this.#choose(head)) yield* this.#begin(head)
    }
    if (this.#decoder === undefined && head.length > 0) {
      this.#choose(head)
      yield* this.#begin(head)
    }
    if (this.#decoder !== undefined) yield* this.#decoder.end()
  }

  #begin(head: Buffer): Batch[] {
    const { exact, maxRecordBytes } = this.#context
    this.format ??= FORMATS.csv
    this.#decoder = this.format.decoder({ exact, maxRecordBytes })
    return this.#decoder.push(head)
  }

  #choose(head: Buffer): boolean {
    const compression = compressionByMagic(head)
    if (compression !== undefined)
      throw new SpillwayError("DECODE", `the input is ${compression}, which is unpacked from files only`, {
        where: this.#name,
        hint: compression === "gzip" ? "pipe it through gzip -dc first" : "pipe it through zstd -dc first",
      })
    if (this.format !== undefined) return true
    const first = /[^\s\ufeff]/.exec(head.toString("utf8", 0, HEAD_LOOKED_AT))?.[0]
    if (first === undefined && head.length < HEAD_LOOKED_AT) return false
    this.format = first === "{" ? FORMATS.jsonl : first === "[" ? FORMATS.json : FORMATS.csv
    return true
  }
}

/** Enough to tell a compression. */
const HEAD_BYTES = 4
/** How far the first byte that is no space is looked for. */
const HEAD_LOOKED_AT = 4096
