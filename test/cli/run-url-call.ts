import { systemClock, type Clock } from "../../src/core/clock.ts"
import { systemPorts } from "../../src/core/ports.ts"
import { seededRandom } from "../../src/core/random.ts"
import type { Stream } from "../../src/cli/output.ts"
import { runCommandLine } from "../../src/cli/program.ts"

export interface Called {
  readonly code: number
  /** As bytes: a body need not be text. */
  readonly stdout: Buffer
  readonly stderr: string
}

export interface CallOptions {
  /** The folder it runs in; default one without a project. */
  readonly directory?: string
  readonly clock?: Clock
  readonly isTerminal?: boolean
  readonly env?: Record<string, string>
}

/** Waits between tries are noted, not waited for. */
export function hurriedClock(waits: number[] = []): Clock {
  const sleep = (ms: number): Promise<void> => {
    waits.push(ms)
    return Promise.resolve()
  }
  return { ...systemClock, sleep }
}

/** `spillway run-url` within this process. */
export async function runUrl(args: readonly string[], options: CallOptions = {}): Promise<Called> {
  const stdout: Buffer[] = []
  let stderr = ""
  const streams = {
    stdout: {
      isTTY: options.isTerminal,
      write: (chunk: string | Uint8Array, done?: (error?: Error | null) => void) => {
        stdout.push(Buffer.from(chunk as Uint8Array))
        done?.()
        return true
      },
      on: () => undefined,
    } satisfies Stream,
    stderr: {
      write: (text: string) => {
        stderr += text
        return true
      },
      on: () => undefined,
    } satisfies Stream,
  }
  const code = await runCommandLine(["run-url", ...args], {
    ...streams,
    env: { ...options.env },
    directory: options.directory ?? "/",
    ports: { ...systemPorts, clock: options.clock ?? hurriedClock(), random: seededRandom(1) },
    signals: { on: () => undefined, off: () => undefined, exit: () => undefined },
  })
  return { code, stdout: Buffer.concat(stdout), stderr }
}
