// Runs a pipeline into files and kills itself at one of its file operations, as `kill -9` does. Ends by itself when there are fewer.
import type { Files } from "../../src/core/files.ts"
import { runPipeline } from "../../src/engine/run.ts"
import { systemPorts } from "../../src/testing/index.ts"
import { partedOrders } from "./file-sink-pipeline.ts"

const [url = "", directory = "", operation = ""] = process.argv.slice(2)
let left = Number(operation)
const count = (): void => {
  if (left-- === 0) process.kill(process.pid, "SIGKILL")
}

/** Counts before and after each operation that changes something: the kill falls between any two. */
const changing = ["create", "rename", "remove", "syncFolder"] as const satisfies readonly (keyof Files)[]
const files: Files = { ...systemPorts.files }
for (const name of changing) {
  const original = files[name] as (...args: string[]) => Promise<unknown>
  const counted = async (...args: string[]): Promise<unknown> => {
    count()
    const result = await original(...args)
    count()
    return result
  }
  Object.assign(files, { [name]: counted })
}
const report = await runPipeline(partedOrders, { database: url, directory, ports: { ...systemPorts, files } })
process.stdout.write(report.status)
