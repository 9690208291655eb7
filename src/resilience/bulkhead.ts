import { SpillwayError } from "../core/errors.ts"
import { numberOption } from "./options.ts"
import { cancellation, fullCall, type Policy } from "./policy.ts"

export interface BulkheadOptions {
  /** Calls under way at once. */
  readonly concurrent: number
  /** Calls that may wait for their turn, first come first served. Default: any number. */
  readonly queue?: number | undefined
  /** Names what is protected in the message. Default `the service`. */
  readonly what?: string | undefined
}

export interface Bulkhead extends Policy {
  readonly running: number
  readonly waiting: number
}

/**
 * At most `concurrent` calls at once; the others wait. Throws `RESOURCE` (transient) when the queue is full, and `CANCELLED` when a waiting
 * call is given up.
 */
export function bulkhead(options: BulkheadOptions): Bulkhead {
  const concurrent = numberOption("concurrent", options.concurrent, { min: 1, whole: true })
  const longest = numberOption("queue", options.queue ?? Infinity, { min: 0, whole: true })
  const what = options.what ?? "the service"
  const queue = new Set<() => void>()
  let running = 0

  const turn = (signal: AbortSignal | undefined): Promise<void> =>
    new Promise((resolve, reject) => {
      const begin = (): void => {
        signal?.removeEventListener("abort", leave)
        resolve()
      }
      const leave = (): void => {
        queue.delete(begin)
        if (signal !== undefined) reject(cancellation(signal))
      }
      signal?.addEventListener("abort", leave, { once: true })
      queue.add(begin)
    })

  /** A place is handed on without being free in between, so that nobody can push in. */
  const leavePlace = (): void => {
    const [next] = queue
    if (next === undefined) {
      running -= 1
      return
    }
    queue.delete(next)
    next()
  }

  const takePlace = async (signal: AbortSignal | undefined): Promise<void> => {
    if (running < concurrent) {
      running += 1
      return
    }
    if (queue.size >= longest) throw full(what, concurrent, queue.size)
    await turn(signal)
  }

  return {
    get running() {
      return running
    },
    get waiting() {
      return queue.size
    },
    async execute(body, given) {
      const call = fullCall(given)
      if (call.signal?.aborted) throw cancellation(call.signal)
      await takePlace(call.signal)
      try {
        return await body(call)
      } finally {
        leavePlace()
      }
    },
  }
}

const full = (what: string, concurrent: number, waiting: number): SpillwayError =>
  new SpillwayError("RESOURCE", `${what} has ${concurrent} calls under way and ${waiting} waiting, and takes no more`, {
    class: "transient",
    where: what,
    hint: "call less often, or raise `concurrent` or `queue` if the service can take it",
  })
