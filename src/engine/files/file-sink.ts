import { normalize } from "node:path"
import { SpillwayError } from "../../core/errors.ts"
import type { FolderStorage } from "../../core/output-folder.ts"

/** A folder of files as the end of a pipeline: for each source partition one file, or several. */
export interface FileSink {
  readonly kind: "file"
  readonly format: "jsonl" | "csv"
  /** Relative to the project, or `s3://bucket/prefix`. */
  readonly folder: string
  /** What has the folder that is none of this machine. */
  readonly storage?: FolderStorage | undefined
  /** Undefined: one file for each partition, however long. */
  readonly maxRecordsPerFile: number | undefined
  /** What the folder has of a partition is exactly what was read of it last. */
  readonly mode: "replace"
  readonly key: readonly string[]
  readonly orderBy: undefined
}

export interface FileSinkOptions {
  /** Further records of a partition go into a further file. */
  maxRecordsPerFile?: number
  /** For `s3://` folders: `s3()`, of `spillway/sources`. */
  storage?: FolderStorage
}

/**
 * JSON lines in a folder. Every line has every property, null where there is nothing; numbers have all their digits, instants are
 * in UTC. Throws `CONFIG`.
 */
export const jsonlFiles = (folder: string, options: FileSinkOptions = {}): FileSink =>
  fileSink("jsonl", folder, options)

/** CSV in a folder, with a header of property names. Blank is nothing, `""` is empty text; lists and objects are JSON. Throws `CONFIG`. */
export const csvFiles = (folder: string, options: FileSinkOptions = {}): FileSink => fileSink("csv", folder, options)

function fileSink(format: FileSink["format"], folder: string, options: FileSinkOptions): FileSink {
  const { maxRecordsPerFile, storage } = options
  const isRemote = /^s3:\/\//i.test(folder)
  if (isRemote !== (storage !== undefined))
    throw new SpillwayError(
      "CONFIG",
      isRemote ? `nothing is named that stores ${folder}` : `${JSON.stringify(folder)} is a folder of this machine`,
      { hint: `write ${format}Files("s3://bucket/orders", { storage: s3() }), or a folder without storage` },
    )
  const plain = (isRemote ? folder : normalize(folder)).replace(/\/+$/, "")
  if (folder.trim() === "" || folder.includes("\0") || /[*?[\]{}]/.test(folder))
    throw new SpillwayError("CONFIG", `${JSON.stringify(folder)} is not a folder's name`, {
      hint: `name the folder that the files are to lie in: ${format}Files("out/orders")`,
    })
  if (maxRecordsPerFile !== undefined && !(Number.isSafeInteger(maxRecordsPerFile) && maxRecordsPerFile > 0))
    throw new SpillwayError("CONFIG", `maxRecordsPerFile ${maxRecordsPerFile} is not a whole number from 1`, {
      hint: "leave it out for one file for each partition of the source",
    })
  return {
    kind: "file",
    format,
    folder: plain,
    ...(storage === undefined ? {} : { storage }),
    maxRecordsPerFile,
    mode: "replace",
    key: [],
    orderBy: undefined,
  }
}
