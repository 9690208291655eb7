// The process that is killed: it takes its orders as one line of JSON on its standard input, runs the project, and tells on
// file descriptor 3 what it does: one line for every step.
import { writeSync } from "node:fs"
import { createInterface } from "node:readline"
import pg from "pg"
import { run } from "../../src/engine/run-any.ts"
import { FAILPOINTS, failpoints, systemPorts } from "../../src/testing/index.ts"
import { killProject } from "./kill-models-project.ts"

export interface ModelOrders {
  readonly url: string
  readonly directory: string
  /** The step, counted from 1, at which to call for the kill and stand still. Undefined: run to the end. */
  readonly killAt: number | undefined
}

/** Lines: `E pipeline type` (event), `F name` (failpoint), `Q text` (statement), `KILL`, `END status …`. */
const say = (line: string): void => void writeSync(3, `${line}\n`)

const cell = new Int32Array(new SharedArrayBuffer(4))

async function obey(orders: ModelOrders): Promise<void> {
  let steps = 0
  const step = (line: string): void => {
    say(line)
    if (++steps !== orders.killAt) return
    say("KILL")
    Atomics.wait(cell, 0, 0)
  }
  watchStatements(step)
  const ports = {
    ...systemPorts,
    failpoints: failpoints(Object.fromEntries(FAILPOINTS.map((name) => [name, () => step(`F ${name}`)]))),
  }
  const ended: string[] = []
  for (const runnable of killProject().pipelines) {
    const report = await run(runnable, {
      database: orders.url,
      directory: orders.directory,
      ports,
      on: (event) => step(`E ${event.pipeline} ${event.type}`),
    })
    ended.push(report.status)
  }
  say(`END ${ended.join(" ")}`)
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

say("READY")
for await (const line of createInterface(process.stdin)) {
  try {
    await obey(JSON.parse(line) as ModelOrders)
  } catch (error) {
    say(`END threw ${String(error)}`)
  }
  process.exit(0)
}
