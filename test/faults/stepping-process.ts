// The outside of a process that is killed: its trail, and the kill where it calls for it.
import { spawn } from "node:child_process"
import { once } from "node:events"
import { createInterface } from "node:readline"
import type { Readable } from "node:stream"
import type { SteppingOrders } from "./stepping.ts"

/** Runs `script` in a process of its own, killed where it calls for it; what it did. `cache` keeps compiled code between runs. */
export async function trailOf(script: string, orders: SteppingOrders, cache: string): Promise<string[]> {
  const child = spawn(process.execPath, [script], {
    env: { ...process.env, NODE_COMPILE_CACHE: cache },
    stdio: ["pipe", "ignore", "inherit", "pipe"],
  })
  const exited = once(child, "exit")
  child.stdin?.end(`${JSON.stringify(orders)}\n`)
  const trail: string[] = []
  for await (const line of createInterface(child.stdio[3] as Readable)) {
    if (line === "KILL") child.kill("SIGKILL")
    else if (line !== "READY") trail.push(line)
  }
  await exited
  return trail
}
