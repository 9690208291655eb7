import type { SourceContext } from "../core/contracts.ts"
import type { Pipeline } from "./definition.ts"

/** What the source of a pipeline is handed. */
export function sourceContext(
  pipeline: Pipeline,
  given: Omit<SourceContext, "exact" | "maxRecordBytes" | "keyed">,
): SourceContext {
  const { schema, sink, maxRecordBytes } = pipeline
  const { exact } = schema
  const { ports, directory, signal, full, unfinished, tell, breakers } = given
  const keyed = sink.mode === "upsert"
  return { ports, directory, signal, exact, maxRecordBytes, full, unfinished, keyed, tell, breakers }
}
