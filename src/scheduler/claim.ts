import { SpillwayError } from "../core/errors.ts"
import type { Job } from "./queue.ts"
import type { WorkerContext } from "./worker-context.ts"

/** Three times in the time after which an untouched claim ends. */
const TOUCH_EVERY_MS = 3_000

/** A job's claim while it is carried out. */
export interface Claim {
  /** Aborted when the worker is to stop, and when the claim was lost. */
  readonly signal: AbortSignal
  readonly lost: boolean
  /** Lets it be touched no more. */
  release(): Promise<void>
}

/** Touches the job until released; `alongside` is done with each touch. */
export function keepClaim(context: WorkerContext, job: Job, alongside: () => Promise<void>): Claim {
  const stop = new AbortController()
  let lost = false
  let touching: Promise<void> | undefined
  const touch = async (): Promise<void> => {
    try {
      if (await context.queue.touch(job)) return await alongside()
      lost = true
      stop.abort(
        new SpillwayError("LEASE_LOST", "the job's claim has ended: another worker has it", {
          where: `pipeline ${job.pipeline}`,
          hint: "nothing is lost: the other worker goes on with it",
        }),
      )
    } catch {
      // A database that is away gives the job to nobody else either; the next touch tries again.
    }
  }
  const end = context.ports.clock.every(TOUCH_EVERY_MS, () => {
    touching ??= touch().finally(() => (touching = undefined))
  })
  return {
    signal: AbortSignal.any([context.signal, stop.signal]),
    get lost() {
      return lost
    },
    release: async () => {
      end()
      await touching
    },
  }
}
