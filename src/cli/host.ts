import type { Ports } from "../core/ports.ts"
import type { SignalTarget } from "./interrupt.ts"
import type { Outcome, Output, Stream } from "./output.ts"

/** Everything outside the command line that it touches. */
export interface World {
  readonly stdout: Stream
  readonly stderr: Stream
  readonly env: Record<string, string | undefined>
  /** The folder the command runs in. */
  readonly directory: string
  readonly ports: Ports
  readonly signals: SignalTarget
}

/** What every command gets. */
export interface Host extends World {
  readonly output: Output
  /** `--project`, as given. */
  readonly projectOption: string | undefined
}

/** What a command is declared with: `act` runs it and takes what it hands back. */
export interface CommandContext {
  act(body: (host: Host) => Promise<Outcome>): Promise<void>
}
