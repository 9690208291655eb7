// The process that is killed: it runs the example `analytics-api`. Steps: statements, failpoints, and `E type` (events). Started
// with --import test/examples/from-source.ts.
import { run } from "../../src/engine/run-any.ts"
import { FAILPOINTS } from "../../src/testing/index.ts"
import { obey, steppingPorts, type SteppingOrders } from "./stepping.ts"

export interface ApiOrders extends SteppingOrders {
  readonly database: string
  readonly directory: string
  /** Milliseconds since 1970. */
  readonly now: number
}

await obey<ApiOrders>(async ({ database, directory, now }, step) => {
  const ports = steppingPorts(step, FAILPOINTS)
  const clock = { ...ports.clock, now: () => now }
  const { default: project } = await import("../../examples/analytics-api/spillway.config.ts")
  const ended: string[] = []
  for (const runnable of project.pipelines) {
    const on = (event: { type: string }): void => step(`E ${event.type}`)
    const { status, error } = await run(runnable, { database, directory, ports: { ...ports, clock }, on })
    ended.push(`${status} ${error?.message ?? ""}`.trimEnd())
  }
  return ended.join(" ")
})
