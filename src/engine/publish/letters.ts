import { commitLetters, supersedeLetters } from "../../ledger/dead-letters.ts"
import type { Session } from "../../postgres/session.ts"
import type { Group, RunContext } from "../run-context.ts"
import { unbalanced } from "./outcome.ts"

/** Makes the staged dead letters of a group final, and supersedes those that a new reading does not bring up again. Throws `CONSERVATION`. */
export async function writeLetters(session: Session, context: RunContext, group: Group): Promise<void> {
  const { load, runId, correlationId } = context
  const staged = group.members.filter((member) => member.tally.deadLettered > 0)
  if (staged.length > 0) {
    const { rows } = await session.query<{ no: number; n: string }>(
      `SELECT partition_no AS no, count(*) AS n FROM ops_staging.dead_letters WHERE run_id = $1 AND partition_no = ANY($2::int[]) GROUP BY 1`,
      [runId, staged.map((member) => member.partitionNo)],
    )
    const found = new Map(rows.map((row) => [row.no, Number(row.n)]))
    for (const member of staged)
      if (found.get(member.partitionNo) !== member.tally.deadLettered)
        throw unbalanced(
          member,
          `${member.tally.deadLettered} dead letters were counted, ${found.get(member.partitionNo) ?? 0} are staged`,
        )
    await commitLetters(
      session,
      { pipeline: load.name, runId, correlationId, schemaVersion: load.definitionVersion },
      new Map(staged.map(({ partitionNo, plan }) => [partitionNo, { key: plan.partition.key, seq: plan.seq }])),
    )
  }
  // Only a partition that was read before can have letters that its new reading no longer brings up.
  const again = group.members.filter((member) => member.complete && member.plan.reason !== "new")
  if (again.length > 0)
    await supersedeLetters(
      session,
      load.name,
      runId,
      new Map(again.map(({ partitionNo, plan: { partition } }) => [partitionNo, partition])),
    )
}
