import type { Migration } from "../../postgres/migrate.ts"

/** How the budgets for retries stand, beside the breakers of the same hosts. */
export const retryBudgets: Migration = {
  number: 5,
  name: "retry-budgets",
  sql: /* sql */ `
-- For people to look at: each process counts for itself, and whoever drew on one last, or read to the end last, has written it.
CREATE TABLE ops.retry_budgets (
  name text PRIMARY KEY,
  available double precision NOT NULL,
  reserve double precision NOT NULL,
  capacity double precision NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now()
);
`,
}
