import { spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { dirname } from "node:path"
import { fileURLToPath } from "node:url"
import type { RunReport } from "../src/engine/report.ts"

const BIN = fileURLToPath(new URL("../bin/spillway.js", import.meta.url))

export interface Measured {
  /** The whole command, with starting Node. */
  readonly wallMs: number
  /** The largest resident set of the process, in bytes; undefined where the system does not tell. */
  readonly peakBytes: number | undefined
  readonly report: RunReport
}

/** Runs `spillway run --json` as its own process and measures it from outside. */
export async function runCommand(
  project: string,
  env: NodeJS.ProcessEnv,
  args: readonly string[] = [],
): Promise<Measured> {
  const start = performance.now()
  const child = spawn(BIN, ["run", "--json", "--project", project, ...args], {
    // The command's first line asks for `node`: the one that runs this.
    env: { ...process.env, PATH: `${dirname(process.execPath)}:${process.env["PATH"]}`, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  })
  let peakBytes: number | undefined
  const watch = setInterval(() => {
    peakBytes = peakOf(child.pid) ?? peakBytes
  }, 20)
  const output: Buffer[] = []
  const errors: Buffer[] = []
  child.stdout.on("data", (chunk: Buffer) => output.push(chunk))
  child.stderr.on("data", (chunk: Buffer) => errors.push(chunk))
  const code = await new Promise<number | null>((done) => child.on("close", done))
  clearInterval(watch)
  const wallMs = performance.now() - start
  const answer = JSON.parse(Buffer.concat(output).toString() || "{}") as {
    data?: { runs?: { report: RunReport }[] } | RunReport[]
  }
  const report = firstReport(answer.data)
  if (report === undefined || (code !== 0 && code !== 6))
    throw new Error(`spillway run exited with ${code}: ${Buffer.concat(errors).toString().slice(-2000)}`)
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

/** High-water mark of the resident set, which the kernel keeps: polling misses nothing but the last moments. */
function peakOf(pid: number | undefined): number | undefined {
  try {
    const match = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))
    return match?.[1] === undefined ? undefined : Number(match[1]) * 1024
  } catch {
    return undefined
  }
}
