import type { Client, QueryResult as PgResult } from "pg"
import type { CopyStreamQuery, from } from "pg-copy-streams"
import { SpillwayError } from "../core/errors.ts"
import { classifyDatabaseError } from "./errors.ts"

export interface QueryResult<Row = Record<string, unknown>> {
  readonly rows: Row[]
  /** Rows that the command wrote or returned. */
  readonly rowCount: number
  /** Of a query that returns rows: its columns, with the OID and the modifier of their types. */
  readonly fields: readonly { readonly name: string; readonly typeId: number; readonly typeModifier: number }[]
}

/** One connection. Calls follow one another; errors are SpillwayErrors with the server's own error as `cause`. */
export interface Session {
  /** The server process that serves this connection. */
  readonly pid: number
  /** The connection is gone; every further call fails with `DB_UNAVAILABLE`. */
  readonly broken: boolean
  query<Row = Record<string, unknown>>(text: string, values?: readonly unknown[]): Promise<QueryResult<Row>>
  /** `COPY … FROM STDIN` with all its data; the rows copied. */
  copyIn(sql: string, data: Uint8Array): Promise<number>
  /** Begins a `COPY … FROM STDIN` whose data are yet to come. Nothing else may be asked of the session until it has ended. */
  startCopy(sql: string): Promise<CopyIn>
  /** Runs `body` between BEGIN and COMMIT; rolls back when it throws. BEGIN goes out with the body's first statement. */
  transaction<T>(body: () => Promise<T>): Promise<T>
  /** Sets a savepoint, with the next statement. */
  savepoint(name: string): void
  /** Cuts the connection without a word to the server. */
  destroy(): void
  end(): Promise<void>
}

/** A COPY under way. */
export interface CopyIn {
  /** Hands over the next bytes, which must not be written to again. What is handed over after a failure is ignored. */
  write(data: Uint8Array): void
  /** No more data: the rows copied, or why the server refused them. */
  finish(): Promise<number>
  /** Gives up: nothing is copied. */
  abandon(): Promise<void>
}

export interface ConnectOptions {
  applicationName?: string
}

export interface Database {
  readonly url: string
  /** A new connection. Throws `DB_UNAVAILABLE`, `AUTH` or `CONFIG`. */
  connect(options?: ConnectOptions): Promise<Session>
}

const CONNECT_TIMEOUT_MS = 10_000
/** A peer that vanished without closing is noticed by the operating system's probes after this. */
const KEEPALIVE_AFTER_MS = 10_000

/** A database by its URL. Nothing is connected until `connect()`. */
export function database(url: string): Database {
  return { url, connect: (options) => connect(url, options) }
}

async function connect(url: string, options: ConnectOptions = {}): Promise<Session> {
  const { default: pg } = await import("pg")
  const client = new pg.Client({
    connectionString: url,
    application_name: options.applicationName ?? "spillway",
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEPALIVE_AFTER_MS,
  })
  // Listens from the start: a server that ends the connection right after the greeting does so before connect() resumes.
  const session = new PgSession(client)
  try {
    await client.connect()
  } catch (error) {
    throw classifyDatabaseError(error)
  }
  return session
}

/** Of `pg-copy-streams`, which is loaded when it is needed. */
let copyFrom: typeof from | undefined

class PgSession implements Session {
  broken = false
  readonly #client: Client
  /** Statements that go out with the next one: each by itself would wait for an answer that tells nothing. */
  #ahead = ""

  constructor(client: Client) {
    this.#client = client
    client.on("error", () => {
      this.broken = true
    })
    client.on("end", () => {
      this.broken = true
    })
  }

  get pid(): number {
    return (this.#client as unknown as { processID: number }).processID
  }

  async query<Row>(text: string, values?: readonly unknown[]): Promise<QueryResult<Row>> {
    this.#requireAlive()
    const ahead = this.#takeAhead()
    try {
      if (values !== undefined && ahead !== "") await this.#client.query(ahead)
      const given: unknown = await (values === undefined
        ? this.#client.query(ahead + text)
        : this.#client.query(text, [...values]))
      // Of several statements each has a result.
      const result = (Array.isArray(given) ? given.at(-1) : given) as PgResult
      return {
        rows: result.rows as Row[],
        rowCount: result.rowCount ?? 0,
        fields: (result.fields ?? []).map(({ name, dataTypeID, dataTypeModifier }) => ({
          name,
          typeId: dataTypeID,
          typeModifier: dataTypeModifier,
        })),
      }
    } catch (error) {
      throw classifyDatabaseError(error)
    }
  }

  async copyIn(sql: string, data: Uint8Array): Promise<number> {
    const copy = await this.startCopy(sql)
    copy.write(data)
    return copy.finish()
  }

  async startCopy(sql: string): Promise<CopyIn> {
    copyFrom ??= (await import("pg-copy-streams")).from
    this.#requireAlive()
    return new PgCopy(this.#client, this.#client.query(copyFrom(this.#takeAhead() + sql)))
  }

  async transaction<T>(body: () => Promise<T>): Promise<T> {
    this.#ahead = "BEGIN; "
    try {
      const result = await body()
      await this.#end("COMMIT")
      return result
    } catch (error) {
      // A rollback that fails has lost its connection, and with it the transaction; the first error is the one to tell.
      if (!this.broken) await this.#end("ROLLBACK").catch(() => undefined)
      throw error
    }
  }

  /** A transaction that nothing went out of has not begun. */
  async #end(how: "COMMIT" | "ROLLBACK"): Promise<void> {
    const isBegun = !this.#takeAhead().startsWith("BEGIN")
    if (isBegun) await this.query(how)
  }

  savepoint(name: string): void {
    this.#ahead += `SAVEPOINT ${name}; `
  }

  #takeAhead(): string {
    const ahead = this.#ahead
    this.#ahead = ""
    return ahead
  }

  destroy(): void {
    this.broken = true
    ;(this.#client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy()
  }

  async end(): Promise<void> {
    if (this.broken) return
    this.broken = true
    await this.#client.end().catch(() => undefined)
  }

  #requireAlive(): void {
    if (this.broken) throw new SpillwayError("DB_UNAVAILABLE", "the database connection was lost")
  }
}

class PgCopy implements CopyIn {
  readonly #stream: CopyStreamQuery
  readonly #settled: Promise<void>
  #over = false

  constructor(client: Client, stream: CopyStreamQuery) {
    this.#stream = stream
    this.#settled = new Promise((resolve, reject) => {
      const lost = (): void => fail(new SpillwayError("DB_UNAVAILABLE", "the connection was lost during COPY"))
      const fail = (error: Error): void => {
        this.#over = true
        client.removeListener("end", lost)
        reject(error)
      }
      client.once("end", lost)
      stream.once("finish", () => {
        client.removeListener("end", lost)
        resolve()
      })
      stream.on("error", fail)
    })
    // Told by finish(); until then a failure must not count as unhandled.
    this.#settled.catch(() => undefined)
  }

  write(data: Uint8Array): void {
    if (!this.#over) this.#stream.write(data)
  }

  async finish(): Promise<number> {
    if (!this.#over) this.#stream.end()
    try {
      await this.#settled
    } catch (error) {
      throw classifyDatabaseError(error)
    }
    return this.#stream.rowCount
  }

  async abandon(): Promise<void> {
    if (!this.#over) this.#stream.destroy(new Error("given up by the client"))
    await this.#settled.catch(() => undefined)
  }
}
