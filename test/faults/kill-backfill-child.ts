// The process that is killed: node kill-backfill-child.ts STEP ARGUMENT…
//
// Carries out `spillway ARGUMENT…`, counts the statements that go to the server, and stands still at the STEP-th after saying
// `KILL` on file descriptor 3. When it ends before that, it has said how many there were: `STEPS n`.
import { writeSync } from "node:fs"
import pg from "pg"
import { systemPorts } from "../../src/core/ports.ts"
import { runCommandLine } from "../../src/cli/program.ts"

/** A process that nobody kills must not stand there for ever. */
const ABANDONED_MS = 60_000

const [killAt = "", ...args] = process.argv.slice(2)
const cell = new Int32Array(new SharedArrayBuffer(4))
let steps = 0

function step(): void {
  if (++steps !== Number(killAt)) return
  writeSync(3, "KILL\n")
  Atomics.wait(cell, 0, 0, ABANDONED_MS)
  process.exit(70)
}

const prototype = pg.Client.prototype as unknown as { query: (...args: unknown[]) => unknown }
const query = prototype.query
prototype.query = function (this: pg.Client, ...values: unknown[]): unknown {
  step()
  return query.apply(this, values)
}

const exitCode = await runCommandLine(args, {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  directory: process.cwd(),
  ports: systemPorts,
  signals: process,
})
writeSync(3, `STEPS ${steps}\n`)
process.exit(exitCode)
