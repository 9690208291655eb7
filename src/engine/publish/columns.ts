import type { Column } from "../../core/contracts.ts"
import { addToTarget, keepFilled, lacking, noteColumns } from "../../postgres/evolve.ts"
import { lockTarget } from "../../postgres/publish.ts"
import { qualifiedName } from "../../postgres/target.ts"
import type { Session } from "../../postgres/session.ts"
import type { Connection } from "../connection.ts"
import { stagingTable, StagingOutdated, type Group, type RunContext } from "../run-context.ts"

/** Columns of a group that no earlier run has added to the table. */
const freshOf = (context: RunContext, group: Group): Column[] => {
  const known = new Set(context.target.columns.map(({ name }) => name))
  return group.target.columns.filter(({ name }) => !known.has(name))
}

/**
 * Adds to the table the new columns that the partitions about to be published fill, in a short transaction of its own: a
 * publish may take long, and readers wait for whoever alters a table. A column that only held partitions fill is left out.
 */
export async function addNewColumns(context: RunContext, connection: Connection, group: Group): Promise<void> {
  // What an earlier group of this run has added is there.
  const fresh = freshOf(context, group).filter(({ name }) => !context.newColumns.some(({ column }) => column === name))
  const sources = group.members.filter(({ heldBy }) => heldBy === undefined).map(({ plan }) => plan.partition.key)
  if (fresh.length === 0 || sources.length === 0) return
  const { load, target } = context
  const staging = stagingTable(context.runNo, group.number)
  const filled = await connection.retrying("adding columns", (session) =>
    session.transaction(async () => {
      const kept = await keepFilled(session, staging, fresh, sources)
      if (kept.length === 0) return kept
      await lockTarget(session, target)
      if ((await lacking(session, target, kept)) !== undefined) await addToTarget(session, target, load.name, kept)
      return kept
    }),
  )
  const left = new Set(filled.map(({ name }) => name))
  group.target = {
    ...group.target,
    columns: group.target.columns.filter((column) => !fresh.includes(column) || left.has(column.name)),
  }
}

/**
 * Looks, once the table is locked, whether it has the new columns as they are staged. Throws `StagingOutdated` when it does not:
 * another run has added one of them with another type, or made the table meanwhile.
 */
export async function requireNewColumns(session: Session, context: RunContext, group: Group): Promise<void> {
  const fresh = freshOf(context, group)
  if (fresh.length === 0) return
  const [other] = (await lacking(session, context.target, fresh)) ?? []
  if (other !== undefined) throw new StagingOutdated(`another run has added the new column "${other.name}"`)
}

/** Notes the new columns at a table that was made with them. */
export async function noteNewColumns(session: Session, context: RunContext, group: Group): Promise<void> {
  const fresh = freshOf(context, group)
  if (fresh.length > 0) await noteColumns(session, qualifiedName(context.target), context.load.name, fresh)
}

/** Says of each new column, once in a run, what it was loaded into. */
export function tellNewColumns(context: RunContext, group: Group): void {
  const { newColumns, load, emit } = context
  for (const { property, name, type } of freshOf(context, group)) {
    if (newColumns.some((told) => told.property === property)) continue
    newColumns.push({ property, column: name, type })
    emit({
      type: "warning",
      code: "SCHEMA_DRIFT",
      partition: undefined,
      message: `${JSON.stringify(property)} is not in the schema of "${load.name}": it is loaded into the new column "${name}" (${type}) of ${load.table}`,
      hint: "add it to the schema to validate it; until then a value that does not fit the column sets its record aside",
    })
  }
}
