// The process that is killed. It takes its orders as one line of JSON on its standard input, runs a pipeline, and tells on
// file descriptor 3 what it does: one line for every step.
import { writeSync } from "node:fs"
import { createInterface } from "node:readline"
import pg from "pg"
import { systemPorts } from "../../src/core/ports.ts"
import { runPipeline } from "../../src/engine/run.ts"
import { FAILPOINTS, failpoints } from "../../src/testing/index.ts"
import type { Mode } from "./kill-data.ts"
import { killPipeline } from "./kill-pipelines.ts"

export interface Orders {
  readonly mode: Mode
  readonly url: string
  readonly directory: string
  readonly full: boolean
  /** Where to call for the kill: at a step counted from 1, or at the nth time of a failpoint. */
  readonly killAt: { readonly step: number } | { readonly failpoint: string; readonly nth: number } | undefined
  /** Stand still there; otherwise run on until the kill comes. */
  readonly standStill: boolean
}

/** Lines: `E type detail` (event), `F name` (failpoint), `Q text` (statement), `T records` (taken from the source), `KILL`, `END status`. */
const say = (line: string): void => void writeSync(3, `${line}\n`)

const cell = new Int32Array(new SharedArrayBuffer(4))
const standStillForGood = (): void => void Atomics.wait(cell, 0, 0)

function tracker({ killAt, standStill }: Orders): (line: string) => void {
  let steps = 0
  const hits = new Map<string, number>()
  return (line) => {
    say(line)
    steps++
    let reached = false
    if (killAt !== undefined && "step" in killAt) reached = steps === killAt.step
    else if (killAt !== undefined && line === `F ${killAt.failpoint}`) {
      const hit = (hits.get(line) ?? 0) + 1
      hits.set(line, hit)
      reached = hit === killAt.nth
    }
    if (!reached) return
    say("KILL")
    if (standStill) standStillForGood()
  }
}

async function obey(orders: Orders): Promise<void> {
  const step = tracker(orders)
  watchStatements(step)
  const report = await runPipeline(
    killPipeline(orders.mode, (_file, records) => say(`T ${records}`)),
    {
      database: orders.url,
      directory: orders.directory,
      full: orders.full,
      ports: {
        ...systemPorts,
        failpoints: failpoints(Object.fromEntries(FAILPOINTS.map((name) => [name, () => step(`F ${name}`)]))),
      },
      on: (event) => step(`E ${event.type} ${event.type === "batch.staged" ? event.read : ""}`.trimEnd()),
    },
  )
  say(`END ${report.status} ${report.error?.message ?? ""}`)
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
  const orders = JSON.parse(line) as Orders
  try {
    await obey(orders)
  } catch (error) {
    say(`END threw ${String(error)}`)
  }
  // Whoever asked for a kill gets it also when the run was over before.
  if (orders.killAt !== undefined) {
    say("KILL")
    standStillForGood()
  }
  process.exit(0)
}
