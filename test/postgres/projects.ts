import { spawn, type ChildProcess, type SpawnOptions } from "node:child_process"
import { once } from "node:events"
import { chmod, mkdtemp, readdir, readFile, readlink, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import pg from "pg"
import { embeddedStatus, stopEmbedded, type EmbeddedServer } from "../../src/postgres/embedded.ts"

export const asRoot = process.getuid?.() === 0
export const SCRIPT = fileURLToPath(new URL("start-embedded.ts", import.meta.url))

const made: string[] = []

/** A project folder that every account can enter, removed by `removeProjects` together with its server. */
export async function projectFolder(mode = 0o755, parent = tmpdir()): Promise<string> {
  const folder = await mkdtemp(join(parent, "spillway-embedded-"))
  await chmod(folder, mode)
  made.push(folder)
  return folder
}

export async function removeProjects(): Promise<void> {
  for (const folder of made.splice(0)) {
    const status = await embeddedStatus(folder)
    await stopEmbedded(folder)
    if (status.state !== "absent") await rm(status.dataDirectory, { recursive: true, force: true })
    await rm(folder, { recursive: true, force: true })
  }
}

/** Another process that starts or finds the server; what it printed, and the process where it stays. */
export async function startElsewhere<T = EmbeddedServer>(
  folder: string,
  options: SpawnOptions & { stay?: boolean; script?: string; node?: string } = {},
): Promise<{ printed: T; child: ChildProcess }> {
  const { stay, script = SCRIPT, node = process.execPath, ...rest } = options
  const child = spawn(node, [script, folder, ...(stay ? ["stay"] : [])], { ...rest, stdio: ["ignore", "pipe", "pipe"] })
  let complaints = ""
  child.stderr.on("data", (chunk: Buffer) => (complaints += chunk.toString()))
  for await (const line of createInterface(child.stdout)) return { printed: JSON.parse(line) as T, child }
  if (child.exitCode === null) await once(child, "exit")
  throw new Error(`the other process printed nothing: ${complaints}`)
}

export async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url })
  // A cut connection fails the query too; that is the error to see.
  client.on("error", () => undefined)
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows
  } finally {
    await client.end()
  }
}

/** The servers' main processes on a data directory, found by walking /proc. */
export async function postmastersOn(dataDirectory: string): Promise<number[]> {
  const found: number[] = []
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue
    const command = await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "")
    const cwd = await readlink(`/proc/${name}/cwd`).catch(() => "")
    if (cwd === dataDirectory && command.includes("/postgres\0-D\0")) found.push(Number(name))
  }
  return found
}
