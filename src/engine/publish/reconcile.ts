import { SpillwayError } from "../../core/errors.ts"
import { quoteIdentifier } from "../../postgres/quote.ts"
import type { PublishResult } from "../../postgres/publish-counts.ts"
import type { Session } from "../../postgres/session.ts"
import { qualifiedName, type Target } from "../../postgres/target.ts"
import type { GroupMember, RunContext } from "../run-context.ts"

/** SQL for the sum of a column, as `numeric`. Of floating numbers each is taken exactly, so that their order says nothing. */
export function sumOf({ columns }: Pick<Target, "columns">, name: string): string {
  const type = columns.find((column) => column.name === name)?.type
  const column = quoteIdentifier(name)
  return type === "double precision" || type === "real" || type === "float8" || type === "float4"
    ? `coalesce(sum(${column}::numeric), 0)`
    : `coalesce(sum(${column}), 0)::numeric`
}

/**
 * Checks, inside the publishing transaction, that the table has of each partition exactly what was built: as many rows, with
 * the declared sums. A key that a query gives twice, or that another partition has, is the model's fault and is refused.
 */
export async function requireBuilt(
  session: Session,
  { load, target }: RunContext,
  published: readonly GroupMember[],
  { counts }: PublishResult,
): Promise<void> {
  if (load.kind !== "model" || published.length === 0) return
  for (const member of published) {
    const { key } = member.plan.partition
    const of = counts.get(key)
    if (of !== undefined && of.duplicate + of.superseded > 0)
      throw new SpillwayError(
        "DB_CONSTRAINT",
        `${of.duplicate + of.superseded} rows of ${key} have a key (${target.key.join(", ")}) that another row has`,
        {
          where: `model ${load.name}, ${key}`,
          hint: "a key must occur once, in one partition: group by it, and let it contain what the model is divided by",
        },
      )
  }
  const summed = Object.keys(published[0]?.built?.sums ?? {})
  const { rows } = await session.query<Record<string, string | null> & { source: string; rows: string }>(
    `SELECT _source AS source, count(*) AS rows ${summed.map((name, i) => `, (${sumOf(target, name)})::text AS sum_${i}`).join("")}
     FROM ${qualifiedName(target)} WHERE _source = ANY($1::text[]) GROUP BY 1`,
    [published.map((member) => member.plan.partition.key)],
  )
  const found = new Map(rows.map((row) => [row.source, row]))
  for (const member of published) {
    const { key } = member.plan.partition
    const there = Number(found.get(key)?.rows ?? 0)
    if (there !== member.tally.staged)
      throw unreconciled(load.name, key, `${member.tally.staged} rows were built, the table has ${there}`)
    for (const [i, name] of summed.entries()) {
      const sum = found.get(key)?.[`sum_${i}`] ?? "0"
      const built = member.built?.sums[name] ?? "0"
      if (there > 0 && !sameNumber(sum, built))
        throw unreconciled(load.name, key, `${name} was built as ${built}, the table sums to ${sum}`)
    }
  }
}

/** Exact decimals that may be written with more or fewer zeros behind the point. */
const sameNumber = (a: string, b: string): boolean => plain(a) === plain(b)
const plain = (text: string): string => (text.includes(".") ? text.replace(/\.?0+$/, "") : text)

const unreconciled = (model: string, key: string, message: string): SpillwayError =>
  new SpillwayError("CONSERVATION", `${key}: ${message}`, {
    where: `model ${model}, ${key}`,
    hint: "nothing was published; a trigger or rule on the table that drops or changes rows would explain it. Please report it otherwise",
  })
