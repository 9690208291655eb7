import { createHash } from "node:crypto"
import { canonicalJson } from "../core/json.ts"
import type { Pipeline } from "./definition.ts"

/**
 * A hash of what a pipeline does: source, schema, steps, checks, table. Functions count by their text, so what they call
 * in other modules is not seen: name that with the pipeline's `version`.
 */
export function definitionVersion(pipeline: Pipeline): string {
  const definition = {
    source: pipeline.source.description,
    schema: pipeline.schema.description,
    columns: pipeline.output.columns,
    output: pipeline.output === pipeline.schema ? null : pipeline.output.description,
    prepare: pipeline.prepare?.toString() ?? null,
    transform: pipeline.transform?.toString() ?? null,
    checks: pipeline.checks.map((check) => [check.level, check.name, check.description]),
    sink: sinkOf(pipeline),
    onNewColumn: pipeline.onNewColumn,
    publish: pipeline.publish,
    maxRecordBytes: pipeline.maxRecordBytes,
    version: pipeline.version ?? null,
  }
  return createHash("sha256").update(canonicalJson(definition)).digest("hex").slice(0, 16)
}

const sinkOf = ({ sink }: Pipeline): object =>
  sink.kind === "file" && sink.storage !== undefined ? { ...sink, storage: sink.storage.description } : sink
