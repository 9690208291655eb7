import type { Session } from "../postgres/session.ts"

/** Months of a pipeline that `ops.processed_months` lists as completed. Who deletes rows there wants those months done again. */
export async function completedMonths(session: Session, pipeline: string): Promise<Set<string>> {
  const { rows } = await session.query<{ month_key: string }>(
    `SELECT month_key FROM ops.processed_months WHERE pipeline_name = $1 AND status = 'completed'`,
    [pipeline],
  )
  return new Set(rows.map((row) => row.month_key))
}

/** Dates beyond the year 9999 make keys that are no months of the table. */
const MONTH_KEY = /^\d{4}-\d{2}$/

/** Writes what became of months, in the transaction that writes `ops.processed_partitions`. */
export async function recordMonths(
  session: Session,
  pipeline: string,
  outcomes: readonly { readonly key: string; readonly status: "in_progress" | "completed" | "failed" }[],
): Promise<void> {
  const months = outcomes.filter(({ key }) => MONTH_KEY.test(key))
  if (months.length === 0) return
  await session.query(
    `INSERT INTO ops.processed_months AS m (pipeline_name, month_key, year, month, status)
     SELECT $1, v.key, split_part(v.key, '-', 1)::integer, split_part(v.key, '-', 2)::integer, v.status
     FROM unnest($2::text[], $3::text[]) v(key, status)
     ON CONFLICT (pipeline_name, month_key) DO UPDATE SET status = excluded.status, updated_at = now(),
       processed_at = CASE excluded.status WHEN 'in_progress' THEN m.processed_at ELSE now() END`,
    [pipeline, months.map((month) => month.key), months.map((month) => month.status)],
  )
}
