// The process that is killed: it replays dead letters. Steps: statements and failpoints.
import { replayLetters } from "../../src/engine/replay/replay.ts"
import { failpoints, REPLAY_FAILPOINTS, systemPorts } from "../../src/testing/index.ts"
import { killOrders, replayOf, type Mode } from "./kill-replay-project.ts"
import { obey, type SteppingOrders } from "./stepping.ts"

export interface ReplayOrders extends SteppingOrders {
  readonly url: string
  readonly directory: string
  readonly mode: Mode
}

await obey<ReplayOrders>(async ({ url, directory, mode }, step) => {
  const ports = {
    ...systemPorts,
    failpoints: failpoints(Object.fromEntries(REPLAY_FAILPOINTS.map((name) => [name, () => step(`F ${name}`)]))),
  }
  return (await replayLetters(killOrders(mode), { ...replayOf(url, directory), ports })).status
})
