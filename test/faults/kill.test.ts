import { spawn } from "node:child_process"
import { once } from "node:events"
import { text } from "node:stream/consumers"
import { fileURLToPath } from "node:url"
import { expect, test } from "vitest"

const SCRIPT = fileURLToPath(new URL("kill.ts", import.meta.url))

// In processes of its own, because a run is only continued by the same code: here it would be compiled differently.
test("killed at every failpoint of a first run, the next run makes it as if nothing had been", async () => {
  const child = spawn(process.execPath, [SCRIPT, "0", "--seed", "1", "--scenario", "first run"], {
    stdio: ["ignore", "pipe", "inherit"],
  })
  const [output] = await Promise.all([text(child.stdout), once(child, "exit")])
  expect(output).toMatch(/^22 passed, 0 failed$/m)
}, 120_000)
