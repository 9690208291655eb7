// The inside of a process that is killed: it takes its orders as one line of JSON on its standard input and tells on file
// descriptor 3 what it does, one line for every step: `Q text` (statement), `F name` (failpoint), and what else it counts as one.
import { writeSync } from "node:fs"
import { createInterface } from "node:readline"
import pg from "pg"

export interface SteppingOrders {
  /** The step, counted from 1, at which to call for the kill (`KILL`) and stand still. Undefined: run to the end. */
  readonly killAt: number | undefined
}

export type Step = (line: string) => void

const say = (line: string): void => void writeSync(3, `${line}\n`)

const cell = new Int32Array(new SharedArrayBuffer(4))

/** Carries out the orders that come in; `body` gives how it ended, which is told as `END …`. Ends the process. */
export async function obey<Orders extends SteppingOrders>(
  body: (orders: Orders, step: Step) => Promise<string>,
): Promise<never> {
  say("READY")
  for await (const line of createInterface(process.stdin)) {
    const orders = JSON.parse(line) as Orders
    let steps = 0
    const step: Step = (what) => {
      say(what)
      if (++steps !== orders.killAt) return
      say("KILL")
      Atomics.wait(cell, 0, 0)
    }
    watchStatements(step)
    say(`END ${await body(orders, step).catch((error: unknown) => `threw ${String(error)}`)}`)
    break
  }
  process.exit(0)
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
