import { settleHolders } from "../engine/leasing.ts"
import { forgetPartitions } from "../ledger/reset.ts"
import { plural } from "../observability/wording.ts"
import type { Database } from "../postgres/session.ts"
import { partitionNoun } from "./choose-pipelines.ts"
import { confirm } from "./confirm.ts"
import { inSession } from "./database.ts"
import type { Host } from "./host.ts"
import type { RunPlan } from "./run-plan.ts"

/** `13 partitions of fact_sales_monthly, 305 files of retail_transactions`. */
export const whatIsReset = (plans: readonly RunPlan[]): string =>
  plans
    .map(({ runnable, partitions }) => `${plural(partitions.length, partitionNoun(runnable))} of ${runnable.name}`)
    .join(", ")

/**
 * Forgets that the partitions of the plans were processed, after asking on a terminal; false when the answer was no. Throws
 * `CONFIG` where nobody can be asked, `LEASE_HELD` while somebody works on one of them.
 */
export async function resetFirst(
  host: Host,
  database: Database,
  plans: readonly RunPlan[],
  how: { readonly words: string; readonly yes: boolean },
): Promise<boolean> {
  const question = `Forget ${whatIsReset(plans)} (${how.words}), and process them again?`
  if (!how.yes && !(await confirm(host, question))) return false
  await inSession(database, async (session) => {
    for (const part of new Set(plans.flatMap((plan) => plan.partitions.map((partition) => partition.part)))) {
      const keys = plans.flatMap(({ partitions }) => partitions.filter((p) => p.part === part).map(({ key }) => key))
      await settleHolders(session, host.ports.clock, part, "", new AbortController().signal)
      await forgetPartitions(session, part, keys)
    }
  })
  return true
}
