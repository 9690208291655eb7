import type { Session } from "../postgres/session.ts"

export interface Touch {
  /** What the table is sliced by: `month(invoice_date)`. */
  readonly by: string
  readonly value: string
}

/** Records which slices of a table this transaction touched, under its transaction id. */
export async function recordTouches(
  session: Session,
  runId: string,
  table: string,
  touches: readonly Touch[],
): Promise<void> {
  if (touches.length === 0) return
  await session.query(
    `INSERT INTO ops.touched_partitions (table_name, partition_by, partition_value, run_id)
     SELECT $1, v.by, v.value, $2 FROM jsonb_to_recordset($3) v(by text, value text)`,
    [table, runId, JSON.stringify(touches)],
  )
}
