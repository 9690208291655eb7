import { spawn, type StdioOptions } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import { once } from "node:events"
import { mkdtemp, open, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Writable } from "node:stream"
import { describe, expect, it } from "vitest"

const MODULE = new URL("../../src/cli/standard-input.ts", import.meta.url).href

/** Reads its standard input, a pause after each piece, and prints the hash of it all; stops at a SIGINT. */
const READER = `
  import { createHash } from "node:crypto"
  import { setImmediate } from "node:timers/promises"
  import { standardInput } from ${JSON.stringify(MODULE)}
  const stop = new AbortController()
  process.on("SIGINT", () => stop.abort(new Error("stopped")))
  const hash = createHash("sha256")
  process.stderr.write("ready")
  try {
    for await (const piece of standardInput(stop.signal)) {
      for (let turn = 0; turn < 20; turn++) await setImmediate()
      hash.update(piece)
    }
    process.stdout.write(hash.digest("hex"))
  } catch (error) {
    process.stdout.write(error.message)
  }`

function reader(stdio: StdioOptions) {
  const child = spawn(process.execPath, ["--input-type=module", "--eval", READER], { stdio })
  let told = ""
  child.stdout?.on("data", (chunk: Buffer) => (told += chunk.toString()))
  const ready = once(child.stderr as NodeJS.ReadableStream, "data")
  const ended = once(child, "close")
  const answer = async (): Promise<string> => {
    await ended
    return told
  }
  return { child, ready, answer }
}

const content = randomBytes(3_000_000)
const digest = createHash("sha256").update(content).digest("hex")

describe("standard input", () => {
  it("gives every byte of a pipe that is fuller than it is read", async () => {
    const { child, answer } = reader(["pipe", "pipe", "pipe"])
    ;(child.stdin as Writable).end(content)
    expect(await answer()).toBe(digest)
  })

  it("waits for a pipe that has nothing yet", async () => {
    const { child, ready, answer } = reader(["pipe", "pipe", "pipe"])
    await ready
    const input = child.stdin as Writable
    for (let at = 0; at < content.length; at += 1_000_000)
      await new Promise<void>((resolve) => input.write(content.subarray(at, at + 1_000_000), () => resolve()))
    input.end()
    expect(await answer()).toBe(digest)
  })

  it("gives a file, and nothing of an empty one", async () => {
    const folder = await mkdtemp(join(tmpdir(), "spillway-stdin-"))
    try {
      for (const bytes of [content, Buffer.alloc(0)]) {
        await writeFile(join(folder, "in"), bytes)
        await using file = await open(join(folder, "in"))
        const { answer } = reader([file.fd, "pipe", "pipe"])
        expect(await answer()).toBe(createHash("sha256").update(bytes).digest("hex"))
      }
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it("ends with the signal's reason while it waits", async () => {
    const { child, ready, answer } = reader(["pipe", "pipe", "pipe"])
    await ready
    child.kill("SIGINT")
    expect(await answer()).toBe("stopped")
  })
})
