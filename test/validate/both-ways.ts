import type { FileHandle } from "node:fs/promises"
import { Readable } from "node:stream"
import type { RecordSchema, SourceContext } from "../../src/core/contracts.ts"
import { systemPorts, type Ports } from "../../src/core/ports.ts"
import { seededRandom } from "../../src/core/random.ts"
import type { Batch } from "../../src/core/records.ts"
import { csv } from "../../src/formats/csv.ts"
import { jsonl } from "../../src/formats/jsonl.ts"
import { FileValidation } from "../../src/validate/file-validation.ts"
import type { Input } from "../../src/validate/input.ts"
import type { ValidateReport } from "../../src/validate/tally.ts"

export interface Validated {
  readonly good: Buffer
  readonly letters: Buffer
  readonly report: ValidateReport
  readonly warnings: readonly string[]
  /** Records that did not need the schema's own judgement. */
  readonly sure: number
}

/** The two formats that are read by their bytes. */
export type LineFormat = "csv" | "jsonl"

const FORMATS = { csv: csv(), jsonl: jsonl() }

/** Files that are kept in memory, at a time that stands still: the same input gives the same bytes. */
function portsInMemory(written: Map<string, Buffer[]>): Ports {
  const random = seededRandom(1)
  const create = (path: string): Promise<FileHandle> => {
    const parts: Buffer[] = []
    written.set(path, parts)
    const handle = {
      write: (bytes: Uint8Array, from: number) => {
        parts.push(Buffer.from(bytes.subarray(from)))
        return Promise.resolve({ bytesWritten: bytes.length - from })
      },
      datasync: () => Promise.resolve(),
      sync: () => Promise.resolve(),
      close: () => Promise.resolve(),
    }
    return Promise.resolve(handle as unknown as FileHandle)
  }
  const rename = (from: string, to: string): Promise<void> => {
    written.set(to, written.get(from) ?? [])
    return Promise.resolve()
  }
  const stat = (): Promise<never> => Promise.reject(Object.assign(new Error("none"), { code: "ENOENT" }))
  return {
    ...systemPorts,
    clock: { ...systemPorts.clock, now: () => 1_790_000_000_000, monotonic: () => 0 },
    random,
    files: { ...systemPorts.files, create, rename, stat, remove: () => Promise.resolve() },
  }
}

/** The batch without its records as ranges of bytes: they can only be had as objects. */
const asObjects = (batch: Batch): Batch => ({
  length: batch.length,
  bytes: batch.bytes,
  position: batch.position,
  raw: (i) => batch.raw(i),
  record: (i) => batch.record(i),
  ordinal: (i) => batch.ordinal(i),
  place: (i) => batch.place(i),
})

/** Each content is an input of its own, read in pieces of `chunk` bytes. */
function inputOf(content: Uint8Array, n: number, format: LineFormat, chunk: number, general: boolean): Input {
  return {
    name: `in-${n}.${format}`,
    path: undefined,
    stat: undefined,
    bytes: content.length,
    open({ exact, maxRecordBytes }) {
      const decoder = FORMATS[format].decoder({ exact, maxRecordBytes })
      // eslint-disable-next-line @typescript-eslint/require-await -- as a file is read
      async function* batches(): AsyncGenerator<Batch, void, void> {
        for (let from = 0; from < content.length; from += chunk)
          for (const batch of decoder.push(content.subarray(from, from + chunk)))
            yield general ? asObjects(batch) : batch
        for (const batch of decoder.end()) yield general ? asObjects(batch) : batch
      }
      return {
        format: FORMATS[format],
        get columns() {
          return decoder.columns
        },
        [Symbol.asyncIterator]: batches,
      }
    },
  }
}

/** The schema with the records counted that it judges; `general`: without its checks on bytes. */
function counted(schema: RecordSchema, general: boolean): { readonly schema: RecordSchema; judged: number } {
  const count = {
    judged: 0,
    schema: {
      columns: schema.columns,
      inputs: schema.inputs,
      required: schema.required,
      exact: schema.exact,
      secrets: schema.secrets,
      description: schema.description,
      byteChecks: general ? undefined : schema.byteChecks,
      fit: (record: Parameters<RecordSchema["fit"]>[0], untyped: boolean) => schema.fit(record, untyped),
      validate: (record: Parameters<RecordSchema["validate"]>[0]) => {
        count.judged++
        return schema.validate(record)
      },
    },
  }
  return count
}

/** Validates contents in memory, by the compiled path or by the general one alone; from so many letters with a thread. */
export async function validated(
  schema: RecordSchema,
  contents: readonly Uint8Array[],
  way: {
    readonly input: LineFormat
    readonly output: LineFormat
    readonly general: boolean
    readonly chunk?: number
    readonly threadFrom?: number
  },
): Promise<Validated> {
  const written = new Map<string, Buffer[]>()
  const ports = portsInMemory(written)
  const judge = counted(schema, way.general)
  const warnings: string[] = []
  const inputs = contents.map((content, n) => inputOf(content, n, way.input, way.chunk ?? 1 << 20, way.general))
  const signal = new AbortController().signal
  const context: SourceContext = { ports, directory: "/", signal, exact: schema.exact, maxRecordBytes: 1 << 20 }
  const validation = new FileValidation(
    {
      input: "-",
      schema: judge.schema,
      goodOut: `good.${way.output}`,
      deadLetter: "bad.jsonl",
      directory: "/",
      ports,
      signal,
      threadFrom: way.threadFrom,
      stdin: Readable.from([]),
      stdout: () => Promise.resolve(),
      warn: (message) => warnings.push(message),
    },
    context,
    inputs,
  )
  await validation.open()
  for (const input of inputs) await validation.take(input)
  const report = await validation.complete()
  const bytesOf = (name: string): Buffer => Buffer.concat(written.get(name) ?? [])
  return {
    good: bytesOf(`/good.${way.output}`),
    letters: bytesOf("/bad.jsonl"),
    report,
    warnings,
    sure: report.read - judge.judged,
  }
}
