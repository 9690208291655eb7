// The process that is killed: it runs the project. Steps: statements, failpoints, and `E pipeline type` (events).
import { run } from "../../src/engine/run-any.ts"
import { FAILPOINTS } from "../../src/testing/index.ts"
import { killProject } from "./kill-models-project.ts"
import { obey, steppingPorts, type SteppingOrders } from "./stepping.ts"

export interface ModelOrders extends SteppingOrders {
  readonly url: string
  readonly directory: string
}

await obey<ModelOrders>(async ({ url, directory }, step) => {
  const ports = steppingPorts(step, FAILPOINTS)
  const ended: string[] = []
  for (const runnable of killProject().pipelines) {
    const on = (event: { pipeline: string; type: string }): void => step(`E ${event.pipeline} ${event.type}`)
    ended.push((await run(runnable, { database: url, directory, ports, on })).status)
  }
  return ended.join(" ")
})
