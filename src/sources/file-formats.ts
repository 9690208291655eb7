import { basename } from "node:path"
import type { Format } from "../core/contracts.ts"
import { SpillwayError } from "../core/errors.ts"
import { csv } from "../formats/csv.ts"
import { json } from "../formats/json.ts"
import { jsonl } from "../formats/jsonl.ts"
import { parquet } from "../formats/parquet.ts"
import { knownExtension, type FolderFilter } from "./file-patterns.ts"

const FORMATS: Readonly<Record<string, Format>> = {
  ".csv": csv(),
  ".tsv": csv({ delimiter: "\t" }),
  ".jsonl": jsonl(),
  ".ndjson": jsonl(),
  ".json": json(),
  ".parquet": parquet(),
}

/** In a folder that is named as a whole, a format is given the files with its extensions. */
const EXTENSIONS: Readonly<Record<string, readonly string[]>> = {
  csv: [".csv", ".tsv"],
  jsonl: [".jsonl", ".ndjson"],
  json: [".json"],
  parquet: [".parquet"],
}

/** What a folder that is named as a whole contributes: files that are not hidden, whose extension is known, and the format's own. */
export function folderFilter(format: Format | undefined): FolderFilter {
  const extensions = format === undefined ? undefined : EXTENSIONS[format.name]
  return (name) => {
    const extension = knownExtension(name)
    return !basename(name).startsWith(".") && extension !== undefined && (extensions?.includes(extension) ?? true)
  }
}

/** The format of a file by its name, or the one that was given. */
export type FormatChooser = (name: string) => Format | undefined

export const chooser =
  (given: Format | undefined): FormatChooser =>
  (name) =>
    given ?? FORMATS[knownExtension(name) ?? ""]

/** The same, where there must be one. Throws `CONFIG`. */
export function formatFor(path: string, formatOf: FormatChooser): Format {
  const format = formatOf(path)
  if (format !== undefined) return format
  throw new SpillwayError("CONFIG", "the file's name does not tell its format", {
    where: path,
    hint: "name the format: files(…, { format: csv() })",
  })
}

/** Whether the formats are of the untyped kind; undefined when there are none. */
export function commonly(formats: readonly Format[]): boolean | undefined {
  const kinds = new Set(formats.map((format) => format.untyped))
  if (kinds.size > 1)
    throw new SpillwayError(
      "CONFIG",
      "the patterns find files of typed and of untyped formats (such as JSON Lines and CSV)",
      {
        hint: "make two pipelines, each with patterns for one of them",
      },
    )
  return [...kinds][0]
}
