import { APPEND_KEY, type Target } from "../postgres/target.ts"
import type { Pipeline } from "./definition.ts"

/** The table of a pipeline as the database sees it: columns for properties. */
export function targetOf(pipeline: Pipeline): Target {
  const { sink } = pipeline
  const columns = pipeline.output.columns ?? []
  const nameOf = (property: string): string => columns.find((column) => column.property === property)?.name ?? property
  return {
    schema: sink.schema,
    name: sink.name,
    mode: sink.mode,
    columns: columns.map((column) => (sink.key.includes(column.property) ? { ...column, nullable: false } : column)),
    key: sink.mode === "append" ? APPEND_KEY : sink.key.map(nameOf),
    sourceIndex: sink.mode === "replace",
    orderBy: sink.orderBy === undefined ? undefined : nameOf(sink.orderBy),
  }
}
