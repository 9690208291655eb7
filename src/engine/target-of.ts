import type { Column } from "../core/contracts.ts"
import { APPEND_KEY, type Target } from "../postgres/target.ts"
import type { Pipeline } from "./definition.ts"

/** The table of a pipeline as the database sees it: columns for properties. */
export function targetOf(pipeline: Pipeline): Target {
  const { sink } = pipeline
  const columns = pipeline.output.columns ?? []
  const nameOf = (property: string): string => columns.find((column) => column.property === property)?.name ?? property
  return {
    // Rows for files are staged like others; a table without a schema is never there.
    schema: sink.kind === "table" ? sink.schema : "",
    name: sink.kind === "table" ? sink.name : sink.folder,
    mode: sink.mode,
    columns: columns.map((column) => (sink.key.includes(column.property) ? { ...column, nullable: false } : column)),
    key: sink.mode === "append" ? APPEND_KEY : sink.key.map(nameOf),
    sourceIndex: sink.mode === "replace",
    orderBy: sink.orderBy === undefined ? undefined : nameOf(sink.orderBy),
  }
}

/** A table with columns that the schema does not know, behind its own. What the schema has come to know is left to it. */
export function withColumns(target: Target, columns: readonly Column[]): Target {
  const own = (column: Column): boolean =>
    target.columns.some(({ name, property }) => name === column.name || property === column.property)
  return { ...target, columns: [...target.columns, ...columns.filter((column) => !own(column))] }
}
