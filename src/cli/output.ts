import { colorsFor, type Colors } from "./colors.ts"
import type { SpillwayError } from "../core/errors.ts"
import { redact } from "../core/secrets.ts"
import { systemCode } from "../core/errors.ts"
import { errorData, errorText } from "./errors.ts"

/** A standard stream, or what a test puts in its place. */
export interface Stream {
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
  write(text: string, done?: (error?: Error | null) => void): boolean
  on(event: "error", listener: (error: Error) => void): unknown
}

type Environment = Readonly<Record<string, string | undefined>>

/** What a command hands back: `data` for `--json`, `text` for people. */
export interface Outcome {
  readonly data: unknown
  readonly text?: string
  readonly exitCode?: number
  /** For the envelope when `exitCode` is not 0; a command tells people about it by itself. */
  readonly error?: (Pick<SpillwayError, "code" | "message" | "hint"> & { where?: string | undefined }) | undefined
}

/** Data goes to stdout, everything else to stderr. */
export class Output {
  readonly json: boolean
  readonly verbose: boolean
  /** stdout is a terminal, and gets tables and colour. */
  readonly terminal: boolean
  readonly stderrTerminal: boolean
  readonly colors: Colors
  readonly stderrColors: Colors
  readonly stderr: Stream
  readonly #stdout: Stream
  readonly #warnings: string[] = []
  #closed = false

  constructor(
    stdout: Stream,
    stderr: Stream,
    env: Environment,
    flags: { readonly json: boolean; readonly verbose: boolean },
  ) {
    this.json = flags.json
    this.verbose = flags.verbose
    this.#stdout = stdout
    this.stderr = stderr
    this.terminal = stdout.isTTY === true
    this.stderrTerminal = stderr.isTTY === true && env["TERM"] !== "dumb"
    this.colors = colorsFor(stdout, env)
    this.stderrColors = colorsFor(stderr, env)
    // Whoever reads may leave (`| head`): that ends the writing, never the work.
    stdout.on("error", (error) => {
      if (systemCode(error) === "EPIPE") this.#closed = true
    })
    stderr.on("error", () => undefined)
  }

  /** Nobody reads stdout any more. */
  get closed(): boolean {
    return this.#closed
  }

  /** Columns of the terminal; 80 where there is none. */
  get width(): number {
    return this.#stdout.columns || 80
  }

  /** Writes to stdout; resolves when the reader has taken it or has left. Throws what the operating system says (disk full). */
  data(text: string): Promise<void> {
    if (this.#closed || text === "") return Promise.resolve()
    return new Promise((resolve, reject) => {
      this.#stdout.write(text, (error) => {
        if (error == null || systemCode(error) === "EPIPE") resolve()
        else reject(error)
      })
    })
  }

  /** A line on stderr. */
  note(text: string): void {
    this.stderr.write(`${redact(text)}\n`)
  }

  /** A line on stderr, and one of the envelope's `warnings`. */
  warn(text: string): void {
    this.#warnings.push(redact(text))
    if (!this.json) this.note(`${this.stderrColors.yellow("warning")}: ${text}`)
  }

  /** Tells people on stderr about an error that is not the end of the command. */
  error(error: Parameters<typeof errorText>[0]): void {
    if (!this.json) this.note(errorText(error, this.stderrColors, this.verbose))
  }

  async finish(outcome: Outcome): Promise<void> {
    if (!this.json) return this.data(outcome.text === undefined || outcome.text === "" ? "" : `${outcome.text}\n`)
    const ok = (outcome.exitCode ?? 0) === 0
    const error = ok || outcome.error === undefined ? null : errorData(outcome.error)
    return this.data(envelope({ ok, data: outcome.data, warnings: this.#warnings, error }))
  }

  async fail(error: SpillwayError): Promise<void> {
    if (!this.json) return this.error(error)
    return this.data(envelope({ ok: false, data: null, warnings: this.#warnings, error: errorData(error) }))
  }
}

const envelope = (body: { ok: boolean; data: unknown; warnings: readonly string[]; error: unknown }): string =>
  `${JSON.stringify({ schema: 1, ...body }, (_key, value: unknown) => (value === undefined ? null : value))}\n`
