// The process that is killed: it runs a pipeline. Steps: statements, failpoints, and `E type detail` (events). It also tells
// `T records` (taken from the source).
import { runPipeline } from "../../src/engine/run.ts"
import { FAILPOINTS } from "../../src/testing/index.ts"
import type { Mode } from "./kill-data.ts"
import { killPipeline } from "./kill-pipelines.ts"
import { obey, steppingPorts, tell, type SteppingOrders } from "./stepping.ts"

export interface Orders extends SteppingOrders {
  readonly mode: Mode
  readonly url: string
  readonly directory: string
  readonly full: boolean
}

await obey<Orders>(async ({ mode, url, directory, full }, step) => {
  const report = await runPipeline(
    killPipeline(mode, (_file, records) => tell(`T ${records}`)),
    {
      database: url,
      directory,
      full,
      ports: steppingPorts(step, FAILPOINTS),
      on: (event) => step(`E ${event.type} ${event.type === "batch.staged" ? event.read : ""}`.trimEnd()),
    },
  )
  return `${report.status} ${report.error?.message ?? ""}`
})
