import type { BreakerStore, StoredBreaker } from "../core/breakers.ts"
import type { JsonValue } from "../core/json.ts"
import type { Database, Session } from "../postgres/session.ts"
import { writeBudget } from "./retry-budgets.ts"

/** Breakers in `ops.breakers`, by the database's clock, which all processes on a database share. */
export interface SharedBreakers extends BreakerStore {
  noteBudget: NonNullable<BreakerStore["noteBudget"]>
  /** Ends the connection. */
  end(): Promise<void>
}

export interface SharedBreakersOptions {
  /** A breaker's state is asked for again after this, in milliseconds; failures ask at once. Default 1000. */
  readonly staleAfterMs?: number | undefined
}

/**
 * Breakers in `ops.breakers`, over a connection of their own that is made at first use, and again when it was lost. Calls throw what
 * `Database.connect` and `Session.query` throw.
 */
export function sharedBreakers(database: Database, options: SharedBreakersOptions = {}): SharedBreakers {
  let connecting: Promise<Session> | undefined
  const session = async (): Promise<Session> => {
    connecting ??= database.connect({ applicationName: "spillway/breakers" })
    try {
      const made = await connecting
      if (!made.broken) return made
    } catch (error) {
      connecting = undefined
      throw error
    }
    connecting = undefined
    return session()
  }
  // A connection does one thing at a time, and many calls may end at once.
  let before: Promise<unknown> = Promise.resolve()
  const inTurn = <T>(ask: (on: Session) => Promise<T>): Promise<T> => {
    const asked = before.then(async () => ask(await session()))
    before = asked.catch(() => undefined)
    return asked
  }
  return {
    staleAfterMs: options.staleAfterMs ?? 1_000,
    read: (name) => inTurn((on) => readBreaker(on, name)),
    write: (name, version, next) => inTurn((on) => writeBreaker(on, name, version, next)),
    noteBudget: (name, note) => inTurn((on) => writeBudget(on, name, note)),
    async end() {
      const made = await connecting?.catch(() => undefined)
      connecting = undefined
      await made?.end()
    },
  }
}

interface Row {
  readonly now: number
  readonly version: number
  readonly state: StoredBreaker["state"] | null
  readonly opened_at: number | null
  readonly retry_at: number | null
  readonly stats: Record<string, JsonValue> | null
}

const COLUMNS = `b.state, b.stats - 'version' AS stats,
  coalesce((b.stats ->> 'version')::float8, 0) AS version,
  (extract(epoch FROM b.opened_at) * 1000)::float8 AS opened_at,
  (extract(epoch FROM b.retry_at) * 1000)::float8 AS retry_at,
  (extract(epoch FROM clock_timestamp()) * 1000)::float8 AS now`

async function readBreaker(session: Session, name: string): ReturnType<SharedBreakers["read"]> {
  const { rows } = await session.query<Row>(
    `SELECT ${COLUMNS} FROM (VALUES (1)) AS always LEFT JOIN ops.breakers b ON b.name = $1`,
    [name],
  )
  const [row] = rows
  return { now: row?.now ?? 0, version: row?.version ?? 0, stored: row === undefined ? undefined : storedOf(row) }
}

const storedOf = (row: Row): StoredBreaker | undefined =>
  row.state === null
    ? undefined
    : {
        state: row.state,
        openedAt: row.opened_at ?? undefined,
        retryAt: row.retry_at ?? undefined,
        stats: row.stats ?? {},
      }

/** One statement that writes only over the version that was read: two that race cannot both win, nor undo what a third did. */
async function writeBreaker(session: Session, name: string, version: number, next: StoredBreaker): Promise<boolean> {
  const values = [
    name,
    next.state,
    next.openedAt ?? null,
    next.retryAt ?? null,
    JSON.stringify({ ...next.stats, version: version + 1 }),
  ]
  const { rowCount } =
    version === 0
      ? await session.query(
          `INSERT INTO ops.breakers AS b (name, state, opened_at, retry_at, stats)
           VALUES ($1, $2, to_timestamp($3::float8 / 1000), to_timestamp($4::float8 / 1000), $5::jsonb)
           ON CONFLICT (name) DO UPDATE SET state = excluded.state, opened_at = excluded.opened_at,
             retry_at = excluded.retry_at, stats = excluded.stats, updated_at = now()
           WHERE b.stats ->> 'version' IS NULL`,
          values,
        )
      : await session.query(
          `UPDATE ops.breakers SET state = $2, opened_at = to_timestamp($3::float8 / 1000),
             retry_at = to_timestamp($4::float8 / 1000), stats = $5::jsonb, updated_at = now()
           WHERE name = $1 AND (stats ->> 'version')::float8 = $6`,
          [...values, version],
        )
  return rowCount === 1
}

/** A breaker as people look at it. */
export interface ListedBreaker {
  readonly name: string
  readonly state: StoredBreaker["state"]
  /** Since when calls are refused; undefined while it is closed. */
  readonly openedAt: Date | undefined
  /** When the next trial call may go; undefined while it is closed. Past when it may go at once. */
  readonly nextTryAt: Date | undefined
  /** A trial call is on its way: the next may go when it has ended, `nextTryAt` at the latest. */
  readonly isProbing: boolean
  /** Trial calls that succeeded in a row. */
  readonly passedProbes: number
  readonly updatedAt: Date
}

interface ListedRow {
  readonly name: string
  readonly state: StoredBreaker["state"]
  readonly opened_at: Date | null
  readonly retry_at: Date | null
  readonly updated_at: Date
  readonly passed: number
  /** When the trial call that is on its way is taken for lost. */
  readonly probe_until: Date | null
}

/** All breakers, those that are not closed first. A row that somebody wrote by hand may lack anything. */
export async function listBreakers(session: Session): Promise<ListedBreaker[]> {
  const { rows } = await session.query<ListedRow>(
    `SELECT name, state, opened_at, retry_at, updated_at,
            CASE WHEN jsonb_typeof(stats -> 'passed') = 'number' THEN (stats ->> 'passed')::float8 ELSE 0 END AS passed,
            CASE WHEN jsonb_typeof(stats -> 'probe' -> 'until') = 'number'
                 THEN to_timestamp((stats -> 'probe' ->> 'until')::float8 / 1000) END AS probe_until
     FROM ops.breakers ORDER BY state = 'closed', name`,
  )
  const { rows: clock } = await session.query<{ now: Date }>("SELECT clock_timestamp() AS now")
  return rows.map((row) => listed(row, clock[0]?.now ?? row.updated_at))
}

function listed(row: ListedRow, now: Date): ListedBreaker {
  const { name, state, updated_at: updatedAt, passed } = row
  const isProbing = state === "half_open" && row.probe_until !== null && row.probe_until > now
  const next = { closed: null, open: row.retry_at ?? updatedAt, half_open: isProbing ? row.probe_until : updatedAt }
  return {
    name,
    state,
    openedAt: state === "closed" ? undefined : (row.opened_at ?? updatedAt),
    nextTryAt: next[state] ?? undefined,
    isProbing,
    passedProbes: state === "half_open" ? passed : 0,
    updatedAt,
  }
}
