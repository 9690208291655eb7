import { pathToFileURL } from "node:url"
import { systemPorts } from "../core/ports.ts"
import { commandOfProject } from "./own-copy.ts"
import { runCommandLine } from "./program.ts"

const args = process.argv.slice(2)
const other = commandOfProject(args, process.cwd())
if (other === undefined) {
  const exitCode = await runCommandLine(args, {
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
} else await import(pathToFileURL(other).href)
