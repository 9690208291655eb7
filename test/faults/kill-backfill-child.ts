// The process that is killed: it carries out `spillway ARGUMENT…`. Steps: statements.
import { Writable } from "node:stream"
import { systemPorts } from "../../src/core/ports.ts"
import { runCommandLine } from "../../src/cli/program.ts"
import { obey, type SteppingOrders } from "./stepping.ts"

export interface CommandOrders extends SteppingOrders {
  readonly args: readonly string[]
}

const unread = (): Writable => new Writable({ write: (_chunk, _encoding, done) => done() })

await obey<CommandOrders>(async ({ args }) => {
  const exitCode = await runCommandLine(args, {
    stdout: unread(),
    stderr: unread(),
    env: process.env,
    directory: process.cwd(),
    ports: systemPorts,
    signals: process,
  })
  return `exit code ${exitCode}`
})
