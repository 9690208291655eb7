import type { Format, SourceContext } from "../core/contracts.ts"
import { systemCode } from "../core/errors.ts"
import type { DecodeFault, RecordObject } from "../core/records.ts"
import { FileReader } from "./file-reader.ts"
import { stampOf } from "./file-stamp.ts"

/** Decodes single records of a file again; their columns are those that its header has now. Undefined when it is gone. */
export async function decodeAgain(
  path: string,
  format: Format,
  raws: readonly Uint8Array[],
  context: SourceContext,
): Promise<readonly (RecordObject | DecodeFault)[] | undefined> {
  const decode = format.record?.bind(format)
  if (decode === undefined) return undefined
  const { exact, maxRecordBytes } = context
  const columns = format.name === "csv" ? await columnsOf(path, format, context) : undefined
  if (format.name === "csv" && columns === undefined) return undefined
  return raws.map((raw) => decode(raw, columns, { exact, maxRecordBytes }))
}

async function columnsOf(path: string, format: Format, context: SourceContext): Promise<readonly string[] | undefined> {
  const { files, clock } = context.ports
  try {
    const stat = await files.stat(path)
    const partition = { key: path, version: "as it is", bytes: stat.size, stamp: { ...stampOf(stat, clock.now()) } }
    const reader = new FileReader({ path, partition, format, from: undefined }, context)
    for await (const _batch of reader) break
    return reader.columns
  } catch (error) {
    context.signal.throwIfAborted()
    if (systemCode(error) === "ENOENT") return undefined
    throw error
  }
}
