import { SpillwayError } from "../core/errors.ts"
import type { RunEventBody } from "../core/events.ts"
import type { Ports } from "../core/ports.ts"
import { applicationName, endConnection } from "../ledger/leases.ts"
import type { Database, Session } from "../postgres/session.ts"
import { retry } from "../resilience/retry-policy.ts"

/** A run rides out a database that is away for this long; then it ends, resumable. */
const RECONNECT = {
  attempts: Infinity,
  maxDelay: "5s",
  deadline: "2 minutes",
  finishLastTry: true,
  keepCode: true,
  retryIf: (thrown: unknown) => thrown instanceof SpillwayError && thrown.class === "transient",
}

/**
 * Makes the connections of a holder, each in place of the one before: what the server has not noticed the loss of is ended,
 * so that its locks are in nobody's way.
 */
export function successiveConnections(database: Database, holder: string): () => Promise<Session> {
  let before: Session | undefined
  return async () => {
    const session = await database.connect({ applicationName: applicationName(holder) })
    try {
      if (before !== undefined) await endConnection(session, holder, before.pid)
    } catch (error) {
      session.destroy()
      throw error
    }
    before = session
    return session
  }
}

/** A session that is made again when it was lost. */
export class Connection {
  readonly #connect: () => Promise<Session>
  readonly #ports: Ports
  readonly #signal: AbortSignal
  readonly #emit: (event: RunEventBody) => void
  #session: Session | undefined
  #connecting: Promise<Session> | undefined

  constructor(
    database: Database,
    holder: string,
    ports: Ports,
    signal: AbortSignal,
    emit: (event: RunEventBody) => void,
  ) {
    this.#connect = successiveConnections(database, holder)
    this.#ports = ports
    this.#signal = signal
    this.#emit = emit
  }

  /** The live session, or a new one. One try. */
  async session(): Promise<Session> {
    if (this.#session !== undefined && !this.#session.broken) return this.#session
    // Two may ask at once: a heartbeat, and the run itself.
    this.#connecting ??= this.#connect().finally(() => (this.#connecting = undefined))
    this.#session = await this.#connecting
    return this.#session
  }

  /**
   * Calls `body` with a live session, again after every transient failure until two minutes have passed. From the second
   * attempt on `body` must find out what the first one did: its last statement may have been carried out unheard.
   */
  async retrying<T>(what: string, body: (session: Session, attempt: number) => Promise<T>): Promise<T> {
    const policy = retry({
      ...RECONNECT,
      what,
      ports: this.#ports,
      // What is left to do after a stop is tried once.
      ...(this.#signal.aborted ? { attempts: 1 } : {}),
      onRetry: ({ attempt, delayMs, error }) =>
        this.#emit({ type: "retry", what, tries: attempt, delayMs, code: error.code, message: error.message }),
    })
    return policy.execute(
      async ({ attempt }) => {
        const session = await this.session()
        try {
          return await body(session, attempt)
        } catch (error) {
          // A connection that failed once is in an unknown state; the next attempt gets a new one.
          if (error instanceof SpillwayError && error.code === "DB_UNAVAILABLE") session.destroy()
          throw error
        }
      },
      this.#signal.aborted ? {} : { signal: this.#signal },
    )
  }

  async end(): Promise<void> {
    await this.#session?.end()
  }
}
