import type { SourceContext } from "../core/contracts.ts"
import type { Pipeline } from "./definition.ts"

/** What the source of a pipeline is handed. */
export function sourceContext(
  pipeline: Pipeline,
  { ports, directory, signal, full, unfinished, tell }: Omit<SourceContext, "exact" | "maxRecordBytes" | "keyed">,
): SourceContext {
  const { schema, sink, maxRecordBytes } = pipeline
  const { exact } = schema
  return { ports, directory, signal, exact, maxRecordBytes, full, unfinished, keyed: sink.mode === "upsert", tell }
}
