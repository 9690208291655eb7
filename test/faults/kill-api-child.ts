// The process that is killed: it takes its orders as one line of JSON on its standard input, runs the example `analytics-api`, and
// tells on file descriptor 3 what it does: one line for every step. Started with --import test/examples/from-source.ts.
import { writeSync } from "node:fs"
import { createInterface } from "node:readline"
import pg from "pg"
import { run } from "../../src/engine/run-any.ts"
import { FAILPOINTS, failpoints, systemPorts } from "../../src/testing/index.ts"

export interface ApiOrders {
  readonly database: string
  readonly directory: string
  /** Milliseconds since 1970. */
  readonly now: number
  /** The step, counted from 1, at which to call for the kill. Undefined: run to the end. */
  readonly killAt: number | undefined
  /** Stand still there; otherwise run on until the kill comes. */
  readonly standStill: boolean
}

/** Lines: `E type` (event), `F name` (failpoint), `Q text` (statement), `KILL`, `END status`. */
const say = (line: string): void => void writeSync(3, `${line}\n`)

const cell = new Int32Array(new SharedArrayBuffer(4))
const standStillForGood = (): void => void Atomics.wait(cell, 0, 0)

async function obey({ database, directory, now, killAt, standStill }: ApiOrders): Promise<void> {
  let steps = 0
  const step = (line: string): void => {
    say(line)
    if (++steps !== killAt) return
    say("KILL")
    if (standStill) standStillForGood()
  }
  watchStatements(step)
  const { default: project } = await import("../../examples/analytics-api/spillway.config.ts")
  for (const runnable of project.pipelines) {
    const report = await run(runnable, {
      database,
      directory,
      ports: {
        ...systemPorts,
        clock: { ...systemPorts.clock, now: () => now },
        failpoints: failpoints(Object.fromEntries(FAILPOINTS.map((name) => [name, () => step(`F ${name}`)]))),
      },
      on: (event) => step(`E ${event.type}`),
    })
    say(`END ${report.status} ${report.error?.message ?? ""}`.trimEnd())
  }
}

/** Makes every statement that goes to the server a step. */
function watchStatements(step: (line: string) => void): void {
  const prototype = pg.Client.prototype as unknown as { query: (...args: unknown[]) => unknown }
  const query = prototype.query
  prototype.query = function (this: pg.Client, ...args: unknown[]): unknown {
    const statement = typeof args[0] === "string" ? args[0] : "COPY"
    step(`Q ${statement.trim().replace(/\s+/g, " ").slice(0, 60)}`)
    return query.apply(this, args)
  }
}

for await (const line of createInterface(process.stdin)) {
  try {
    await obey(JSON.parse(line) as ApiOrders)
  } catch (error) {
    say(`END threw ${String(error)}`)
  }
  process.exit(0)
}
