import type { Session } from "../postgres/session.ts"

/** A condition on `ops.dead_letters d` whose parameters begin at $1. */
export interface LetterCondition {
  readonly sql: string
  readonly values: readonly unknown[]
}

export interface LetterSums {
  readonly letters: number
  readonly from: Date | undefined
  readonly to: Date | undefined
  readonly names: readonly { kind: "code" | "pipeline" | "status" | "source"; name: string; letters: number }[]
  readonly fields: readonly { field: string; rule: string; letters: number }[]
  readonly groups: readonly LetterGroupSum[]
  readonly groupCount: number
  /** Letters by slice of the time from `from` to `to`, 0 the first; of all, and of each of the groups. */
  readonly slices: readonly { fingerprint: string; slice: number; letters: number }[]
}

export interface LetterGroupSum {
  readonly fingerprint: string
  readonly pipeline: string
  readonly step: string
  readonly code: string
  readonly field: string
  readonly rule: string
  readonly letters: number
  readonly firstSeen: Date
  readonly lastSeen: Date
}

const FIELD = String.raw`regexp_replace(%, '\[\d+\]', '[]', 'g')`
const MOST_NAMES = 10_000

/** Sums of the letters that a condition chooses, all of one snapshot: the `groups` largest groups, time in `slices` slices. */
export function sumLetters(
  session: Session,
  where: LetterCondition,
  limits: { readonly groups: number; readonly slices: number },
): Promise<LetterSums> {
  return session.transaction(async () => {
    await session.query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    const totals = await readTotals(session, where)
    const { groups, groupCount } = await readGroupSums(session, where, limits.groups)
    return {
      ...totals,
      names: await readNames(session, where),
      fields: await readFields(session, where),
      groups,
      groupCount,
      slices: await readSlices(session, where, totals, limits.slices),
    }
  })
}

type Totals = Pick<LetterSums, "letters" | "from" | "to">

async function readTotals(session: Session, where: LetterCondition): Promise<Totals> {
  const { rows } = await session.query<{ letters: string; from: Date | null; to: Date | null }>(
    `SELECT count(*) AS letters, min(d.first_seen) AS "from", max(d.first_seen) AS "to" FROM ops.dead_letters d WHERE ${where.sql}`,
    where.values,
  )
  const [row] = rows
  return { letters: Number(row?.letters ?? 0), from: row?.from ?? undefined, to: row?.to ?? undefined }
}

async function readNames(session: Session, where: LetterCondition): Promise<LetterSums["names"]> {
  const { rows } = await session.query<{ kind: LetterSums["names"][number]["kind"]; name: string; letters: string }>(
    `WITH s AS (
       SELECT d.error_code AS code, d.pipeline_name AS pipeline, d.status,
              coalesce(d.source->>'file', d.source->>'url', d.source->>'topic', d.source->>'query', '') AS source
       FROM ops.dead_letters d WHERE ${where.sql})
     SELECT CASE WHEN grouping(code) = 0 THEN 'code' WHEN grouping(pipeline) = 0 THEN 'pipeline' WHEN grouping(status) = 0 THEN 'status' ELSE 'source' END AS kind,
            coalesce(code, pipeline, status, source) AS name, count(*) AS letters
     FROM s GROUP BY GROUPING SETS ((code), (pipeline), (status), (source))
     ORDER BY letters DESC, 2 LIMIT ${MOST_NAMES}`,
    where.values,
  )
  return rows.map((row) => ({ ...row, letters: Number(row.letters) }))
}

async function readFields(session: Session, where: LetterCondition): Promise<LetterSums["fields"]> {
  const { rows } = await session.query<{ field: string; rule: string; letters: string }>(
    `SELECT f.field, f.rule, count(*) AS letters
     FROM ops.dead_letters d CROSS JOIN LATERAL (
       SELECT DISTINCT ${FIELD.replace("%", "coalesce(e.value->>'path', '')")} AS field, coalesce(e.value->>'rule', '') AS rule
       FROM jsonb_array_elements(CASE WHEN jsonb_array_length(d.faults) > 0 THEN d.faults
                                      ELSE jsonb_build_array(jsonb_build_object('path', d.path, 'rule', d.rule)) END) e) f
     WHERE ${where.sql}
     GROUP BY f.field, f.rule ORDER BY letters DESC, f.field COLLATE "C", f.rule COLLATE "C" LIMIT ${MOST_NAMES}`,
    where.values,
  )
  return rows.map((row) => ({ ...row, letters: Number(row.letters) }))
}

interface StoredGroupSum {
  fingerprint: string
  pipeline: string
  step: string
  code: string
  field: string
  rule: string
  letters: string
  first_seen: Date
  last_seen: Date
  groups: string
}

async function readGroupSums(
  session: Session,
  where: LetterCondition,
  limit: number,
): Promise<Pick<LetterSums, "groups" | "groupCount">> {
  const { rows } = await session.query<StoredGroupSum>(
    `SELECT d.fingerprint, min(d.pipeline_name) AS pipeline, min(d.step) AS step, min(d.error_code) AS code,
            coalesce(min(${FIELD.replace("%", "nullif(d.path, '')")}), '') AS field, coalesce(min(d.rule), '') AS rule, count(*) AS letters,
            min(d.first_seen) AS first_seen, max(d.last_seen) AS last_seen, count(*) OVER () AS groups
     FROM ops.dead_letters d WHERE ${where.sql}
     GROUP BY d.fingerprint ORDER BY letters DESC, d.fingerprint COLLATE "C" LIMIT ${limit}`,
    where.values,
  )
  return {
    groupCount: Number(rows[0]?.groups ?? 0),
    groups: rows.map(({ fingerprint, pipeline, step, code, field, rule, letters, first_seen, last_seen }) => ({
      ...{ fingerprint, pipeline, step, code, field, rule },
      letters: Number(letters),
      firstSeen: first_seen,
      lastSeen: last_seen,
    })),
  }
}

async function readSlices(
  session: Session,
  where: LetterCondition,
  { from, to }: Totals,
  slices: number,
): Promise<LetterSums["slices"]> {
  if (from === undefined || to === undefined) return []
  const first = where.values.length + 1
  const span = Math.max(to.getTime() - from.getTime(), 1) / 1_000
  const { rows } = await session.query<{ fingerprint: string; slice: number; letters: string }>(
    `SELECT d.fingerprint,
            greatest(0, least(${slices} - 1, floor(extract(epoch FROM d.first_seen - $${first}::timestamptz) * ${slices} / $${first + 1}::float8)))::int AS slice,
            count(*) AS letters
     FROM ops.dead_letters d WHERE ${where.sql} GROUP BY 1, 2`,
    [...where.values, from, span],
  )
  return rows.map((row) => ({ ...row, letters: Number(row.letters) }))
}
