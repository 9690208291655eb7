// A child process that runs a pipeline, as seen from the parent that kills it.
import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import type { Readable, Writable } from "node:stream"
import { fileURLToPath } from "node:url"
import type { Orders } from "./kill-child.ts"

const SCRIPT = fileURLToPath(new URL("kill-child.ts", import.meta.url))

/** A process of its own group that has loaded the library and waits for its orders. */
export class Victim {
  readonly #child: ChildProcess
  readonly #lines: string[] = []
  readonly #exited: Promise<unknown>
  readonly #drained: Promise<void>
  #called: () => void = () => undefined

  /** `cache` keeps what node makes of the sources, so that every process after the first starts in half the time. */
  constructor(cache: string) {
    this.#child = spawn(process.execPath, [SCRIPT], {
      env: { ...process.env, NODE_COMPILE_CACHE: cache },
      detached: true,
      stdio: ["pipe", "ignore", "inherit", "pipe"],
    })
    this.#exited = once(this.#child, "exit")
    this.#drained = this.#listen()
  }

  /** Runs undisturbed to its end; the trail. */
  async run(orders: Orders): Promise<readonly string[]> {
    this.#order(orders)
    await this.#exited
    await this.#drained
    return this.#trail()
  }

  /** Runs until it calls for the kill, gets it by `strike`, and is dead; the trail up to then. */
  async runToDeath(orders: Orders, strike: (kill: () => void) => Promise<void>): Promise<readonly string[]> {
    const called = new Promise<void>((resolve) => (this.#called = resolve))
    this.#order(orders)
    await Promise.race([called, this.#exited])
    await strike(() => this.kill())
    await this.#exited
    await this.#drained
    return this.#trail()
  }

  /** The whole process group, at once. */
  kill(): void {
    if (this.#child.exitCode === null && this.#child.signalCode === null)
      process.kill(-(this.#child.pid as number), "SIGKILL")
  }

  #order(orders: Orders): void {
    const input = this.#child.stdin as Writable
    input.on("error", () => undefined)
    input.end(`${JSON.stringify(orders)}\n`)
  }

  async #listen(): Promise<void> {
    for await (const line of createInterface(this.#child.stdio[3] as Readable)) {
      if (line === "KILL") this.#called()
      this.#lines.push(line)
    }
  }

  #trail(): readonly string[] {
    return this.#lines.filter((line) => line !== "READY" && line !== "KILL")
  }
}
