import type { Session } from "../postgres/session.ts"

/** What a group of dead letters is in. `dead-letters/group-state.ts` says how it gets from one to the other. */
export type GroupState = "new" | "ongoing" | "escalating" | "regressed" | "resolved" | "suppressed"

/** What the letters of a group tell, at one moment of the database's clock. */
export interface GroupEvidence {
  /** Undefined for a group that is not in the ledger yet. */
  readonly state: GroupState | undefined
  /** When the state was set. */
  readonly since: Date
  readonly suppressedUntil: Date | undefined
  readonly firstSeen: Date
  readonly now: Date
  /** Letters that nobody has dealt with: pending or poisoned. */
  readonly open: number
  /** Those of them that were not yet to be seen when the state was set. */
  readonly fresh: number
  /** Letters set aside in the last hour, and in the 24 hours before it. */
  readonly lastHour: number
  readonly dayBefore: number
}

export interface GroupRow extends GroupEvidence {
  readonly fingerprint: string
  readonly pipeline: string
  readonly title: string
  readonly note: string | undefined
  readonly suppressReason: string | undefined
  readonly lastSeen: Date
  /** The snapshot under which the state was set, and the one under which this was read. */
  readonly setUnder: string | undefined
  readonly readUnder: string
}

interface Stored {
  fingerprint: string
  pipeline: string
  title: string
  state: GroupState | null
  since: Date
  suppressed_until: Date | null
  suppress_reason: string | null
  note: string | null
  first_seen: Date
  last_seen: Date
  now: Date
  set_under: string | null
  read_under: string
  open: string
  fresh: string
  last_hour: string
  day_before: string
}

/** All groups that letters or the ledger know, with their evidence. */
export async function readGroups(session: Session): Promise<GroupRow[]> {
  const { rows } = await session.query<Stored>(
    `WITH letters AS (
       SELECT d.fingerprint, min(d.pipeline_name) AS pipeline, min(d.first_seen) AS first_seen, max(d.last_seen) AS last_seen,
              min(concat_ws(' ', d.error_code, nullif(concat_ws(': ', nullif(d.path, ''), d.rule), ''))) AS title,
              count(*) FILTER (WHERE d.status IN ('pending', 'poisoned')) AS open,
              count(*) FILTER (WHERE d.status IN ('pending', 'poisoned') AND (NOT pg_visible_in_snapshot(d.seen_in, g.snapshot)
                OR (d.last_seen > g.updated_at AND d.last_seen <= now()))) AS fresh,
              count(*) FILTER (WHERE d.first_seen > now() - interval '1 hour') AS last_hour,
              count(*) FILTER (WHERE d.first_seen <= now() - interval '1 hour' AND d.first_seen > now() - interval '25 hours') AS day_before
       FROM ops.dead_letters d LEFT JOIN ops.dead_letter_groups g USING (fingerprint)
       GROUP BY d.fingerprint)
     SELECT fingerprint, coalesce(l.pipeline, g.pipeline_name) AS pipeline, coalesce(g.title, l.title) AS title, g.state,
            coalesce(g.updated_at, l.first_seen) AS since, g.suppressed_until, g.suppress_reason, g.note,
            coalesce(l.first_seen, g.first_seen) AS first_seen, coalesce(l.last_seen, g.last_seen) AS last_seen, now() AS now,
            g.snapshot::text AS set_under, pg_current_snapshot()::text AS read_under,
            coalesce(l.open, 0) AS open, coalesce(l.fresh, 0) AS fresh, coalesce(l.last_hour, 0) AS last_hour,
            coalesce(l.day_before, 0) AS day_before
     FROM letters l FULL JOIN ops.dead_letter_groups g USING (fingerprint)
     ORDER BY fingerprint`,
  )
  return rows.map((row) => ({
    fingerprint: row.fingerprint,
    pipeline: row.pipeline,
    title: row.title,
    state: row.state ?? undefined,
    since: row.since,
    suppressedUntil: row.suppressed_until ?? undefined,
    suppressReason: row.suppress_reason ?? undefined,
    note: row.note ?? undefined,
    firstSeen: row.first_seen,
    lastSeen: row.last_seen,
    now: row.now,
    setUnder: row.set_under ?? undefined,
    readUnder: row.read_under,
    open: Number(row.open),
    fresh: Number(row.fresh),
    lastHour: Number(row.last_hour),
    dayBefore: Number(row.day_before),
  }))
}

/**
 * Writes the states that groups are in by the evidence of `was`, in one statement. A group whose state somebody else set in the meantime
 * keeps that one, also where it is the same by name.
 */
export async function writeGroupStates(
  session: Session,
  groups: readonly { readonly was: GroupRow; readonly state: GroupState }[],
): Promise<void> {
  if (groups.length === 0) return
  const column = (of: (group: (typeof groups)[number]) => unknown): unknown[] => groups.map(of)
  await session.query(
    `INSERT INTO ops.dead_letter_groups AS g (fingerprint, pipeline_name, title, state, first_seen, last_seen, updated_at, snapshot)
     SELECT v.fingerprint, v.pipeline, v.title, v.state, v.first_seen, v.last_seen, v.at, v.read_under
     FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::timestamptz[], $9::pg_snapshot[])
       v(fingerprint, pipeline, title, was, state, first_seen, last_seen, at, read_under)
     ON CONFLICT (fingerprint) DO UPDATE SET
       state = excluded.state, first_seen = excluded.first_seen, last_seen = excluded.last_seen,
       updated_at = CASE WHEN g.state = excluded.state THEN g.updated_at ELSE excluded.updated_at END,
       snapshot = CASE WHEN g.state = excluded.state THEN g.snapshot ELSE excluded.snapshot END,
       suppressed_until = CASE WHEN excluded.state = 'suppressed' THEN g.suppressed_until END,
       suppress_reason = CASE WHEN excluded.state = 'suppressed' THEN g.suppress_reason END
     WHERE EXISTS (SELECT FROM unnest($1::text[], $4::text[], $10::text[]) u(fingerprint, was, set_under)
       WHERE u.fingerprint = g.fingerprint AND u.was = g.state AND u.set_under IS NOT DISTINCT FROM g.snapshot::text)`,
    [
      column(({ was }) => was.fingerprint),
      column(({ was }) => was.pipeline),
      column(({ was }) => was.title),
      column(({ was }) => was.state ?? null),
      column(({ state }) => state),
      column(({ was }) => was.firstSeen),
      column(({ was }) => was.lastSeen),
      column(({ was }) => was.now),
      column(({ was }) => was.readUnder),
      column(({ was }) => was.setUnder ?? null),
    ],
  )
}

/** What somebody decides about a group. */
export type GroupDecision =
  | { readonly kind: "resolve" }
  | { readonly kind: "suppress"; readonly reason: string; readonly until: Date }
  | { readonly kind: "note"; readonly note: string }

/** Writes a decision about a group of the ledger; false where it is not there. A note leaves the state, and since when, as they are. */
export async function decideGroup(session: Session, fingerprint: string, decision: GroupDecision): Promise<boolean> {
  const { rowCount } = await writeDecision(session, fingerprint, decision)
  return rowCount > 0
}

function writeDecision(session: Session, fingerprint: string, decision: GroupDecision): Promise<{ rowCount: number }> {
  switch (decision.kind) {
    case "resolve":
      return session.query(
        `UPDATE ops.dead_letter_groups SET state = 'resolved', suppressed_until = NULL, suppress_reason = NULL, updated_at = now(),
           snapshot = pg_current_snapshot()
         WHERE fingerprint = $1`,
        [fingerprint],
      )
    case "suppress":
      return session.query(
        `UPDATE ops.dead_letter_groups SET state = 'suppressed', suppressed_until = $2, suppress_reason = $3, updated_at = now(),
           snapshot = pg_current_snapshot()
         WHERE fingerprint = $1`,
        [fingerprint, decision.until, decision.reason],
      )
    case "note":
      return session.query(`UPDATE ops.dead_letter_groups SET note = $2 WHERE fingerprint = $1`, [
        fingerprint,
        decision.note,
      ])
  }
}
