import type { SourcePartition } from "../core/contracts.ts"
import type { PartitionReason } from "../core/events.ts"
import type { LedgerPartition } from "../ledger/partitions.ts"
import type { StagedProgress } from "../ledger/progress.ts"

/** A partition that this run is to do. */
export interface PlannedPartition {
  readonly partition: SourcePartition
  readonly reason: PartitionReason
  readonly detail: string | undefined
  /** Its number, from which `_seq` starts: that of the same version before, or a new one. */
  readonly seq: number
  readonly epoch: number
  /** Its earlier rows are in the table. */
  readonly replaces: boolean
}

/** Why a partition is to be done, or `unchanged`. */
export function reasonFor(
  partition: SourcePartition,
  known: LedgerPartition | undefined,
  options: { full: boolean; runId: string | undefined },
): PartitionReason {
  if (known === undefined) return "new"
  // Its version tells the reading, not the content: it was read in this run.
  const isReading = partition.after !== undefined || partition.keepsRows === true
  if (isReading && options.full && known.status === "completed" && known.runId === options.runId) return "unchanged"
  if (known.status === "held") return "held-before"
  if (known.status === "failed" || known.status === "in_progress") return "failed-before"
  if (known.version !== partition.version) return "changed"
  // A resumed full read does not read again what an earlier attempt of the same run has published.
  if (options.full && known.runId !== options.runId) return "full"
  return "unchanged"
}

const GROUP_PARTITIONS = 100

/**
 * Divides what is to be done into groups that are staged in one table and published in one transaction: small partitions
 * together, in order. What an earlier attempt has staged keeps its group. With `whole`, everything is one group.
 */
export function divide(
  planned: readonly PlannedPartition[],
  progress: readonly StagedProgress[],
  options: { whole: boolean; firstGroup: number; groupBytes: number },
): { groupNo: number; planned: PlannedPartition[] }[] {
  const staged = new Map(progress.map((p) => [p.key, p]))
  const groups: { groupNo: number; planned: PlannedPartition[]; bytes: number; resumed: boolean }[] = []
  let next = options.firstGroup
  const resumable = planned.filter((p) => staged.has(p.partition.key))
  const fresh = planned.filter((p) => !staged.has(p.partition.key))
  for (const plan of resumable) {
    const groupNo = staged.get(plan.partition.key)?.groupNo ?? next
    const last = groups.at(-1)
    if (last !== undefined && (last.groupNo === groupNo || options.whole)) last.planned.push(plan)
    else groups.push({ groupNo, planned: [plan], bytes: 0, resumed: true })
  }
  for (const plan of fresh) {
    const bytes = plan.partition.bytes ?? options.groupBytes
    const last = groups.at(-1)
    const fits =
      last !== undefined &&
      !last.resumed &&
      last.bytes + bytes <= options.groupBytes &&
      last.planned.length < GROUP_PARTITIONS
    if (last !== undefined && (options.whole || fits)) {
      last.planned.push(plan)
      last.bytes += bytes
    } else groups.push({ groupNo: next++, planned: [plan], bytes, resumed: false })
  }
  return groups.map(({ groupNo, planned: members }) => ({ groupNo, planned: members }))
}
