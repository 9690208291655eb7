import { systemPorts } from "../core/ports.ts"
import { runCommandLine } from "./program.ts"

const exitCode = await runCommandLine(process.argv.slice(2), {
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  directory: process.cwd(),
  ports: systemPorts,
  signals: process,
})

// A project may leave timers or connections behind; they do not keep the command from ending.
process.stdout.write("", () => process.exit(exitCode))
process.exitCode = exitCode
