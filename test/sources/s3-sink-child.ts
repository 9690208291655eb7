// Runs a pipeline into objects and kills itself before or after one of its operations on them, as `kill -9` does. Ends by itself when there are fewer.
import { z } from "zod"
import type { OutputFolder } from "../../src/core/output-folder.ts"
import { runPipeline } from "../../src/engine/run.ts"
import { csv, files, jsonlFiles, pipeline } from "../../src/index.ts"
import { s3 } from "../../src/sources/index.ts"

const [url = "", directory = "", endpoint = "", folder = "", operation = ""] = process.argv.slice(2)
let left = Number(operation)
const count = (): void => {
  if (left-- === 0) process.kill(process.pid, "SIGKILL")
}

async function counted<T>(work: () => Promise<T>): Promise<T> {
  count()
  const result = await work()
  count()
  return result
}

const plain = s3({ endpoint })
const storage: typeof plain = {
  ...plain,
  folder(address, ports): OutputFolder {
    const inner = plain.folder(address, ports)
    return {
      list: () => inner.list(),
      holds: (name, path) => inner.holds(name, path),
      put: (name, path) => counted(() => inner.put(name, path)),
      remove: (name) => counted(() => inner.remove(name)),
    }
  },
}
const orders = pipeline({
  name: "orders",
  source: files("in/*.csv", { format: csv() }),
  schema: z.object({ id: z.string() }),
  sink: jsonlFiles(folder, { maxRecordsPerFile: 2, storage }),
  leaseMs: 2_000,
})
const report = await runPipeline(orders, { database: url, directory, wait: true })
process.stdout.write(report.status)
