import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Readable } from "node:stream"
import { systemPorts, type Ports } from "../../src/core/ports.ts"
import { toRecordSchema, type AnySchema } from "../../src/schema/adapter.ts"
import { ProductRecord } from "../../src/schema/builtins.ts"
import { validateFiles } from "../../src/validate/validate-files.ts"
import type { ValidateFilesOptions } from "../../src/validate/options.ts"
import type { ValidateReport } from "../../src/validate/tally.ts"

export interface Letter {
  readonly ts: string
  readonly error_code: string
  readonly error_msg: string
  readonly record: Record<string, unknown> | null
  readonly id: string
  readonly rule: string | null
  readonly path: string | null
  readonly raw: string
  readonly raw_encoding?: string
  readonly source: { readonly file: string; readonly line: number; readonly offset: number }
}

export interface Outcome {
  readonly report: ValidateReport
  readonly warnings: readonly string[]
  readonly stdout: string
  /** The file named by `goodOut`. */
  readonly good: string
  readonly letters: readonly Letter[]
}

/** Files that are not put on the disk, for tests that write many. */
export const unsynced: Ports = {
  ...systemPorts,
  files: {
    ...systemPorts.files,
    create: async (path) => Object.assign(await systemPorts.files.create(path), { sync: () => Promise.resolve() }),
  },
}

/** A temporary folder to validate files in. */
export class Folder implements AsyncDisposable {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  static async of(files: Readonly<Record<string, string | Uint8Array>> = {}): Promise<Folder> {
    const folder = new Folder(await mkdtemp(join(tmpdir(), "spillway-validate-")))
    await folder.write(files)
    return folder
  }

  async write(files: Readonly<Record<string, string | Uint8Array>>): Promise<void> {
    for (const [name, content] of Object.entries(files)) await writeFile(join(this.path, name), content)
  }

  read(name: string): Promise<string> {
    return readFile(join(this.path, name), "utf8")
  }

  list(): Promise<string[]> {
    return readdir(this.path)
  }

  /** Validates against `ProductRecord` into good.csv and bad.jsonl, unless told otherwise. */
  async validate(
    input: string,
    options: Partial<Omit<ValidateFilesOptions, "schema">> & { readonly schema?: AnySchema } = {},
  ): Promise<Outcome> {
    const warnings: string[] = []
    let stdout = ""
    const report = await validateFiles({
      input,
      goodOut: "good.csv",
      deadLetter: "bad.jsonl",
      directory: this.path,
      ports: systemPorts,
      signal: new AbortController().signal,
      stdin: Readable.from([]),
      stdout: (text) => {
        stdout += text
        return Promise.resolve()
      },
      warn: (message) => warnings.push(message),
      ...options,
      schema: toRecordSchema(options.schema ?? ProductRecord),
    })
    const textOf = async (name: string | null): Promise<string> =>
      name === null || name === "-" ? "" : await this.read(name)
    const letters = (await textOf(report.deadLetter)).split("\n").slice(0, -1)
    return {
      report,
      warnings,
      stdout,
      good: await textOf(report.goodOut),
      letters: letters.map((line) => JSON.parse(line) as Letter),
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true })
  }
}

/** `line: message` of each letter. */
export const messages = (letters: readonly Letter[]): string[] =>
  letters.map(({ source, error_msg }) => `${source.line}: ${error_msg}`)
