import { reportedError, SpillwayError } from "../../core/errors.ts"
import { addCounts, imbalance, zeroCounts, type Counts } from "../../core/events.ts"
import type { PartitionOutcome } from "../../ledger/partitions.ts"
import { addNumbers } from "../../ledger/progress.ts"
import type { PublishResult } from "../../postgres/publish-counts.ts"
import type { Group, GroupMember, RunningTotals } from "../run-context.ts"

/** Where everything is published or nothing: one that is held holds the others. */
export function holdAllWithOne(members: readonly GroupMember[]): void {
  const first = members.find((member) => member.heldBy !== undefined)
  if (first?.heldBy === undefined) return
  for (const member of members)
    member.heldBy ??= new SpillwayError(
      "QUALITY_GATE",
      `held together with ${first.plan.partition.key}: ${first.heldBy.message}`,
      {
        where: member.plan.partition.key,
        hint: 'it publishes all or nothing (publish: "run")',
      },
    )
}

/** What became of the records of a partition. */
export function countsOf(member: GroupMember, rows: PublishResult): Counts {
  const { read, expanded, filtered, deadLettered } = member.tally
  return { ...zeroCounts(), ...rows.counts.get(member.plan.partition.key), read, expanded, filtered, deadLettered }
}

export const unbalanced = (member: GroupMember, message: string): SpillwayError =>
  new SpillwayError("CONSERVATION", `${member.plan.partition.key}: ${message}`, {
    where: member.plan.partition.key,
    hint: "nothing of it was published; please report this with the run's log",
  })

/** Each record read is accounted for. Throws `CONSERVATION`. */
export function requireBalance(member: GroupMember, counts: Counts): void {
  const off = imbalance(counts)
  if (off !== 0)
    throw unbalanced(member, `${counts.read} records read, ${off} of them unaccounted for: ${JSON.stringify(counts)}`)
}

/** The totals of the run when this group is published. */
export function nextTotals(before: RunningTotals, group: Group, counts: ReadonlyMap<string, Counts>): RunningTotals {
  const totals: RunningTotals = { ...before, counts: { ...before.counts }, held: [...before.held] }
  for (const member of group.members) {
    const partition = member.plan.partition.key
    totals.codes = addNumbers(totals.codes, member.tally.codes)
    totals.nulls = addNumbers(totals.nulls, member.tally.nulls)
    if (member.heldBy === undefined) {
      totals.published++
      addCounts(totals.counts, counts.get(partition) ?? zeroCounts())
    } else {
      const { read, deadLettered } = member.tally
      totals.held.push({ partition, ...reportedError(member.heldBy), read, deadLettered })
    }
  }
  return totals
}

/** What the ledger keeps of a partition. */
export function outcomeOf(member: GroupMember, counts: Counts): PartitionOutcome {
  const { partition, seq, epoch } = member.plan
  const error = member.heldBy
  return {
    key: partition.key,
    status: error === undefined ? "completed" : "held",
    version: partition.version,
    seq,
    epoch,
    bytes: partition.bytes,
    stamp: partition.stamp,
    state: member.state,
    counts,
    snapshot: member.built?.snapshot,
    error: error === undefined ? undefined : { code: error.code, message: error.message, hint: error.hint },
  }
}
