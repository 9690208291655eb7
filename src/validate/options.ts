import type { RecordSchema } from "../core/contracts.ts"
import type { Ports } from "../core/ports.ts"
import type { FormatName } from "./input.ts"

/** How far a validation is. */
export interface ValidateProgress {
  readonly file: string
  readonly read: number
  readonly bad: number
  readonly bytes: number
  /** Of all inputs, where known. */
  readonly totalBytes: number | undefined
}

export interface ValidateFilesOptions {
  /** A path, a glob, a folder, or `-` for `stdin`. */
  readonly input: string
  readonly schema: RecordSchema
  /** Default: by the input's name; for a stream without one, by its first byte. */
  readonly format?: FormatName | undefined
  /** A name ending in `.csv`, `.jsonl` or `.ndjson`, or `-`: `stdout`, as CSV where the input is text without types, otherwise JSON lines. Default: nowhere. */
  readonly goodOut?: string | undefined
  /** JSON lines: a name, or `-`. Default: nowhere. */
  readonly deadLetter?: string | undefined
  /** 0 to 1. Default 1: one bad record is too many. */
  readonly minPassRate?: number | undefined
  /** Stop after so many records. */
  readonly limit?: number | undefined
  /** A longer record keeps its head, hash and place only. Default 16 MiB. */
  readonly maxRecordBytes?: number | undefined
  /** The pipeline that letters name. Default `validate`. */
  readonly pipeline?: string | undefined
  /**
   * So many letters still to come are worth a thread that puts them together. Default 20,000. 0: there is one from the beginning. Infinity: never.
   */
  readonly threadFrom?: number | undefined
  readonly directory: string
  readonly ports: Ports
  readonly signal: AbortSignal
  /** A piece of it may be overwritten when the next one is asked for. It is to end when `signal` says so. */
  readonly stdin: AsyncIterable<unknown>
  readonly stdout: (text: string) => Promise<void>
  readonly on?: (progress: ValidateProgress) => void
  readonly warn?: (message: string) => void
}
