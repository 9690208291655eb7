import { usageError } from "./errors.ts"
import type { Workload } from "../scheduler/workload.ts"
import type { Host } from "./host.ts"

const DEFAULT_CONCURRENCY = 2
const MOST = 1_000

/**
 * How many jobs a worker takes at a time: `--concurrency`, and no more than `--max-connections` has room for. Throws
 * `CONFIG` when it has not even room for one.
 */
export async function concurrencyFrom(
  host: Pick<Host, "output">,
  workload: Pick<Workload, "connectionsPerRun">,
  flags: { readonly concurrency?: string; readonly maxConnections?: string },
): Promise<number> {
  const wanted = flags.concurrency === undefined ? DEFAULT_CONCURRENCY : whole("--concurrency", flags.concurrency)
  if (flags.maxConnections === undefined) return wanted
  const { concurrencyWithin, connectionsOf } = await import("../scheduler/worker.ts")
  const allowed = concurrencyWithin(workload, whole("--max-connections", flags.maxConnections))
  if (allowed === 0)
    throw usageError(
      `--max-connections ${flags.maxConnections} is not enough for one partition at a time`,
      `give at least ${connectionsOf(workload, 1)}`,
    )
  if (allowed < wanted && flags.concurrency !== undefined)
    host.output.warn(
      `--max-connections ${flags.maxConnections} has room for ${allowed} at a time, so that --concurrency is ${allowed}`,
    )
  return Math.min(wanted, allowed)
}

function whole(flag: string, text: string): number {
  const value = Number(text)
  if (/^\d+$/.test(text) && value >= 1 && value <= MOST) return value
  throw usageError(`${flag} ${text} is not a number from 1 to ${MOST}`, `write ${flag} 4`)
}
