import { createInterface } from "node:readline/promises"
import type { Readable } from "node:stream"
import { SpillwayError } from "../core/errors.ts"
import { usageError } from "./errors.ts"
import type { Host } from "./host.ts"

/** Where answers come from. */
export type AnswerStream = Readable & { readonly isTTY?: boolean | undefined }

/**
 * Asks whether to go on; anything but `y` or `yes` is no. Only on a terminal: throws `CONFIG` where nobody can answer,
 * and `CANCELLED` when the input ends instead of answering.
 */
export async function confirm(
  host: Pick<Host, "output">,
  question: string,
  input: AnswerStream = process.stdin,
): Promise<boolean> {
  if (host.output.json || !host.output.stderrTerminal || input.isTTY !== true)
    throw usageError(`nobody can be asked here: ${question}`, "add --yes when that is what you want")
  const lines = createInterface({ input, terminal: false })
  const left = new AbortController()
  const leave = (): void => left.abort()
  lines.once("close", leave)
  // A terminal that goes away closes its stream without an end.
  input.once("close", leave)
  host.output.stderr.write(`${question} [y/N] `)
  try {
    return /^y(es)?$/i.test((await lines.question("", { signal: left.signal })).trim())
  } catch (error) {
    throw new SpillwayError("CANCELLED", "nothing was done: the question was not answered", { cause: error })
  } finally {
    input.off("close", leave)
    lines.close()
  }
}
