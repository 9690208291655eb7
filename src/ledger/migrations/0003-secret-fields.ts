import type { Migration } from "../../postgres/migrate.ts"

/** Which fields of letters are not shown. */
export const secretFields: Migration = {
  number: 3,
  name: "secret-fields",
  sql: /* sql */ `
CREATE TABLE ops.secret_fields (
  pipeline_name varchar(100) PRIMARY KEY,
  -- As its definition says now: paths such as card, user.pin, items[].token.
  fields text[] NOT NULL
);
`,
}
