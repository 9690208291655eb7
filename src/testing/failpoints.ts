import type { FailpointName, Failpoints } from "../core/ports.ts"

/** What happens when a run comes to a failpoint. May throw, wait, or end the process. */
export type FailpointAction = (detail: Record<string, unknown>) => void | Promise<void>

/** Every failpoint, in the order in which a run comes to them. */
export const FAILPOINTS = [
  "run.started",
  "leases.taken",
  "staging.created",
  "batch.staged",
  "partition.staged",
  "gate.judged",
  "publish.begun",
  "publish.rows-written",
  "publish.before-commit",
  "publish.committed",
  "run.before-finish",
] as const satisfies readonly FailpointName[]

/** Those of a replay of dead letters. */
export const REPLAY_FAILPOINTS = [
  "replay.letters-locked",
  "replay.rows-written",
  "replay.before-commit",
  "replay.committed",
] as const satisfies readonly FailpointName[]

/** Failpoints that do something: `failpoints({ "publish.before-commit": onThe(2, () => process.kill(process.pid, "SIGKILL")) })`. */
export function failpoints(actions: Partial<Record<FailpointName, FailpointAction>>): Failpoints {
  return { hit: (name, detail = {}) => actions[name]?.(detail) }
}

/** The action, at the `nth` hit only (from 1). */
export function onThe(nth: number, action: FailpointAction): FailpointAction {
  let hits = 0
  return (detail) => (++hits === nth ? action(detail) : undefined)
}
