import { fstatSync } from "node:fs"
import { Socket } from "node:net"
import { addAbortSignal } from "node:stream"

const STANDARD_INPUT = 0
/** A pipe gives 64 KiB at a time, unless it was made larger. */
const MEMORY_BYTES = 256 * 1024

/**
 * Standard input, as pieces that are done with when the next one is asked for. Those of a pipe lie in one memory that is used again:
 * pieces of their own would pile up by the thousand until the collector comes by. Ends with the reason of `signal`.
 */
export async function* standardInput(signal?: AbortSignal): AsyncGenerator<Uint8Array, void, void> {
  if (isPipe()) yield* piped(signal)
  else
    for await (const piece of signal === undefined ? process.stdin : addAbortSignal(signal, process.stdin))
      yield piece as Uint8Array
}

function isPipe(): boolean {
  try {
    const stat = fstatSync(STANDARD_INPUT)
    return stat.isFIFO() || stat.isSocket()
  } catch {
    // Closed by whoever started this process: Node's own stream knows what to make of it.
    return false
  }
}

async function* piped(signal?: AbortSignal): AsyncGenerator<Uint8Array, void, void> {
  signal?.throwIfAborted()
  const memory = Buffer.allocUnsafe(MEMORY_BYTES)
  let bytes = 0
  let end: { readonly error?: unknown } | undefined
  let wake = (): void => undefined
  const over = (how: { readonly error?: unknown }): void => {
    end ??= how
    wake()
  }
  const socket = new Socket({
    fd: STANDARD_INPUT,
    readable: true,
    writable: false,
    onread: {
      buffer: memory,
      // Nothing more is read until it is asked for.
      callback: (length) => {
        bytes = length
        wake()
        return false
      },
    },
  })
  const stop = (): void => over({ error: signal?.reason })
  socket.on("end", () => over({}))
  socket.on("error", (error) => over({ error }))
  signal?.addEventListener("abort", stop)
  try {
    for (;;) {
      if (bytes === 0 && end === undefined) await new Promise<void>((resolve) => (wake = resolve))
      if (end !== undefined && "error" in end) throw end.error
      if (bytes > 0) {
        const piece = memory.subarray(0, bytes)
        bytes = 0
        yield piece
        socket.resume()
      } else if (end !== undefined) return
    }
  } finally {
    signal?.removeEventListener("abort", stop)
    socket.destroy()
  }
}
