import type { Format, Source, SourceContext } from "../../core/contracts.ts"
import type { JsonValue } from "../../core/json.ts"
import { decodeAgain } from "../decode-again.ts"
import { chooser, commonly, folderFilter, formatFor } from "../file-formats.ts"
import { FileReader } from "../file-reader.ts"
import { s3Files } from "./files.ts"
import { findObjects } from "./objects.ts"
import type { ObjectStorage } from "./object-storage.ts"

/** Objects of a storage, one partition each: `files` for patterns that begin with `s3://`. The key is the object's address. */
export function objectsSource(
  patterns: readonly string[],
  storage: ObjectStorage,
  { format, description }: { format: Format | undefined; description: JsonValue },
): Source {
  const formatOf = chooser(format)
  let untyped = patterns.map(formatOf).find((chosen) => chosen !== undefined)?.untyped ?? true
  /** The context of reading objects as if they were files. */
  const inStorage = (context: SourceContext): SourceContext => {
    const { ports } = context
    return { ...context, ports: { ...ports, files: { ...ports.files, ...s3Files(storage, ports) } } }
  }
  return {
    kind: "files",
    unit: "file",
    resumable: true,
    description,
    get untyped() {
      return untyped
    },
    async list(context) {
      const found = []
      for (const pattern of patterns)
        found.push(...(await findObjects(pattern, storage, folderFilter(format), context)))
      untyped = commonly(found.map(({ key }) => formatFor(key, formatOf))) ?? untyped
      const byKey = new Map(found.map((partition) => [partition.key, partition]))
      return [...byKey.values()].sort((a, b) => (a.key < b.key ? -1 : 1))
    },
    read: (partition, from, context) =>
      new FileReader(
        { path: partition.key, partition, from, format: formatFor(partition.key, formatOf) },
        inStorage(context),
      ),
    decodeRecords: (key, raws, context) => decodeAgain(key, formatFor(key, formatOf), raws, inStorage(context)),
  }
}
