// npm run bench:triage [-- --letters 5000000 --runs 3]
// How fast the letters of a JSONL file are summed up, in a process of its own, and its peak memory, which must stay flat.
import { execFile } from "node:child_process"
import { readFileSync } from "node:fs"
import { mkdtemp, rm, stat } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { parseArgs, promisify } from "node:util"
import { nodeFiles } from "../src/core/files.ts"
import { masking } from "../src/dead-letters/masking.ts"
import { triageFiles } from "../src/dead-letters/triage-files.ts"
import { writeLetters } from "./letters.ts"
import { median, seconds, spread } from "./server.ts"

const { values } = parseArgs({
  options: {
    letters: { type: "string", default: "1000000" },
    runs: { type: "string", default: "3" },
    /** What the process of its own is asked to read. */
    read: { type: "string" },
  },
})

interface Reading {
  readonly letters: number
  readonly groups: number
  readonly ms: number
  /** Mebibytes; 0 where the system does not tell. */
  readonly peak: number
}

if (values.read === undefined) await measure(Number(values.letters), Number(values.runs))
else console.log(JSON.stringify(await read(values.read)))

async function measure(letters: number, runs: number): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "spillway-bench-triage-"))
  try {
    const path = join(folder, "letters.jsonl")
    await writeLetters(path, letters)
    const bytes = (await stat(path)).size
    const readings: Reading[] = []
    for (let run = 0; run < runs; run++) readings.push(await readApart(path))
    const times = readings.map(({ ms }) => ms)
    const [first] = readings
    if (first?.letters !== letters) throw new Error(`${first?.letters} letters were read, not ${letters}`)
    console.log(
      `${letters} letters in ${first.groups} groups, ${(bytes / letters).toFixed(0)} bytes each: ` +
        `${Math.round((letters / median(times)) * 1000)} letters/s, ${seconds(median(times))} (${spread(times)}), ` +
        `peak ${Math.max(...readings.map(({ peak }) => peak)).toFixed(0)} MiB`,
    )
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function readApart(path: string): Promise<Reading> {
  // As bin/spillway.js starts Node.
  const args = ["--max-semi-space-size=8", fileURLToPath(import.meta.url), "--read", path]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  return JSON.parse(stdout) as Reading
}

async function read(path: string): Promise<Reading> {
  const begun = performance.now()
  const nobody = (async function* () {})()
  const report = await triageFiles(
    { files: nodeFiles, path, stdin: nobody },
    { samples: 1, groups: 100, masking: masking() },
  )
  const ms = performance.now() - begun
  return { letters: report.letters, groups: report.groupCount, ms, peak: peakOfThis() }
}

/** The high-water mark of this process since it began; what `process.resourceUsage` tells includes that of whoever started it. */
function peakOfThis(): number {
  try {
    return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? 0) / 1024
  } catch {
    return 0
  }
}
