import type { Schedule } from "../core/schedule.ts"
import { decideSchedule, hasOpenTick, insertTicks, lockSchedule, type TickDecision } from "../ledger/schedules.ts"
import { insertLogs } from "../ledger/logs.ts"
import type { Session } from "../postgres/session.ts"
import { nextTick, ticksBetween } from "./cron.ts"
import { workerLogLine } from "./events.ts"
import type { WorkerContext } from "./worker-context.ts"

/** A tick that is older when it is decided on was missed: nobody was there for it. */
export const MISSED_AFTER_MS = 60_000
/** More missed ticks than this are not told one by one, nor run under `all`. */
const TICKS_AT_ONCE = 1_000
/** When another worker is deciding, or a tick is far away, the schedule is looked at again after this. */
const LOOK_AGAIN_MS = 1_000
const LOOK_AT_LEAST_EVERY_MS = 15_000

export interface TickPlan {
  readonly tick: number
  readonly status: TickDecision
}

/**
 * What becomes of ticks, ascending, that are due at `now`. While an earlier one is `open` (queued or running) all of them
 * are coalesced into it; otherwise the schedule's policy says which are run.
 */
export function decideTicks(
  catchUp: Schedule["catchUp"],
  ticks: readonly number[],
  now: number,
  open: boolean,
): TickPlan[] {
  if (open) return ticks.map((tick) => ({ tick, status: "coalesced" }))
  if (catchUp === "all") return ticks.map((tick) => ({ tick, status: "queued" }))
  const last = ticks.at(-1)
  return ticks.map((tick) => {
    const run = tick === last && (catchUp === "latest" || now - tick <= MISSED_AFTER_MS)
    return { tick, status: run ? "queued" : "skipped" }
  })
}

/**
 * Decides on the ticks of all schedules. Every worker may; the schedule's row, locked until the decision and its job are
 * committed, sees to it that each tick is decided on once.
 */
export class TickWatch {
  readonly #context: WorkerContext
  readonly #schedules: readonly { readonly pipeline: string; readonly schedule: Schedule }[]
  /** When each has to be looked at again. */
  readonly #lookAt = new Map<string, number>()

  constructor(context: WorkerContext) {
    this.#context = context
    this.#schedules = context.workload.items.flatMap(({ name, schedule }) =>
      schedule === undefined ? [] : [{ pipeline: name, schedule }],
    )
  }

  /** Looks at what is due; gives how long it may take until the next look, in milliseconds. */
  async look(): Promise<number> {
    const { clock } = this.#context.ports
    for (const { pipeline, schedule } of this.#schedules) {
      const now = clock.now()
      if ((this.#lookAt.get(pipeline) ?? 0) > now) continue
      const decided = await this.#decide(pipeline, schedule, now)
      const next = decided ? (nextTick(schedule, now) ?? Infinity) : now + LOOK_AGAIN_MS
      this.#lookAt.set(pipeline, next)
    }
    const soonest = Math.min(...this.#lookAt.values(), Infinity) - clock.now()
    return Math.max(0, Math.min(soonest, LOOK_AT_LEAST_EVERY_MS))
  }

  /** False while another worker is at it. */
  async #decide(pipeline: string, schedule: Schedule, now: number): Promise<boolean> {
    const { ledger, queue, emit } = this.#context
    await queue.prepare(pipeline)
    const plan = await ledger.transaction("deciding on a schedule", async (session) => {
      const row = { pipeline, ...schedule }
      const since = await lockSchedule(session, row, now)
      if (since === undefined) return undefined
      const open = await hasOpenTick(session, pipeline)
      const ticks = ticksBetween(schedule, since, now, TICKS_AT_ONCE)
      const decided = decideTicks(schedule.catchUp, ticks, now, open)
      await this.#write(session, pipeline, decided)
      // Also for what was open before: its job may have been lost with the worker that had it.
      if (open || decided.some(({ status }) => status === "queued"))
        await queue.add(session, pipeline, [{ kind: "ticks" }])
      await decideSchedule(session, row, Math.max(since, now))
      return decided
    })
    for (const { tick, status } of plan ?? []) emit({ type: "tick.decided", pipeline, tick, decision: status })
    return plan !== undefined
  }

  async #write(session: Session, pipeline: string, plan: readonly TickPlan[]): Promise<void> {
    if (plan.length === 0) return
    await insertTicks(session, pipeline, plan)
    const lines = plan.map(({ tick, status }) =>
      workerLogLine(this.#context.stamp({ type: "tick.decided", pipeline, tick, decision: status })),
    )
    await insertLogs(session, lines)
  }
}
