import { hostname } from "node:os"
import { SpillwayError, systemCode } from "../core/errors.ts"
import type { Clock } from "../core/clock.ts"
import { endConnections, heldLeases, releaseLeases, renewLeases, takeLeases, type HeldLease } from "../ledger/leases.ts"
import { ownsRun } from "../ledger/runs.ts"
import type { Session } from "../postgres/session.ts"
import type { Connection } from "./connection.ts"

/** How often a waiting run looks whether leases have become free. */
const WAIT_POLL_MS = 1_000

/** So long a killed process's connections are waited for, and how often they are looked for. */
const LEAVING_MS = 10_000
const LEAVING_POLL_MS = 50

export interface Acquired {
  readonly epochs: ReadonlyMap<string, number>
  /** Leases that others hold. */
  readonly busy: readonly HeldLease[]
}

type Standing = "busy" | "lost" | "take-over"

/**
 * What may be done about another holder's lease. Taken over: one that expired (whoever holds it is ended first), or whose
 * process on this machine is gone with its connections. `lost`: no connection, but it may still come back until it expires.
 */
function standing(lease: HeldLease): Standing {
  if (lease.expired) return "take-over"
  if (lease.connected) return "busy"
  return isGone(lease) ? "take-over" : "lost"
}

const isGone = (lease: HeldLease): boolean => lease.host === hostname() && !isAlive(lease.processId)

function isAlive(processId: number): boolean {
  try {
    process.kill(processId, 0)
    return true
  } catch (error) {
    return systemCode(error) === "EPERM"
  }
}

/**
 * Gives back every lease whose holder cannot be at work any more, also of partitions that are not to be done now. The
 * connections of a killed process outlive it for as long as the server is busy with its last statement: that is waited for.
 */
export async function settleHolders(
  session: Session,
  clock: Clock,
  pipeline: string,
  self: string,
  signal: AbortSignal,
): Promise<void> {
  const deadline = clock.monotonic() + LEAVING_MS
  for (;;) {
    const held = await heldLeases(session, pipeline, undefined, self)
    const over = held.filter((lease) => !lease.connected && standing(lease) === "take-over")
    for (const holder of new Set(over.map((lease) => lease.holder))) await releaseLeases(session, holder)
    const leaving = held.some((lease) => lease.connected && !lease.expired && isGone(lease))
    if (!leaving || clock.monotonic() > deadline) return
    await clock.sleep(LEAVING_POLL_MS, signal)
  }
}

export interface AcquireRequest {
  readonly pipeline: string
  readonly keys: readonly string[]
  readonly holder: string
  readonly leaseMs: number
}

/** Takes every lease that can be had now. Waits only for holders that are out of touch, until their leases expire. */
export async function acquireLeases(
  session: Session,
  clock: Clock,
  request: AcquireRequest,
  signal: AbortSignal,
): Promise<Acquired> {
  const epochs = new Map<string, number>()
  for (;;) {
    const open = request.keys.filter((key) => !epochs.has(key))
    const held = await heldLeases(session, request.pipeline, open, request.holder)
    const takeOver = new Set<string>()
    for (const lease of held) if (standing(lease) === "take-over") takeOver.add(lease.holder)
    for (const holder of takeOver) await endConnections(session, holder)
    const asked = { ...request, keys: open, runId: undefined, host: hostname(), processId: process.pid }
    for (const [key, epoch] of await takeLeases(session, asked, [...takeOver])) epochs.set(key, epoch)
    // Asked again: others may have taken leases since, or given them back.
    const missing = open.filter((key) => !epochs.has(key))
    const busy = await heldLeases(session, request.pipeline, missing, request.holder)
    if (busy.length < missing.length) continue
    const onlyLost = busy.length > 0 && busy.every((lease) => standing(lease) === "lost")
    if (epochs.size > 0 || !onlyLost) return { epochs, busy }
    await clock.sleep(WAIT_POLL_MS, signal)
  }
}

/** Says who holds what since when. */
export function leaseHeld(
  load: { readonly kind: string; readonly name: string },
  busy: readonly HeldLease[],
): SpillwayError {
  const first = busy[0]
  const who =
    first === undefined
      ? "another run"
      : `run ${first.runId ?? "(starting)"} (process ${first.processId} on ${first.host}) since ${first.since.toISOString()}`
  const what =
    busy.length === 1
      ? `the partition ${first?.partition ?? ""}`
      : `${busy.length} partitions (${first?.partition ?? ""} …)`
  return new SpillwayError("LEASE_HELD", `nothing left to do: ${who} holds ${what} of ${load.kind} "${load.name}"`, {
    where: `${load.kind} ${load.name}`,
    hint: "wait for it with --wait, or look at it with: spillway status",
    context: { holders: [...new Set(busy.map((lease) => lease.runId))] },
  })
}

/** Waits until leases may have become free. */
export const waitForLeases = (clock: Clock, signal: AbortSignal): Promise<void> => clock.sleep(WAIT_POLL_MS, signal)

/**
 * Renews a holder's leases three times in their lifetime, on a connection of its own so that a long publish cannot delay
 * it. Calls `onLost` when none is left and the run is another's: every commit is fenced anyway, this only stops the work early.
 */
export function keepLeases(
  connection: Connection,
  clock: Clock,
  lease: { holder: string; runId: string; leaseMs: number },
  onLost: () => void,
): () => Promise<void> {
  let renewing: Promise<void> | undefined
  const stop = clock.every(lease.leaseMs / 3, () => {
    renewing ??= renew().finally(() => {
      renewing = undefined
    })
  })
  async function renew(): Promise<void> {
    const answered = new AbortController()
    try {
      const session = await connection.session()
      // A connection that has gone silent would be waited for without end.
      void clock.sleep(lease.leaseMs, answered.signal).then(
        () => session.destroy(),
        () => undefined,
      )
      if ((await renewLeases(session, lease.holder, lease.leaseMs)) > 0) return
      // A run that has published everything has none either.
      if (!(await ownsRun(session, lease.runId, lease.holder))) onLost()
    } catch {
      // A database that is away cannot give the leases to anybody else either; the next tick tries again.
    } finally {
      answered.abort()
    }
  }
  return async () => {
    stop()
    await renewing
  }
}
