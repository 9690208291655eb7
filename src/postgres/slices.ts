import type { PublishRequest } from "./publish-sql.ts"
import type { Session } from "./session.ts"

/** Distinct values of each tracked expression in the relation that `from` writes down for the aliases `s` and `t`. */
export async function slices(
  session: Session,
  tracked: PublishRequest["tracked"],
  from: (ofStaging: string, ofTarget: string) => string,
  values?: readonly unknown[],
): Promise<{ by: string; value: string }[]> {
  const found: { by: string; value: string }[] = []
  for (const { by, expression } of tracked) {
    const { rows } = await session.query<{ value: string | null }>(
      `SELECT DISTINCT value FROM (${from(expression.replaceAll("$row", "s"), expression.replaceAll("$row", "t"))}) v`,
      values,
    )
    for (const row of rows) if (row.value !== null) found.push({ by, value: row.value })
  }
  return found
}
