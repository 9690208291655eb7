import type { SourceContext } from "../core/contracts.ts"
import type { Pipeline } from "./definition.ts"

/** What the source of a pipeline is handed. */
export function sourceContext(
  pipeline: Pipeline,
  { ports, directory, signal, full, tell }: Omit<SourceContext, "exact" | "maxRecordBytes" | "keyed">,
): SourceContext {
  const { schema, sink, maxRecordBytes } = pipeline
  return { ports, directory, signal, exact: schema.exact, maxRecordBytes, full, keyed: sink.mode === "upsert", tell }
}
