import { SpillwayError } from "../core/errors.ts"
import type { RunEventBody } from "../core/events.ts"
import type { Ports } from "../core/ports.ts"
import { applicationName } from "../ledger/leases.ts"
import type { Database, Session } from "../postgres/session.ts"
import { retry } from "../resilience/retry.ts"

/** A run rides out a database that is away for this long; then it ends, resumable. */
const RECONNECT = { baseMs: 200, capMs: 5_000, deadlineMs: 120_000 }

/** A session that is made again when it was lost. */
export class Connection {
  readonly #database: Database
  readonly #holder: string
  readonly #ports: Ports
  readonly #signal: AbortSignal
  readonly #emit: (event: RunEventBody) => void
  #session: Session | undefined

  constructor(
    database: Database,
    holder: string,
    ports: Ports,
    signal: AbortSignal,
    emit: (event: RunEventBody) => void,
  ) {
    this.#database = database
    this.#holder = holder
    this.#ports = ports
    this.#signal = signal
    this.#emit = emit
  }

  /** The live session, or a new one. One try. */
  async session(): Promise<Session> {
    if (this.#session !== undefined && !this.#session.broken) return this.#session
    this.#session = await this.#database.connect({ applicationName: applicationName(this.#holder) })
    return this.#session
  }

  /**
   * Calls `body` with a live session, again after every transient failure until two minutes have passed. From the second
   * attempt on `body` must find out what the first one did: its last statement may have been carried out unheard.
   */
  async retrying<T>(what: string, body: (session: Session, attempt: number) => Promise<T>): Promise<T> {
    return retry(
      what,
      RECONNECT,
      {
        clock: this.#ports.clock,
        random: this.#ports.random,
        signal: this.#signal,
        onRetry: (tries, delayMs, error) =>
          this.#emit({ type: "retry", what, tries, delayMs, code: error.code, message: error.message }),
      },
      async (attempt) => {
        const session = await this.session()
        try {
          return await body(session, attempt)
        } catch (error) {
          // A connection that failed once is in an unknown state; the next attempt gets a new one.
          if (error instanceof SpillwayError && error.code === "DB_UNAVAILABLE") session.destroy()
          throw error
        }
      },
    )
  }

  async end(): Promise<void> {
    await this.#session?.end()
  }
}
