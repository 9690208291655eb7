import type { BudgetNote } from "../core/breakers.ts"
import type { Session } from "../postgres/session.ts"

/** Puts down how a host's budget for retries stands, in place of what was there. */
export async function writeBudget(session: Session, name: string, note: BudgetNote): Promise<void> {
  await session.query(
    `INSERT INTO ops.retry_budgets (name, available, reserve, capacity) VALUES ($1, $2, $3, $4)
     ON CONFLICT (name) DO UPDATE SET available = excluded.available, reserve = excluded.reserve,
       capacity = excluded.capacity, updated_at = clock_timestamp()`,
    [name, note.available, note.reserve, note.capacity],
  )
}

/** A host's budget for retries as people look at it. */
export interface ListedBudget extends BudgetNote {
  readonly name: string
  readonly updatedAt: Date
}

/** All budgets that runs have put down, those with the least left first. */
export async function listBudgets(session: Session): Promise<ListedBudget[]> {
  const { rows } = await session.query<{
    name: string
    available: number
    reserve: number
    capacity: number
    updated_at: Date
  }>("SELECT * FROM ops.retry_budgets ORDER BY available, name")
  return rows.map(({ updated_at: updatedAt, name, available, reserve, capacity }) => ({
    name,
    available,
    reserve,
    capacity,
    updatedAt,
  }))
}
