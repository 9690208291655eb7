import { systemClock, type Clock } from "./clock.ts"
import { nodeFiles, type Files } from "./files.ts"
import { systemRandom, type Random } from "./random.ts"

/** The names of the places where a test may stop, delay or kill a run. Each lies on a boundary that must be safe. */
export type FailpointName =
  | "run.started"
  | "leases.taken"
  | "staging.created"
  | "batch.staged"
  | "partition.staged"
  | "gate.judged"
  | "publish.begun"
  | "publish.rows-written"
  | "publish.before-commit"
  | "publish.committed"
  | "run.before-finish"
  | "replay.letters-locked"
  | "replay.rows-written"
  | "replay.before-commit"
  | "replay.committed"

/** Named places on the way of a run. Production passes `noFailpoints`; `spillway/testing` passes ones that bite. */
export interface Failpoints {
  hit(name: FailpointName, detail?: Record<string, unknown>): Promise<void> | void
}

export const noFailpoints: Failpoints = { hit: () => undefined }

/** Everything a run takes from the outside world besides the database: time, chance, files, planted faults. */
export interface Ports {
  readonly clock: Clock
  readonly random: Random
  readonly files: Files
  readonly failpoints: Failpoints
}

export const systemPorts: Ports = {
  clock: systemClock,
  random: systemRandom,
  files: nodeFiles,
  failpoints: noFailpoints,
}
