// What a database holds after a run, without run ids and times, in plain SQL; and how two such states differ.
import pg from "pg"
import { letterText, rowText, type Expected, type Mode } from "./kill-data.ts"
import { targetOf } from "./kill-pipelines.ts"
import { LEFT_OVER, whatIsLeft } from "./left-over.ts"

/** Sections of sorted lines. */
export type State = Readonly<Record<string, readonly string[]>>

/** `_seq` counts by its order, not by its value. */
const rowsSql = (mode: Mode): string => {
  const item = mode === "append" ? "_item" : "0"
  return `SELECT jsonb_build_array(order_id, at, amount::text, quantity, ip, note, _source, _position, ${item})::text
            || ' #' || row_number() OVER (ORDER BY _seq, ${item}) AS line FROM ${targetOf(mode)}`
}

const LEDGER: Readonly<Record<string, string>> = {
  letters: `SELECT jsonb_build_array(id, status, status_reason, error_code, error_msg, rule, path, faults, record, encode(raw, 'base64'), oversize, source, step,
              partition_key, ordinal, fingerprint, attempts, replay_of, schema_version)::text AS line FROM ops.dead_letters`,
  partitions: `SELECT partition_key || ' ' || status || ' ' || version || ' ' || row_number() OVER (ORDER BY seq) AS line FROM ops.processed_partitions`,
  // Which number a partition got depends on how often one was taken.
  positions: `SELECT partition_key || ' ' || (CASE position WHEN 'null' THEN position ELSE position - 'seq' END) AS line FROM ops.source_positions`,
  files: `SELECT path || ' ' || content_hash || ' ' || size || ' ' || (vanished_at IS NOT NULL) AS line FROM ops.source_files`,
}

/** What depends on how the work was divided among runs; the same when one run did it all, in however many attempts. */
const OF_THE_RUN: Readonly<Record<string, string>> = {
  counts: `SELECT partition_key || ' ' || counts AS line FROM ops.processed_partitions`,
  touched: `SELECT DISTINCT table_name || ' ' || partition_by || ' ' || partition_value AS line FROM ops.touched_partitions`,
  quality: `SELECT partition_key || ' ' || check_name || ' ' || passed || ' ' || message || ' ' || samples AS line FROM ops.quality_results`,
  totals: `SELECT key || ' ' || sum(value::bigint) AS line FROM ops.runs, jsonb_each_text(counts || jsonb_build_object('published', published)) GROUP BY key
           UNION ALL SELECT 'nulls ' || key || ' ' || sum(value::bigint) FROM ops.runs, jsonb_each_text(nulls) GROUP BY key`,
}

/** Queries that give nothing when all is well. */
const FORBIDDEN: Readonly<Record<string, string>> = {
  ...LEFT_OVER,
  "a partition is not in balance": `SELECT partition_key || ' ' || counts AS line FROM ops.processed_partitions
     WHERE (counts->>'read')::int + (counts->>'expanded')::int <> (counts->>'inserted')::int + (counts->>'updated')::int + (counts->>'unchanged')::int
         + (counts->>'duplicate')::int + (counts->>'superseded')::int + (counts->>'filtered')::int + (counts->>'deadLettered')::int`,
}

export interface Inspection {
  readonly state: State
  readonly ofTheRun: State
  /** What must never be. */
  readonly wrong: readonly string[]
  /** Runs in the ledger. */
  readonly runs: number
  /** Rows in the table, and rows inserted less rows deleted by all runs. */
  readonly rows: { readonly there: number; readonly accounted: number }
  /** Physical identity (place and writing transaction) of the rows of each source. */
  readonly tuples: ReadonlyMap<string, readonly string[]>
  readonly found: Expected
}

/** Looks at a database by its URL; `withLines`: rows in `found` carry their line. */
export async function inspect(url: string, mode: Mode, withLines = true): Promise<Inspection> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    const lines = async (sql: string): Promise<string[]> =>
      (await client.query<{ line: string }>(sql)).rows.map((row) => row.line).sort()
    const sections = async (queries: Readonly<Record<string, string>>): Promise<State> => {
      const state: Record<string, string[]> = {}
      for (const [name, sql] of Object.entries(queries)) state[name] = await lines(sql)
      return state
    }
    const table = targetOf(mode)
    const { rows: sums } = await client.query<{ runs: number; accounted: number; there: number }>(
      `SELECT count(*)::int AS runs, coalesce(sum((counts->>'inserted')::int - (counts->>'deleted')::int), 0)::int AS accounted,
              (SELECT count(*) FROM ${table})::int AS there FROM ops.runs`,
    )
    const { runs = 0, accounted = 0, there = 0 } = sums[0] ?? {}
    const { rows: tuples } = await client.query<{ source: string; tuples: string[] }>(
      `SELECT _source AS source, array_agg(ctid::text || '/' || xmin ORDER BY ctid) AS tuples FROM ${table} GROUP BY 1`,
    )
    return {
      state: { rows: await lines(rowsSql(mode)), ...(await sections(LEDGER)) },
      ofTheRun: await sections(OF_THE_RUN),
      wrong: await whatIsLeft(FORBIDDEN, lines),
      runs,
      rows: { there, accounted },
      tuples: new Map(tuples.map((row) => [row.source, row.tuples])),
      found: await asExpected(client, table, withLines),
    }
  } finally {
    await client.end()
  }
}

/** Table and letters in the words of the data that was made. */
async function asExpected(client: pg.Client, table: string, withLines: boolean): Promise<Expected> {
  const { rows } = await client.query<Record<string, string | number | null>>(
    `SELECT order_id, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS at, amount::text, quantity::int, host(ip) AS ip, note, _source, _position::int
     FROM ${table}`,
  )
  const { rows: letters } = await client.query<{
    file: string
    line: number
    code: string
    raw: Buffer
    status: string
  }>(
    `SELECT partition_key AS file, (source->>'line')::int AS line, error_code AS code, raw, status FROM ops.dead_letters`,
  )
  const withStatus = (status: string): string[] =>
    letters
      .filter((letter) => letter.status === status)
      .map(({ file, line, code, raw }) => letterText(file, line, code, raw))
      .sort()
  return {
    rows: rows
      .map((row) =>
        rowText(
          [row.order_id, row.at, row.amount, row.quantity, row.ip, row.note],
          String(row._source),
          withLines ? Number(row._position) : undefined,
        ),
      )
      .sort(),
    letters: withStatus("pending"),
    superseded: withStatus("superseded"),
  }
}

const SHOWN = 3

/** Says where two states differ; nothing when they are the same. */
export function differences(is: State, should: State): string[] {
  return Object.keys(should).flatMap((section) => {
    const here = is[section] ?? []
    const there = should[section] ?? []
    if (here.length === there.length && here.every((line, i) => line === there[i])) return []
    const more = subtract(here, there)
    const less = subtract(there, here)
    const some = (lines: readonly string[]): string =>
      lines
        .slice(0, SHOWN)
        .map((line) => `\n      ${line.slice(0, 300)}`)
        .join("")
    return [`${section}: ${more.length} lines too many${some(more)}\n    ${less.length} lines missing${some(less)}`]
  })
}

function subtract(from: readonly string[], what: readonly string[]): string[] {
  const left = new Map<string, number>()
  for (const line of what) left.set(line, (left.get(line) ?? 0) + 1)
  return from.filter((line) => {
    const n = left.get(line) ?? 0
    left.set(line, n - 1)
    return n <= 0
  })
}
