import type { PartitionReason } from "../core/events.ts"
import { systemPorts, type Ports } from "../core/ports.ts"
import { knownPartitions } from "../ledger/partitions.ts"
import { database as databaseOf, type Database, type Session } from "../postgres/session.ts"
import { loadOf } from "./load-of.ts"
import { partsOf, type Runnable } from "./project.ts"

export interface PlanOptions {
  database: Database | string
  /** Relative paths start here. Default: the working directory. */
  directory?: string
  ports?: Ports
  /** As if everything were to be done again. */
  full?: boolean
  /** Counts the rows that a model's partitions would be built from, which looks at all of them. */
  countRows?: boolean
  signal?: AbortSignal
}

/** A partition and what the next run would do about it. */
export interface PartitionPlan {
  /** The pipeline or model that has it: the runnable itself, or one of its stages. */
  readonly part: string
  readonly key: string
  /** `unchanged`: it is done, nothing is to be done about it. */
  readonly reason: PartitionReason
  readonly detail: string | undefined
  /** Rows that it would be built from; undefined for a pipeline's, and unless they were asked for. */
  readonly rows: number | undefined
}

/** The partitions of a runnable, of each of its stages in turn, without writing anything. */
export async function planPartitions(runnable: Runnable, options: PlanOptions): Promise<PartitionPlan[]> {
  const database = typeof options.database === "string" ? databaseOf(options.database) : options.database
  const session = await database.connect()
  try {
    const plans: PartitionPlan[] = []
    for (const part of partsOf(runnable)) plans.push(...(await planPart(session, part, options)))
    return plans
  } finally {
    await session.end()
  }
}

/** The same of one part, over a session that is there. */
export async function planPart(
  session: Session,
  part: Exclude<Runnable, { kind: "stages" }>,
  options: Omit<PlanOptions, "database">,
): Promise<PartitionPlan[]> {
  const ports = options.ports ?? systemPorts
  const load = await loadOf(part, ports)
  const known = await knownPartitions(session, part.name)
  const listed = await load.list(session, known, {
    ports,
    directory: options.directory ?? process.cwd(),
    signal: options.signal ?? new AbortController().signal,
    readOnly: true,
    full: options.full ?? false,
  })
  const reasons = await load.reasons(session, listed, known, { full: options.full ?? false, runId: undefined })
  const rows = options.countRows === true ? await load.countRows(session) : undefined
  return listed.map(({ key }) => ({
    part: part.name,
    key,
    reason: reasons.get(key)?.reason ?? "unchanged",
    detail: reasons.get(key)?.detail,
    rows: rows === undefined ? undefined : (rows.get(key) ?? 0),
  }))
}
