import { spawn, type ChildProcess } from "node:child_process"
import { mkdtemp, mkdir, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { fileURLToPath } from "node:url"
import type { Stream } from "../../src/cli/output.ts"
import { runCommandLine } from "../../src/cli/program.ts"
import { systemPorts } from "../../src/core/ports.ts"

const MAIN = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url))
/** What test projects import instead of the installed package. */
export const SPILLWAY = new URL("../../src/index.ts", import.meta.url).href
export const ZOD = import.meta.resolve("zod")

export interface Answer {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface Envelope {
  readonly schema: number
  readonly ok: boolean
  readonly data: unknown
  readonly warnings: string[]
  readonly error: { code: string; message: string; hint: string | null; where: string | null } | null
}

type Environment = Record<string, string>

/** Starts the command line from source, as a process of its own. */
export function start(
  args: readonly string[],
  env: Environment = {},
  cwd?: string,
): { child: ChildProcess; ended: Promise<Answer> } {
  const { NO_COLOR: _n, FORCE_COLOR: _f, DATABASE_URL: _d, ...inherited } = process.env
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { ...inherited, ...env },
    cwd,
    stdio: ["ignore", "pipe", "pipe"],
  })
  let stdout = ""
  let stderr = ""
  child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()))
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()))
  const ended = new Promise<Answer>((resolve, reject) => {
    child.on("error", reject)
    child.on("close", (code) => resolve({ code, stdout, stderr }))
  })
  return { child, ended }
}

export const spillway = (args: readonly string[], env?: Environment, cwd?: string): Promise<Answer> =>
  start(args, env, cwd).ended

/** The same within this process: fast, for what imports no project. */
export async function spillwayHere(args: readonly string[], env: Environment = {}): Promise<Answer> {
  const written = { stdout: "", stderr: "" }
  const stream = (name: "stdout" | "stderr"): Stream => ({
    write: (text, done) => {
      written[name] += text
      done?.()
      return true
    },
    on: () => undefined,
  })
  const code = await runCommandLine(args, {
    stdout: stream("stdout"),
    stderr: stream("stderr"),
    env: { ...env },
    directory: "/",
    ports: systemPorts,
    signals: { on: () => undefined, off: () => undefined, exit: () => undefined },
  })
  return { code, ...written }
}

/** The one line of JSON on stdout. */
export function envelope(answer: Answer): Envelope {
  const lines = answer.stdout.split("\n")
  if (lines.length !== 2 || lines[1] !== "") throw new Error(`stdout is not one line: ${answer.stdout}`)
  return JSON.parse(lines[0] ?? "") as Envelope
}

export interface TestProject {
  readonly directory: string
  write(files: Record<string, string>): Promise<void>
  remove(): Promise<void>
}

/** A folder with these files, by relative path. */
export async function projectFolder(files: Record<string, string>): Promise<TestProject> {
  const directory = await mkdtemp(join(tmpdir(), "spillway-cli-"))
  const write = async (more: Record<string, string>): Promise<void> => {
    for (const [path, text] of Object.entries(more)) {
      await mkdir(dirname(join(directory, path)), { recursive: true })
      await writeFile(join(directory, path), text)
    }
  }
  await write(files)
  return { directory, write, remove: () => rm(directory, { recursive: true, force: true }) }
}

/** A project with one pipeline `orders` over `data/*.csv`; a file with less than half good records is held. */
export const ORDERS = `
import { csv, files, passRate, pipeline, project, table } from "${SPILLWAY}"
import { z } from "${ZOD}"
const orders = pipeline({
  name: "orders",
  source: files("data/*.csv", { format: csv() }),
  schema: z.object({ id: z.number().int(), item: z.string().optional(), quantity: z.number().int().min(0) }),
  checks: [passRate(0.5)],
  sink: table("bronze.orders", { key: ["id"] }),
})
export default project({ pipelines: [orders] })
`
