import type { RecordSchema } from "../core/contracts.ts"
import type { RecordObject } from "../core/records.ts"
import { arrowRows, isArrowTable } from "./arrow-table.ts"

/** Values by column, all of one length. */
export type ColumnFrame = Readonly<Record<string, ArrayLike<unknown>>>

/** Whether an object may be read by columns: it has some, and all are lists of one length. */
export function isColumnFrame(value: object): value is ColumnFrame {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) return false
  const columns: unknown[] = Object.values(value)
  if (columns.length === 0 || !columns.every(isList)) return false
  return new Set(columns.map((column) => (column as ArrayLike<unknown>).length)).size === 1
}

const isList = (value: unknown): boolean =>
  Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView))

/** The rows of a data frame; undefined for what is none. Absence is null in a frame: it becomes what `schema` takes for it. */
export function frameRows(value: object, schema: RecordSchema): Iterable<RecordObject> | undefined {
  if (isArrowTable(value)) return withAbsence(arrowRows(value, schema.exact), schema)
  return isColumnFrame(value) ? withAbsence(columnRows(value), schema) : undefined
}

function* columnRows(frame: ColumnFrame): Generator<RecordObject> {
  const columns = Object.entries(frame)
  const length = columns[0]?.[1].length ?? 0
  for (let row = 0; row < length; row++)
    yield Object.fromEntries(columns.map(([name, values]): [string, unknown] => [name, values[row] ?? null]))
}

function* withAbsence(rows: Iterable<RecordObject>, schema: RecordSchema): Generator<RecordObject> {
  for (const row of rows) {
    const absent: RecordObject = {}
    for (const name in row) if (row[name] === null) absent[name] = null
    // A frame has one word for absence, as text formats have: the schema's `fit` knows which of its own goes with it.
    schema.fit(absent, true)
    yield Object.assign(row, absent)
  }
}
