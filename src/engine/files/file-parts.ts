import type { FileHandle } from "node:fs/promises"
import type { Column } from "../../core/contracts.ts"
import { systemCode } from "../../core/errors.ts"
import type { Files } from "../../core/files.ts"
import type { Ports } from "../../core/ports.ts"
import type { Session } from "../../postgres/session.ts"
import { stagedRows, type StagedRow } from "../../postgres/staged-rows.ts"
import type { FileSink } from "./file-sink.ts"

/** Characters that are gathered before they are written. */
const WRITE_AT = 1 << 19

/** Writes the staged rows of a partition into one file, or into parts of so many records. */
export class FileParts {
  readonly #sink: FileSink
  readonly #files: Files
  readonly #pathOf: (part: number) => string
  readonly #header: string
  readonly #line: (row: StagedRow) => string
  readonly #columns: readonly Column[]
  /** Records of each part. */
  readonly #records: number[] = []
  #handle: FileHandle | undefined
  #text = ""

  constructor(sink: FileSink, columns: readonly Column[], { files }: Ports, pathOf: (part: number) => string) {
    this.#sink = sink
    this.#files = files
    this.#pathOf = pathOf
    this.#columns = columns
    this.#header = sink.format === "csv" ? csvLine(columns.map(({ property }) => property)) : ""
    this.#line = sink.format === "csv" ? (row) => csvLine(row.map(textOf)) : jsonLine(columns)
  }

  /** Gives the number of records in each part; none where there are no rows. Everything is on the disk then. */
  async write(session: Session, staging: string, source: string): Promise<readonly number[]> {
    const most = this.#sink.maxRecordsPerFile ?? Infinity
    try {
      for await (const rows of stagedRows(session, staging, source, this.#columns))
        for (const row of rows) {
          if (this.#handle === undefined || (this.#records.at(-1) ?? 0) >= most) await this.#next()
          this.#records[this.#records.length - 1] = (this.#records.at(-1) ?? 0) + 1
          this.#text += this.#line(row)
          if (this.#text.length >= WRITE_AT) await this.#flush()
        }
      await this.#finish()
    } catch (error) {
      await this.#discard()
      throw error
    }
    return this.#records
  }

  async #next(): Promise<void> {
    await this.#finish()
    this.#records.push(0)
    const path = this.#pathOf(this.#records.length)
    await this.#files.remove(path)
    this.#handle = await this.#files.create(path)
    this.#text = this.#header
  }

  async #flush(): Promise<void> {
    const text = this.#text
    this.#text = ""
    if (text !== "") await this.#handle?.writeFile(text)
  }

  async #finish(): Promise<void> {
    await this.#flush()
    await this.#handle?.sync()
    await this.#handle?.close()
    this.#handle = undefined
  }

  async #discard(): Promise<void> {
    await this.#handle?.close().catch(() => undefined)
    for (let part = 1; part <= this.#records.length; part++)
      await this.#files.remove(this.#pathOf(part)).catch(() => undefined)
  }
}

const jsonLine = (columns: readonly Column[]): ((row: StagedRow) => string) => {
  const keys = columns.map(({ property }, i) => `${i === 0 ? "{" : ","}${JSON.stringify(property)}:`)
  return (row) => `${keys.map((key, i) => key + (row[i] ?? "null")).join("")}}\n`
}

/** A JSON text as a field: text as it is, everything else as JSON writes it. */
const textOf = (json: string | null): string | null =>
  json?.startsWith('"') === true ? (JSON.parse(json) as string) : json

const csvLine = (fields: readonly (string | null)[]): string => `${fields.map(csvField).join(",")}\n`

const csvField = (text: string | null): string =>
  text === null ? "" : text === "" || /[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text

/** Whether two files hold the same bytes; false where the first is not there. */
export async function sameContent(files: Files, path: string, other: string): Promise<boolean> {
  try {
    const [a, b] = [await files.stat(path), await files.stat(other)]
    if (!a.isFile || a.size !== b.size) return false
  } catch (error) {
    if (systemCode(error) === "ENOENT") return false
    throw error
  }
  const second = files.chunks(other)[Symbol.asyncIterator]()
  let rest = new Uint8Array(0)
  for await (const chunk of files.chunks(path)) {
    let at = 0
    while (at < chunk.length) {
      if (rest.length === 0) {
        const next = await second.next()
        if (next.done === true) return false
        rest = Uint8Array.from(next.value)
      }
      const length = Math.min(rest.length, chunk.length - at)
      if (Buffer.compare(rest.subarray(0, length), chunk.subarray(at, at + length)) !== 0) {
        await second.return?.()
        return false
      }
      rest = rest.subarray(length)
      at += length
    }
  }
  await second.return?.()
  return true
}
