import { createHash } from "node:crypto"
import type { FileSink } from "./file-sink.ts"

const hash = (text: string, digits: number): string => createHash("sha256").update(text).digest("hex").slice(0, digits)

const PIPELINE_DIGITS = 4
const KEY_DIGITS = 10
const CONTENT_DIGITS = 8
const LONGEST_STEM = 80

const NAME = /-([0-9a-f]{4})([0-9a-f]{10})-[0-9a-f]{8}(?:-\d{4,})?\.(?:jsonl|csv)(?:\.tmp)?$/

/**
 * The names of a partition's files: `2011-03-07-3f9a1c2b7d4105-9c1e22aa.jsonl` after the partition, then what tells apart the
 * pipeline and the partition, then the content by the source's version and the pipeline's definition. Parts are counted from 1.
 */
export function fileNamer(
  sink: FileSink,
  pipeline: string,
  partition: { readonly key: string; readonly version: string },
  definitionVersion: string,
): (part: number) => string {
  const content = hash(`${partition.version}\0${definitionVersion}`, CONTENT_DIGITS)
  const stem = `${stemOf(partition.key)}-${tagOf(pipeline)}${keyTag(partition.key)}-${content}`
  return (part) =>
    `${stem}${sink.maxRecordsPerFile === undefined ? "" : `-${String(part).padStart(4, "0")}`}.${sink.format}`
}

/** The file's name in its source without its endings, as far as it is safe in a name. */
function stemOf(key: string): string {
  const last = key.split("/").findLast((part) => part !== "") ?? ""
  const stem = last.replace(/(?:\.(?:csv|tsv|jsonl|ndjson|json|gz|zst|parquet))+$/i, "")
  return (
    stem
      .replace(/[^\p{L}\p{Nd}._-]+/gu, "_")
      .replace(/^[.-]+/, "")
      .slice(0, LONGEST_STEM) || "partition"
  )
}

const tagOf = (pipeline: string): string => hash(pipeline, PIPELINE_DIGITS)

export const keyTag = (key: string): string => hash(key, KEY_DIGITS)

/** The tag of the partition that a file of this pipeline is of; undefined for all other names. */
export function keyTagOf(name: string, pipeline: string): string | undefined {
  const [, tag, key] = NAME.exec(name) ?? []
  return tag === tagOf(pipeline) ? key : undefined
}

const TEMPORARY = ".tmp"

export const temporaryName = (name: string): string => name + TEMPORARY

export const isTemporary = (name: string): boolean => name.endsWith(TEMPORARY)
