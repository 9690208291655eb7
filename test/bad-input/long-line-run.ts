// A command of its own, for tests: loads the file given into the database given and prints what came of it, with its peak
// memory in MB, as one line of JSON.
import { z } from "zod"
import { csv, files, jsonl, pipeline, runPipeline, table } from "../../src/index.ts"

const [url = "", directory = "", name = ""] = process.argv.slice(2)
const report = await runPipeline(
  pipeline({
    name: "lines",
    source: files(name, { format: name.includes(".csv") ? csv() : jsonl() }),
    schema: z.object({ id: z.int(), what: z.string() }),
    sink: table(`public.${name.startsWith("short") ? "short" : "long"}_lines`, { mode: "append" }),
    maxRecordBytes: 1 << 20,
  }),
  { database: url, directory },
)
const { status, counts, deadLetters, held } = report
console.log(JSON.stringify({ status, counts, deadLetters, held, peakMb: process.resourceUsage().maxRSS / 1024 }))
