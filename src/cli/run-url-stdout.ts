import { SpillwayError, systemCode } from "../core/errors.ts"
import { usageError } from "./errors.ts"
import type { Host } from "./host.ts"

export interface BodyToStdout {
  write(chunk: Uint8Array): Promise<void>
  /** On a terminal: what comes next begins on a line of its own. */
  endLine(): Promise<void>
}

/** A standard stream as it is: it takes bytes, too. */
interface ByteStream {
  write(chunk: string | Uint8Array, done?: (error?: Error | null) => void): boolean
}

const NEWLINE = 10

/**
 * A body to standard output, byte by byte as it is. `write` throws `CANCELLED` when its reader has left, `RESOURCE` when it cannot be written, and
 * `CONFIG` when it is a terminal and the body no text.
 */
export function bodyToStdout({ output, stdout }: Host): BodyToStdout {
  const stream: ByteStream = stdout
  let last: number | undefined
  return {
    write(chunk) {
      if (output.closed) return Promise.reject(readerLeft())
      if (output.terminal && last === undefined && chunk.includes(0)) return Promise.reject(noText())
      last = chunk.at(-1) ?? last
      return new Promise((resolve, reject) => {
        stream.write(chunk, (error) => {
          if (error == null) resolve()
          else reject(systemCode(error) === "EPIPE" ? readerLeft() : unwritable(error))
        })
      })
    },
    async endLine() {
      if (output.terminal && last !== undefined && last !== NEWLINE) await output.data("\n")
    },
  }
}

const noText = (): SpillwayError =>
  usageError("the body is not text, and standard output is a terminal", "write it to a file: --out FILE")

const readerLeft = (): SpillwayError =>
  new SpillwayError("CANCELLED", "whoever read standard output has left", { hint: "write to a file to have all of it" })

const unwritable = (error: Error): SpillwayError =>
  new SpillwayError("RESOURCE", `standard output cannot be written (${systemCode(error) ?? error.message})`, {
    where: "standard output",
    cause: error,
    hint: "check that there is room where it leads to",
  })
