import type { SourceContext } from "../../core/contracts.ts"
import { secretValue, shownSetting, type Setting } from "../../core/environment.ts"
import { SpillwayError, type ErrorCode } from "../../core/errors.ts"
import { registerSecret } from "../../core/secrets.ts"
import { database, type Database, type Session } from "../../postgres/session.ts"
import { retry } from "../../resilience/retry-policy.ts"
import { TEXT_SETTINGS } from "./values.ts"

/** A PostgreSQL database to read from: its address, or `env("NAME")` of the variable that holds it, or `database(url)`. */
export type SqlConnection = Setting | Database

const HINTS: Partial<Record<ErrorCode, string>> = {
  DB_UNAVAILABLE: "check that it is up and reachable, then run again",
  AUTH: "check the user, its password and its right to read what the query names",
  CONFIG: "correct the query; psql shows where it fails",
}

const ADDRESS = /^postgres(ql)?:\/\//i

/**
 * Runs `body` in one read-only transaction with one snapshot, on a connection of its own that is gone when it returns, whatever happens. A database that
 * cannot be reached is tried again (5 times). Throws `CONFIG`, `AUTH`, `DB_UNAVAILABLE`, and what the server says of the query.
 */
export async function reading<T>(
  connection: SqlConnection,
  context: SourceContext,
  body: (session: Session) => Promise<T>,
): Promise<T> {
  const transaction = new ReadTransaction(connection, context)
  try {
    return await body(await transaction.begin())
  } catch (error) {
    throw transaction.explained(error)
  } finally {
    await transaction.end()
  }
}

/** A connection with a read-only transaction under way, for reading step by step. */
export class ReadTransaction {
  readonly #connection: SqlConnection
  readonly #context: SourceContext
  #session: Session | undefined
  #where = "the source database"
  readonly #cut = (): void => this.#session?.destroy()

  constructor(connection: SqlConnection, context: SourceContext) {
    this.#connection = connection
    this.#context = context
  }

  async begin(): Promise<Session> {
    const { signal, ports } = this.#context
    signal.throwIfAborted()
    const source = sourceDatabase(this.#connection)
    this.#where = shownAddress(source.url)
    const policy = retry({ ports, keepCode: true, what: "connecting to the source database" })
    const session = await policy.execute(() => source.connect({ applicationName: "spillway source" }), { signal })
    this.#session = session
    signal.addEventListener("abort", this.#cut)
    signal.throwIfAborted()
    await session.query("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    await session.query(TEXT_SETTINGS)
    return session
  }

  /** The error with the place it happened; the signal's reason where that caused it. */
  explained(error: unknown): unknown {
    const { signal } = this.#context
    if (signal.aborted) return signal.reason
    if (!(error instanceof SpillwayError) || error.where?.startsWith(this.#where) === true) return error
    if (error.context["sqlState"] === undefined && error.code !== "DB_UNAVAILABLE") return error
    const { code, message, cause, context } = error
    return new SpillwayError(code, `the source database: ${message}`, {
      class: error.class,
      where: this.#where,
      hint: HINTS[code] ?? error.hint ?? "try the query with psql",
      cause,
      context,
    })
  }

  async end(): Promise<void> {
    this.#context.signal.removeEventListener("abort", this.#cut)
    // Ends the transaction too: nothing was written.
    await this.#session?.end()
  }
}

function sourceDatabase(connection: SqlConnection): Database {
  if (typeof connection === "object" && "connect" in connection) return connection
  const url = secretValue(connection)
  // Whatever else it is may hold a password, and is not shown.
  if (!ADDRESS.test(url) || !URL.canParse(url))
    throw new SpillwayError("CONFIG", `${shownName(connection)} is no PostgreSQL address`, {
      where: "connection",
      hint: 'give connection: env("SHOP_DATABASE_URL"), and set that variable to postgres://user:password@host:port/database',
    })
  const { password } = new URL(url)
  registerSecret(password)
  registerSecret(decodeURIComponent(password))
  return database(url)
}

const shownName = (connection: Setting): string =>
  typeof connection === "string" ? "what is given as connection" : shownSetting(connection)

/** Host, port and name: what may be shown of an address. */
function shownAddress(url: string): string {
  const { host, pathname } = new URL(url)
  return `${host}${pathname}`
}
