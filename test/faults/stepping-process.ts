// The outside of a process that is killed: its trail, and the kill where it calls for it.
import { spawn, type ChildProcess } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import type { Readable, Writable } from "node:stream"
import type { SteppingOrders } from "./stepping.ts"

/** What happens at the call for the kill: sooner or later it must use `kill`. */
export type Strike = (kill: () => void) => void | Promise<void>

export interface SteppingOptions {
  /** Folder for what node makes of the sources: every process after the first starts in half the time. */
  readonly cache: string
  /** The folder it runs in. Default: this one. */
  readonly directory?: string
  /** Default: that of this process. */
  readonly env?: NodeJS.ProcessEnv
  /** Modules that it loads first. */
  readonly imports?: readonly string[]
}

/** A process that has loaded its script and waits for its orders. */
export class SteppingProcess<Orders extends SteppingOrders> {
  readonly #child: ChildProcess
  readonly #exited: Promise<unknown>

  constructor(script: string, { cache, directory, env = process.env, imports = [] }: SteppingOptions) {
    this.#child = spawn(process.execPath, [...imports.flatMap((module) => ["--import", module]), script], {
      cwd: directory,
      env: { ...env, NODE_COMPILE_CACHE: cache },
      stdio: ["pipe", "ignore", "inherit", "pipe"],
    })
    this.#exited = once(this.#child, "exit")
  }

  get pid(): number {
    return this.#child.pid as number
  }

  /** Gives it its orders; what it did, when it is dead. Throws when it died of something else than its end or a kill. */
  async follow(orders: Orders, strike: Strike = (kill) => kill()): Promise<string[]> {
    const input = this.#child.stdin as Writable
    input.on("error", () => undefined)
    input.end(`${JSON.stringify(orders)}\n`)
    const trail: string[] = []
    let struck: Promise<void> | undefined
    for await (const line of createInterface(this.#child.stdio[3] as Readable)) {
      if (line !== "KILL") trail.push(line)
      else if (struck === undefined) {
        struck = (async () => strike(() => this.kill()))()
        struck.catch(() => this.kill())
      }
    }
    await this.#exited
    await struck
    const { exitCode, signalCode } = this.#child
    if (exitCode !== 0 && signalCode !== "SIGKILL")
      throw new Error(`the process that was to be killed ended by itself (${exitCode ?? signalCode}): ${trail.at(-1)}`)
    return trail
  }

  /** At once, and without a word. */
  kill(): void {
    this.#child.kill("SIGKILL")
  }

  /** As Ctrl-C would. */
  interrupt(): void {
    this.#child.kill("SIGINT")
  }
}
