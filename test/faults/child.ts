import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import type { RunEvent } from "../../src/core/events.ts"
import type { RunReport } from "../../src/engine/report.ts"
import type { ChildOptions } from "./lease-child.ts"
import { until } from "./waiting.ts"

interface Line {
  readonly at?: string
  readonly event?: RunEvent
  readonly report?: RunReport
  readonly error?: { readonly code: string; readonly message: string; readonly hint?: string }
}

const SCRIPT = fileURLToPath(new URL("lease-child.ts", import.meta.url))
const alive = new Set<ChildProcess>()

/** A run in a process of its own. */
export class Child {
  readonly #process: ChildProcess
  readonly #closed: Promise<unknown>
  #complaints = ""
  readonly lines: Line[] = []

  constructor(options: ChildOptions) {
    this.#process = spawn(process.execPath, [SCRIPT, JSON.stringify(options)], { stdio: ["ignore", "pipe", "pipe"] })
    this.#closed = once(this.#process, "close")
    alive.add(this.#process)
    this.#process.stderr?.on("data", (chunk: Buffer) => (this.#complaints += chunk.toString()))
    const out = this.#process.stdout
    if (out !== null) createInterface(out).on("line", (line) => this.lines.push(JSON.parse(line) as Line))
  }

  get pid(): number {
    return this.#process.pid ?? 0
  }

  get events(): RunEvent[] {
    return this.lines.flatMap(({ event }) => (event === undefined ? [] : [event]))
  }

  /** It has come to its failpoint. */
  async reached(): Promise<void> {
    await until("the child is at its failpoint", () => {
      if (this.#process.exitCode !== null) throw new Error(`the child ended early: ${this.#complaints}`)
      return this.lines.some(({ at }) => at !== undefined)
    })
  }

  /** It has come to its failpoint and the kernel has stopped it. */
  async stopped(): Promise<void> {
    await this.reached()
    await until("the child is stopped", () => /^\d+ \(.*\) T /.test(readFileSync(`/proc/${this.pid}/stat`, "utf8")))
  }

  signal(name: NodeJS.Signals): void {
    this.#process.kill(name)
  }

  /** Waits until it has ended; what it said of it. */
  async ended(): Promise<Pick<Line, "report" | "error">> {
    await this.#closed
    alive.delete(this.#process)
    const last = this.lines.at(-1)
    if (last?.report === undefined && last?.error === undefined)
      throw new Error(`the child ended without a word: ${this.#complaints}`)
    return last
  }

  async killed(): Promise<void> {
    this.signal("SIGKILL")
    await this.#closed
    alive.delete(this.#process)
  }
}

/** Children that a failed test left behind. */
export function endChildren(): void {
  for (const child of alive) child.kill("SIGKILL")
  alive.clear()
}
