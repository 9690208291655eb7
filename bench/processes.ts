import { spawn, spawnSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { dirname } from "node:path"

export interface MeasuredProcess {
  /** From its start to its end, with starting Node. */
  readonly wallMs: number
  /** The largest resident set, in bytes; undefined where the system does not tell. */
  readonly peakBytes: number | undefined
  readonly stdout: string
}

export interface ProcessOptions {
  /** Exit codes that are no failure. Default: 0. */
  readonly exits?: readonly number[]
  readonly feed?: Iterable<string>
  readonly env?: NodeJS.ProcessEnv
}

/** Runs a program to its end and measures it from outside. `feed` is its standard input, `env` adds to its environment. Throws when it fails in another way than `exits` say. */
export async function runProcess(
  program: string,
  args: readonly string[],
  { exits = [0], feed, env }: ProcessOptions = {},
): Promise<MeasuredProcess> {
  // Whoever waits for the disk would wait for what others left to be written, too.
  spawnSync("sync")
  const start = performance.now()
  const child = spawn(program, args, {
    // The first line of commands asks for `node`: the one that runs this.
    env: { ...process.env, PATH: `${dirname(process.execPath)}:${process.env["PATH"]}`, ...env },
    stdio: ["pipe", "pipe", "pipe"],
  })
  let peakBytes: number | undefined
  const watch = setInterval(() => {
    peakBytes = peakOf(child.pid) ?? peakBytes
  }, 20)
  const output: Buffer[] = []
  const errors: Buffer[] = []
  child.stdout.on("data", (chunk: Buffer) => output.push(chunk))
  child.stderr.on("data", (chunk: Buffer) => errors.push(chunk))
  child.stdin.on("error", () => undefined)
  const closed = new Promise<number | null>((done) => child.on("close", done))
  for (const text of feed ?? [])
    if (!child.stdin.write(text)) {
      const drained = new Promise<void>((done) => child.stdin.once("drain", done))
      const over = await Promise.race([drained.then(() => false), closed.then(() => true)])
      if (over) break
    }
  child.stdin.end()
  const code = await closed
  clearInterval(watch)
  const wallMs = performance.now() - start
  if (code === null || !exits.includes(code))
    throw new Error(
      `${program} ${args.join(" ")} exited with ${code}: ${Buffer.concat(errors).toString().slice(-2000)}`,
    )
  return { wallMs, peakBytes, stdout: Buffer.concat(output).toString() }
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
