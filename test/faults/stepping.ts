// The inside of a process that is killed: it takes its orders as one line of JSON on its standard input and tells on file
// descriptor 3 what it does, one line for every step: `Q text` (statement), `F name` (failpoint), and what else it counts as one.
import { writeSync } from "node:fs"
import { createInterface } from "node:readline"
import pg from "pg"
import { systemPorts, type Ports } from "../../src/core/ports.ts"
import { failpoints } from "../../src/testing/index.ts"

/** Where to call for the kill: at a step, counted from 1, or at the nth time of a failpoint. */
export type KillAt = { readonly step: number } | { readonly failpoint: string; readonly nth: number }

export interface SteppingOrders {
  /** Undefined: run to the end. */
  readonly killAt: KillAt | undefined
  /** After the call (`KILL`): stand still, or run on until the kill comes. Default: true. */
  readonly standStill?: boolean
}

export type Step = (line: string) => void

/** A process that nobody kills must not stand there for ever. */
const ABANDONED_MS = 60_000
const ABANDONED = 70

/** Tells a line that is no step. */
export const tell = (line: string): void => void writeSync(3, `${line}\n`)

const cell = new Int32Array(new SharedArrayBuffer(4))

function standStillForGood(): never {
  Atomics.wait(cell, 0, 0, ABANDONED_MS)
  process.exit(ABANDONED)
}

/** Carries out the orders that come in; `body` gives how it ended, which is told as `END …`. Ends the process. */
export async function obey<Orders extends SteppingOrders>(
  body: (orders: Orders, step: Step) => Promise<string>,
): Promise<never> {
  for await (const line of createInterface(process.stdin)) {
    const orders = JSON.parse(line) as Orders
    const step = stepper(orders)
    watchStatements(step)
    tell(`END ${await body(orders, step).catch((error: unknown) => `threw ${String(error)}`)}`.trimEnd())
    // Whoever asked for a kill gets it also when the run was over before.
    if (orders.killAt !== undefined) {
      tell("KILL")
      standStillForGood()
    }
    break
  }
  process.exit(0)
}

/** The system's ports, with each of these failpoints a step. */
export const steppingPorts = (step: Step, names: readonly string[]): Ports => ({
  ...systemPorts,
  failpoints: failpoints(Object.fromEntries(names.map((name) => [name, () => step(`F ${name}`)]))),
})

function stepper({ killAt, standStill = true }: SteppingOrders): Step {
  let steps = 0
  let hits = 0
  return (line) => {
    tell(line)
    steps++
    if (killAt === undefined) return
    if ("step" in killAt ? steps !== killAt.step : line !== `F ${killAt.failpoint}` || ++hits !== killAt.nth) return
    tell("KILL")
    if (standStill) standStillForGood()
  }
}

/** Makes every statement that goes to the server a step. */
function watchStatements(step: Step): void {
  const prototype = pg.Client.prototype as unknown as { query: (...args: unknown[]) => unknown }
  const query = prototype.query
  prototype.query = function (this: pg.Client, ...args: unknown[]): unknown {
    const statement = typeof args[0] === "string" ? args[0] : "COPY"
    step(`Q ${statement.trim().replace(/\s+/g, " ").slice(0, 60)}`)
    return query.apply(this, args)
  }
}
