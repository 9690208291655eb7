import { SpillwayError } from "../../core/errors.ts"
import { commitIsThere } from "../../ledger/partitions.ts"
import type { Session } from "../../postgres/session.ts"
import type { Connection } from "../connection.ts"
import type { RunContext } from "../run-context.ts"

/** A server that does not answer COMMIT within this time is treated as out of touch. */
const COMMIT_TIMEOUT_MS = 30_000

/** Time between two questions about a transaction that is still in progress. */
const POLL_MS = 100

export interface CommitWitness {
  readonly context: RunContext
  readonly connection: Connection
  /** Written by the transaction into the position row of `witness`. */
  readonly commitId: string
  /** The partition whose position row tells whether the transaction is there. */
  readonly witness: string
}

/**
 * Runs `body` in a transaction whose outcome is known in every case. When the answer to COMMIT is lost, the transaction is
 * never repeated blindly: its server process is ended, its id is asked for until it is final, and the row it would have
 * written is looked at (an id that a crash gave back can be another transaction's). Throws `DB_UNAVAILABLE`, transient,
 * when it turns out to have been rolled back: the caller may try again.
 */
export async function commitKnowing<T>(session: Session, witness: CommitWitness, body: () => Promise<T>): Promise<T> {
  await session.query("BEGIN")
  let result: T
  let transactionId: string
  try {
    const { rows } = await session.query<{ xid: string }>("SELECT pg_current_xact_id()::text AS xid")
    transactionId = rows[0]?.xid ?? ""
    result = await body()
  } catch (error) {
    if (!session.broken) await session.query("ROLLBACK").catch(() => undefined)
    throw error
  }
  try {
    await withinTime(session, witness.context)
    return result
  } catch (error) {
    const lost = error instanceof SpillwayError && error.code === "DB_UNAVAILABLE"
    if (!lost) throw error
    session.destroy()
    const committed = await resolve(transactionId, witness)
    witness.context.emit({
      type: "commit.resolved",
      outcome: committed ? "committed" : "aborted",
      message: `the answer to a commit was lost; asked again, the database says it was ${committed ? "committed" : "rolled back"}`,
    })
    if (committed) return result
    throw error
  }
}

async function withinTime(session: Session, { ports }: RunContext): Promise<void> {
  const answered = new AbortController()
  const late = ports.clock.sleep(COMMIT_TIMEOUT_MS, answered.signal).then(
    () => {
      throw new SpillwayError(
        "DB_UNAVAILABLE",
        `no answer to COMMIT within ${COMMIT_TIMEOUT_MS / 1000} s: the connection is given up`,
      )
    },
    () => undefined,
  )
  const commit = session.query("COMMIT")
  try {
    await Promise.race([commit, late])
  } finally {
    answered.abort()
    // The loser of the race settles later and has nothing more to say.
    commit.catch(() => undefined)
  }
}

/** The new connection has ended the old one: its transaction comes to an end, one way or the other. */
async function resolve(
  transactionId: string,
  { context, connection, commitId, witness }: CommitWitness,
): Promise<boolean> {
  return connection.retrying("asking what became of a commit", async (session) => {
    while ((await statusOf(session, transactionId)) === "in progress") await context.ports.clock.sleep(POLL_MS)
    return commitIsThere(session, context.load.name, witness, commitId)
  })
}

/** `committed`, `aborted`, `in progress`; undefined for an id that is too old or, after a crash, was never given out. */
async function statusOf(session: Session, transactionId: string): Promise<string | undefined> {
  try {
    const { rows } = await session.query<{ status: string | null }>(`SELECT pg_xact_status($1::text::xid8) AS status`, [
      transactionId,
    ])
    return rows[0]?.status ?? undefined
  } catch (error) {
    if (error instanceof SpillwayError && error.code === "DB_CONSTRAINT") return undefined
    throw error
  }
}
