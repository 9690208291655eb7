import type { Migration } from "../../postgres/migrate.ts"

/** What tells whether a letter came after a decision on its group, also where both were on their way at once. */
export const groupEvidence: Migration = {
  number: 4,
  name: "group-evidence",
  sql: /* sql */ `
-- The transaction that set the letter aside. Times do not tell: now() is when a transaction began, not when it committed.
ALTER TABLE ops.dead_letters ADD COLUMN seen_in xid8 NOT NULL DEFAULT pg_current_xact_id();
-- What was to be seen when the state was set.
ALTER TABLE ops.dead_letter_groups ADD COLUMN snapshot pg_snapshot;
`,
}
