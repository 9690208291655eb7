import type { Source, SourcePartition } from "../../core/contracts.ts"
import { SpillwayError } from "../../core/errors.ts"
import type { Duration } from "../../resilience/duration.ts"
import { reading, type SqlConnection } from "./connection.ts"
import { columnsOf } from "./columns.ts"
import { QueryReader, SliceReader } from "./reader.ts"
import { listSlices, type Slicing } from "./slices.ts"

export interface PostgresSourceOptions {
  /** The address, best as `env("SHOP_DATABASE_URL")`, which keeps it out of the project; or `database(url)`. */
  connection: SqlConnection
  /** One SELECT, without parameters. Column names become the properties of records. */
  query: string
  /**
   * A column that only grows (an identity, a time of change): each run reads what came after the run before. Without it each run reads the
   * whole query, in one snapshot.
   */
  cursor?: string
  /** The columns that tell rows with the same cursor value apart. Left out: no two rows have the same, and reading checks it. */
  key?: string | readonly string[]
  /**
   * How far behind the newest value a row may still appear (a transaction that took its time): a duration for dates and times, a number for numbers.
   * Slices that reach into it are looked at again at each run. Default: none.
   */
  lag?: Duration
  /** Rows with this cursor value or a lower one are left out. Default: all are read. */
  start?: string | number
  /** Names what is read in `_source` and in dead letters, where there is no cursor. Default `query`. */
  name?: string
}

/**
 * What a query of a PostgreSQL database gives, read with a server-side cursor in one read-only snapshot. With `cursor`, a partition is a slice of its
 * values, `updated_at after "…" to "…"`: read once, resumed at a row where it was interrupted, read again when a row came late into it. Without,
 * there is one partition, which counts as changed at each run and starts over when it was interrupted. Numbers that a double cannot hold stay text.
 * Throws `CONFIG` for a faulty declaration or query and for a null cursor value, `AUTH`, and `DB_UNAVAILABLE` (tried again first).
 */
export function postgres(options: PostgresSourceOptions): Source {
  const query = options.query.trim().replace(/[;\s]+$/, "")
  const faults = faultsOf(options, query)
  if (faults.length > 0)
    throw new SpillwayError(
      "CONFIG",
      `postgres() is not well declared:\n${faults.map((fault) => `  - ${fault}`).join("\n")}`,
      {
        hint: "mend what is listed",
      },
    )
  const { connection, cursor } = options
  return cursor === undefined
    ? wholeQuery(connection, query, options.name ?? "query")
    : slicedQuery(connection, {
        query,
        cursor,
        key: options.key === undefined ? [] : [options.key].flat(),
        lag: options.lag,
        start: options.start === undefined ? undefined : String(options.start),
      })
}

function faultsOf({ cursor, key, lag, start }: PostgresSourceOptions, query: string): string[] {
  const faults: string[] = []
  if (!/^(select|with|values|table)\b/i.test(query.replace(/^(\s|--.*\n|\/\*[^]*?\*\/|\()+/, "")))
    faults.push("query: it is not one SELECT")
  if (cursor === undefined)
    for (const [name, value] of Object.entries({ key, lag, start }))
      if (value !== undefined) faults.push(`${name}: it needs a cursor`)
  if (cursor !== undefined && [key ?? []].flat().includes(cursor))
    faults.push(
      "key: it names the cursor itself; name what tells rows with the same cursor value apart, or leave it out",
    )
  return faults
}

function wholeQuery(connection: SqlConnection, query: string, name: string): Source {
  return {
    kind: "sql",
    unit: "query",
    untyped: false,
    resumable: false,
    positions: "shifting",
    description: { source: "sql", query, name },
    async list(context) {
      await reading(connection, context, (session) => columnsOf(session, query))
      // What the query would give cannot be known without reading it: it counts as changed at each run.
      const partition: SourcePartition = {
        key: name,
        version: `read ${context.ports.random.hex(16)}`,
        bytes: undefined,
        stamp: null,
      }
      return [partition]
    },
    read: (_partition, _from, context) => new QueryReader(connection, query, context),
  }
}

function slicedQuery(connection: SqlConnection, slicing: Slicing): Source {
  const { query, cursor, key, lag, start } = slicing
  return {
    kind: "sql",
    unit: "query",
    untyped: false,
    resumable: true,
    description: { source: "sql", query, cursor, key: [...key], lag: lag ?? null, start: start ?? null },
    list: (context, known) =>
      reading(connection, context, (session) => listSlices(session, slicing, known, context.unfinished ?? [])),
    read: (partition, from, context) => new SliceReader(connection, slicing, { partition, from }, context),
  }
}
