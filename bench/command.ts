import { fileURLToPath } from "node:url"
import type { RunReport } from "../src/engine/report.ts"
import { runProcess, type MeasuredProcess } from "./processes.ts"

const BIN = fileURLToPath(new URL("../bin/spillway.js", import.meta.url))
/** Of a run that ended `partial`. */
const PARTIAL = 6

export interface Measured extends Pick<MeasuredProcess, "wallMs" | "peakBytes"> {
  readonly report: RunReport
}

/** Runs `spillway run --json` as its own process and measures it from outside. */
export async function runCommand(
  project: string,
  env: NodeJS.ProcessEnv,
  args: readonly string[] = [],
): Promise<Measured> {
  const command = ["run", "--json", "--project", project, ...args]
  const { wallMs, peakBytes, stdout } = await runProcess(BIN, command, { exits: [0, PARTIAL], env })
  const report = firstReport(JSON.parse(stdout))
  if (report === undefined) throw new Error(`spillway run gave no report: ${stdout.slice(0, 2_000)}`)
  return { wallMs, peakBytes, report }
}

/** The first object in the answer that is a run's report. */
function firstReport(data: unknown): RunReport | undefined {
  if (typeof data !== "object" || data === null) return undefined
  if ("runId" in data && "counts" in data) return data as RunReport
  for (const value of Object.values(data)) {
    const found = firstReport(value)
    if (found !== undefined) return found
  }
  return undefined
}
