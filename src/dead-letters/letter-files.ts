import { join } from "node:path"
import { SpillwayError, systemCode } from "../core/errors.ts"
import type { Files } from "../core/files.ts"
import { afterSpace, eachElement, isBlank, OPEN_ARRAY, OPEN_OBJECT, parsed, type Readable } from "./json-skip.ts"
import { isLetter, letterScan } from "./letter-facts.ts"
import type { ObjectScan } from "./object-scan.ts"

/** Where a letter stands, from line 1; the item of a list counts as a line. */
export interface LetterPlace {
  readonly file: string
  readonly line: number
}

/** Takes the letters of files. */
export interface LetterTaker {
  /** A letter; the scan is good until the call returns. */
  add(scan: ObjectScan, place: LetterPlace): void
  /** Something that is not a letter. */
  cannotRead(where: string, reason: string): void
}

/** Where letters are read from. */
export interface LetterInput {
  readonly files: Files
  /** A file, a folder, or `-`. */
  readonly path: string
  /** What `-` means. */
  readonly stdin: AsyncIterable<unknown>
}

/** A record of 16 MiB and its raw bytes as base64 or with escapes fit; a file without line ends must not fill the memory. */
const LONGEST_LETTER = 128 << 20
/** A `.json` file up to this size may be one letter or a list of letters, over several lines. */
const LONGEST_DOCUMENT = 64 << 20
const LINE_FEED = 0x0a
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf])
const LETTER_FILE = /\.(?:json|jsonl|ndjson)$/i

/**
 * Reads dead letters from a JSONL file, from standard input (`-`), or from a folder of `.json`, `.jsonl` and `.ndjson` files, in
 * constant memory. A `.json` file is one letter, a list of letters, or lines. What is not a letter is told, and the rest is
 * read. It goes on when the next item is asked for, a block of a file at a time. Throws `CONFIG` when there is no such file or folder, `RESOURCE` when it cannot be read.
 */
export async function* readLetterFiles(input: LetterInput, taker: LetterTaker): AsyncGenerator<undefined> {
  const { files, path, stdin } = input
  const reading = { files, taker, scan: letterScan() }
  if (path === "-") yield* readLines(reading, stdin, path, "stdin")
  else if (!(await statOf(files, path)).isDirectory) yield* readFile(reading, path, path)
  else for (const name of await namesIn(files, path)) yield* readFile(reading, join(path, name), name)
}

interface Reading {
  readonly files: Files
  readonly taker: LetterTaker
  readonly scan: ObjectScan
}

async function statOf(files: Files, path: string): Promise<Awaited<ReturnType<Files["stat"]>>> {
  try {
    return await files.stat(path)
  } catch (error) {
    const code = systemCode(error)
    if (code !== "ENOENT" && code !== "ENOTDIR") throw unreadable(error, path)
    throw new SpillwayError("CONFIG", "there is no such file or folder of dead letters", {
      where: path,
      cause: error,
      context: { notFound: true },
      hint: "give a JSONL file, a folder of JSON files, or - for standard input; without --dead-letter the database is read",
    })
  }
}

/** The letter files below a folder, by path relative to it; hidden folders and files are left out. */
async function namesIn(files: Files, folder: string): Promise<string[]> {
  const found: string[] = []
  const walk = async (below: string): Promise<void> => {
    for (const { name, isDirectory } of await files.list(join(folder, below))) {
      if (name.startsWith(".")) continue
      if (isDirectory) await walk(join(below, name))
      else if (LETTER_FILE.test(name)) found.push(join(below, name))
    }
  }
  try {
    await walk("")
  } catch (error) {
    throw unreadable(error, folder)
  }
  return found
}

async function* readFile(reading: Reading, path: string, shownAs: string): AsyncGenerator<undefined> {
  const { files } = reading
  if (path.toLowerCase().endsWith(".json") && (await statOf(files, path)).size <= LONGEST_DOCUMENT) {
    const text = await files.readText(path).catch((error: unknown) => {
      throw unreadable(error, path)
    })
    if (takeDocument(reading, Buffer.from(text.replace(/^\u{feff}/u, "")), shownAs)) {
      yield
      return
    }
  }
  yield* readLines(reading, files.chunks(path), path, shownAs)
}

/** Takes a file that is one letter or a list of letters; false where it is lines. */
function takeDocument({ scan, taker }: Reading, bytes: Buffer, file: string): boolean {
  const isJson = parsed(bytes.toString()) !== undefined
  const lineEnd = bytes.indexOf(LINE_FEED)
  if (!isJson && lineEnd >= 0 && scan.read(bytes, 0, lineEnd)) return false
  const end = bytes.length
  const start = afterSpace(bytes, 0, end)
  let line = 0
  const take = (from: number, to: number): void => {
    line++
    const fault = faultOf(scan, bytes, from, to)
    if (fault === undefined) taker.add(scan, { file, line })
    else taker.cannotRead(`${file}, item ${line}`, fault)
  }
  if (!isJson) taker.cannotRead(file, start === end ? "the file is empty" : "the file is not JSON, or is cut off")
  else if (bytes[start] === OPEN_ARRAY) eachElement(readable(bytes), start, end, take)
  else take(start, end)
  return true
}

const NO_OBJECT = "it is not a JSON object"

/** Scans what should be a letter; says what is wrong where it is none. */
function faultOf(scan: ObjectScan, bytes: Buffer, start: number, end: number): string | undefined {
  if (!scan.read(bytes, start, end)) return NO_OBJECT
  return isLetter(scan) ? undefined : "it has neither an error nor a record"
}

async function* readLines(
  { scan, taker }: Reading,
  blocks: AsyncIterable<unknown>,
  path: string,
  shownAs: string,
): AsyncGenerator<undefined> {
  const lines = new LineReader(shownAs, scan, taker)
  try {
    for await (const block of blocks) {
      lines.take(asBuffer(block as Uint8Array))
      yield
    }
  } catch (error) {
    throw error instanceof SpillwayError ? error : unreadable(error, path)
  }
  lines.finish()
  yield
}

const unreadable = (error: unknown, path: string): SpillwayError =>
  error instanceof SpillwayError
    ? error
    : new SpillwayError("RESOURCE", `the dead letters cannot be read (${systemCode(error) ?? String(error)})`, {
        where: path,
        cause: error,
        hint: "check the permissions of the file and its folder",
      })

/** Cuts blocks of a file into lines. A line within one block is read where it lies. */
class LineReader {
  readonly #file: string
  readonly #taker: LetterTaker
  readonly #scan: ObjectScan
  /** The beginning of a line whose end is yet to come. */
  #begun: Buffer[] = []
  #begunBytes = 0
  #line = 1
  #tooLong = false

  constructor(file: string, scan: ObjectScan, taker: LetterTaker) {
    this.#file = file
    this.#scan = scan
    this.#taker = taker
  }

  take(block: Buffer): void {
    let start = this.#line === 1 && this.#begunBytes === 0 && startsWithMark(block) ? BYTE_ORDER_MARK.length : 0
    for (;;) {
      const end = block.indexOf(LINE_FEED, start)
      if (end < 0) break
      this.#ended(block, start, end)
      start = end + 1
    }
    this.#keep(block.subarray(start))
  }

  finish(): void {
    if (this.#begunBytes > 0 || this.#tooLong) this.#ended(Buffer.alloc(0), 0, 0, true)
  }

  #keep(rest: Buffer): void {
    if (rest.length === 0 || this.#tooLong) return
    // A block's memory is used again.
    this.#begun.push(Buffer.from(rest))
    this.#begunBytes += rest.length
    if (this.#begunBytes <= LONGEST_LETTER) return
    this.#tooLong = true
    this.#begun = []
    this.#begunBytes = 0
  }

  #ended(block: Buffer, start: number, end: number, isLast = false): void {
    if (this.#tooLong) this.#cannotRead(`the line is longer than ${LONGEST_LETTER >> 20} MiB`)
    else if (this.#begunBytes === 0) this.#letter(block, start, end, isLast)
    else {
      const whole = Buffer.concat([...this.#begun, block.subarray(start, end)])
      this.#letter(whole, 0, whole.length, isLast)
    }
    this.#begun = []
    this.#begunBytes = 0
    this.#tooLong = false
    this.#line++
  }

  #letter(bytes: Buffer, start: number, end: number, isLast: boolean): void {
    const fault = faultOf(this.#scan, bytes, start, end)
    if (fault === undefined) this.#taker.add(this.#scan, { file: this.#file, line: this.#line })
    else if (!isBlank(bytes, start, end))
      this.#cannotRead(
        isLast && bytes[start] === OPEN_OBJECT && fault === NO_OBJECT ? "the last line is cut off" : fault,
      )
  }

  #cannotRead(reason: string): void {
    this.#taker.cannotRead(`${this.#file}:${this.#line}`, reason)
  }
}

const asBuffer = (block: Uint8Array): Buffer => Buffer.from(block.buffer, block.byteOffset, block.byteLength)

const readable = (bytes: Buffer): Readable => ({
  bytes,
  view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
})

const startsWithMark = (block: Buffer): boolean => block.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK)
