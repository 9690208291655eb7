import type { PartitionMeasures } from "../../core/contracts.ts"
import { SpillwayError } from "../../core/errors.ts"
import type { RecordObject } from "../../core/records.ts"
import type { QualityResult } from "../../ledger/quality.ts"
import { quoteIdentifier } from "../../postgres/quote.ts"
import type { Session } from "../../postgres/session.ts"
import { splitChecks } from "../../quality/gate.ts"
import type { Tally } from "../../ledger/progress.ts"
import type { LoadFacts } from "../run-context.ts"
import type { Target } from "../../postgres/target.ts"

/** Failing rows kept with a result. */
const SAMPLE_LIMIT = 5

type AggregateRow = Readonly<Record<string, number | string | null>>

/** What is judged: the checks of a load over rows of its table. */
export interface GateContext {
  readonly load: Pick<LoadFacts, "kind" | "name" | "checks">
  readonly target: Target
}

export interface JudgedPartition {
  readonly key: string
  readonly tally: Tally
}

/**
 * Judges each staged partition of a group as a whole, before any of it is visible. All aggregates of all checks are
 * computed in one pass over the staged rows. Gives every verdict; the caller holds what failed.
 */
export async function judgeGroup(
  session: Session,
  context: GateContext,
  staging: string,
  partitions: readonly JudgedPartition[],
): Promise<QualityResult[]> {
  const checks = splitChecks(context.load.checks).set
  if (checks.length === 0 || partitions.length === 0) return []
  const column = columnResolver(context)
  const aggregates = checks.map((check) => Object.entries(check.aggregates?.(column) ?? {}))
  const measured = await measure(session, staging, aggregates)
  const results: QualityResult[] = []
  for (const { key, tally } of partitions) {
    for (const [n, check] of checks.entries()) {
      const own = Object.fromEntries(
        (aggregates[n] ?? []).map(([name], a) => [
          name,
          measured.get(key)?.[`a${n}_${a}`] ?? (name.startsWith("count") ? 0 : null),
        ]),
      )
      const failing =
        check.failingRows === undefined
          ? undefined
          : await failingRows(session, staging, key, check.failingRows(), check.name)
      const verdict = check.judge(measuresOf(tally, own, failing))
      const samples =
        failing?.samples ??
        (verdict.passed || check.failingWhere === undefined
          ? []
          : await sample(session, staging, key, check.failingWhere(column)))
      results.push({ partition: key, check: check.name, severity: check.severity, samples, ...verdict })
    }
  }
  return results
}

const measuresOf = (
  { read, staged, filtered, deadLettered }: Tally,
  aggregates: AggregateRow,
  failing: PartitionMeasures["failing"],
): PartitionMeasures => ({
  ...{ read, staged, filtered, deadLettered },
  aggregates,
  failing,
})

function columnResolver(context: GateContext): (property: string) => string {
  const names = new Map(context.target.columns.map((column) => [column.property, column.name]))
  return (property) => {
    const name = names.get(property)
    if (name === undefined)
      throw new SpillwayError(
        "CONFIG",
        `a check of ${context.load.kind} "${context.load.name}" names "${property}", which its rows do not have`,
        {
          hint: `it has ${[...names.keys()].join(", ")}`,
        },
      )
    return quoteIdentifier(name)
  }
}

async function measure(
  session: Session,
  staging: string,
  aggregates: readonly (readonly [string, string][])[],
): Promise<Map<string, AggregateRow>> {
  const selected = aggregates.flatMap((own, n) => own.map(([, expression], a) => `${expression} AS a${n}_${a}`))
  if (selected.length === 0) return new Map()
  const { rows } = await session.query<AggregateRow & { source: string }>(
    `SELECT _source AS source, ${selected.join(", ")} FROM ${staging} GROUP BY 1`,
  )
  return new Map(rows.map((row) => [row.source, row]))
}

async function sample(session: Session, staging: string, key: string, where: string): Promise<RecordObject[]> {
  const { rows } = await session.query<{ row: RecordObject }>(
    `WITH staged AS (SELECT * FROM ${staging} WHERE _source = $1)
     SELECT to_jsonb(s) - '_run_id' - '_seq' AS row FROM staged s WHERE (${where}) ORDER BY _seq LIMIT ${SAMPLE_LIMIT}`,
    [key],
  )
  return rows.map((row) => row.row)
}

async function failingRows(
  session: Session,
  staging: string,
  key: string,
  query: string,
  name: string,
): Promise<NonNullable<PartitionMeasures["failing"]>> {
  // The user's query sees this partition's rows, under this name, and can write nothing: a subquery takes no data-modifying statement.
  try {
    const { rows } = await session.query<{ n: string; samples: RecordObject[] | null }>(
      `WITH staged AS (SELECT * FROM ${staging} WHERE _source = $1), failing AS (SELECT * FROM (${query}) q)
       SELECT count(*) AS n, (SELECT jsonb_agg(to_jsonb(f)) FROM (SELECT * FROM failing LIMIT ${SAMPLE_LIMIT}) f) AS samples FROM failing`,
      [key],
    )
    return { count: Number(rows[0]?.n), samples: rows[0]?.samples ?? [] }
  } catch (error) {
    if (error instanceof SpillwayError && error.code === "CONFIG")
      throw new SpillwayError("CONFIG", `the check "${name}" does not run: ${error.message}`, {
        cause: error,
        hint: "its query reads the relation staged",
      })
    throw error
  }
}
