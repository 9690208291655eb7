// The process that is killed: it replays dead letters. Steps: statements and failpoints.
import { replayLetters } from "../../src/engine/replay/replay.ts"
import { REPLAY_FAILPOINTS } from "../../src/testing/index.ts"
import { killOrders, replayOf, type Mode } from "./kill-replay-project.ts"
import { obey, steppingPorts, type SteppingOrders } from "./stepping.ts"

export interface ReplayOrders extends SteppingOrders {
  readonly url: string
  readonly directory: string
  readonly mode: Mode
}

await obey<ReplayOrders>(async ({ url, directory, mode }, step) => {
  const ports = steppingPorts(step, REPLAY_FAILPOINTS)
  return (await replayLetters(killOrders(mode), { ...replayOf(url, directory), ports })).status
})
