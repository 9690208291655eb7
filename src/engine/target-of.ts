import { quoteIdentifier, quoteLiteral } from "../postgres/quote.ts"
import { APPEND_KEY, type Target } from "../postgres/target.ts"
import type { Pipeline, TrackedPartition } from "./definition.ts"

/** The table of a pipeline as the database sees it: columns for properties, SQL for tracked slices. */
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
    orderBy: sink.orderBy === undefined ? undefined : nameOf(sink.orderBy),
    tracked: sink.tracked.map((tracked) => ({
      by: `${tracked.unit}(${nameOf(tracked.property)})`,
      expression: sliceExpression(
        tracked,
        nameOf(tracked.property),
        columns.find((column) => column.property === tracked.property)?.type,
      ),
    })),
  }
}

/** The slice of `$row` as text: `2011-03`, `2011-03-01`, or the value itself. */
function sliceExpression(tracked: TrackedPartition, name: string, type: string | undefined): string {
  const column = `$row.${quoteIdentifier(name)}`
  if (tracked.unit === "value") return `${column}::text`
  const local = type === "timestamptz" ? `(${column} AT TIME ZONE ${quoteLiteral(tracked.zone)})` : column
  return `to_char(${local}, '${tracked.unit === "month" ? "YYYY-MM" : "YYYY-MM-DD"}')`
}
