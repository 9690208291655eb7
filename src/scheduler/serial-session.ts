import type { SpillwayError } from "../core/errors.ts"
import type { Ports } from "../core/ports.ts"
import { Connection } from "../engine/connection.ts"
import type { Database, Session } from "../postgres/session.ts"

/** One connection for many: what is asked of it is done one after the other, and again while the database is away for a moment. */
export class SerialSession {
  readonly #connection: Connection
  #last: Promise<unknown> = Promise.resolve()

  /** `onRetry` is told before each repetition. `name` is part of what the server lists the connection as. */
  constructor(
    database: Database,
    name: string,
    ports: Ports,
    onRetry: (error: Pick<SpillwayError, "code" | "message">) => void,
  ) {
    // Not the signal that stops the worker: what it has in hand is settled after that.
    const signal = new AbortController().signal
    this.#connection = new Connection(database, name, ports, signal, (event) => {
      if (event.type === "retry") onRetry({ code: event.code, message: `${event.what}: ${event.message}` })
    })
  }

  /** Calls `body` in its turn, again after every transient failure until two minutes have passed: it must be safe to repeat. */
  use<T>(what: string, body: (session: Session) => Promise<T>): Promise<T> {
    const turn = this.#last.then(() => this.#connection.retrying(what, body))
    this.#last = turn.catch(() => undefined)
    return turn
  }

  /** The same in one transaction. */
  transaction<T>(what: string, body: (session: Session) => Promise<T>): Promise<T> {
    return this.use(what, (session) => session.transaction(() => body(session)))
  }

  async end(): Promise<void> {
    await this.#last
    await this.#connection.end()
  }
}
