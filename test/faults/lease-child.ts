// A run in a process of its own, for tests. Prints its events, where it stops, and how it ended, as lines of JSON.
import { writeSync } from "node:fs"
import type { FailpointName } from "../../src/core/ports.ts"
import { SpillwayError } from "../../src/core/errors.ts"
import { runPipeline } from "../../src/engine/run.ts"
import { failpoints, onThe, systemPorts } from "../../src/testing/index.ts"
import { ordersPipeline, type OrdersPipeline } from "./orders.ts"

export interface ChildOptions {
  readonly url: string
  readonly pipeline: OrdersPipeline
  /** At the `nth` hit of this failpoint: stop (SIGSTOP), or wait for ever. */
  readonly at?: { readonly failpoint: FailpointName; readonly nth: number; readonly then: "stop" | "wait" }
  readonly wait?: boolean
}

// Written at once and in full, also when the next thing is a signal.
const say = (line: unknown): void => {
  writeSync(1, `${JSON.stringify(line)}\n`)
}

const options = JSON.parse(process.argv[2] ?? "{}") as ChildOptions
const { at } = options
const halt = async (): Promise<void> => {
  say({ at: at?.failpoint })
  if (at?.then === "stop") process.kill(process.pid, "SIGSTOP")
  else await new Promise((resolve) => setTimeout(resolve, 2 ** 30))
}
try {
  const report = await runPipeline(ordersPipeline(options.pipeline), {
    database: options.url,
    ports: {
      ...systemPorts,
      failpoints: failpoints(at === undefined ? {} : { [at.failpoint]: onThe(at.nth, halt) }),
    },
    wait: options.wait ?? false,
    on: (event) => say({ event }),
  })
  say({ report })
} catch (error) {
  if (!(error instanceof SpillwayError)) throw error
  say({ error: { code: error.code, message: error.message, hint: error.hint } })
}
