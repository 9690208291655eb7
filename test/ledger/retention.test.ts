import fc from "fast-check"
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { parseDuration } from "../../src/core/duration.ts"
import { systemClock } from "../../src/core/clock.ts"
import { migrations } from "../../src/ledger/migrations/index.ts"
import type { PrunableLetters } from "../../src/ledger/expiry.ts"
import { prune, retentionOf, type PruneOptions } from "../../src/ledger/retention.ts"
import { migrate } from "../../src/postgres/migrate.ts"
import { database, type Database, type Session } from "../../src/postgres/session.ts"
import { manualClock } from "../../src/testing/clock.ts"
import { freshDatabase, type FreshDatabase } from "../postgres/server.ts"

const clock = systemClock
let fresh: FreshDatabase
let server: Database
let session: Session

beforeAll(async () => {
  fresh = await freshDatabase()
  server = database(fresh.url)
  session = await server.connect()
  await migrate(session, migrations)
})
afterAll(async () => {
  await session.end()
  await fresh.drop()
})
beforeEach(() =>
  session.query(`TRUNCATE ops.runs, ops.pipeline_logs, ops.pipeline_checkpoint, ops.metrics, ops.quality_results, ops.touched_partitions,
    ops.dead_letters, ops.processed_partitions, ops.source_positions, ops.source_files, ops.leases, ops_staging.progress`),
)

const rows = async <T>(sql: string): Promise<T[]> => (await session.query<{ value: T }>(sql)).rows.map((r) => r.value)

/** Runs of pipeline `p` by id, `days` ago, with a young one behind them. */
async function runs(...ended: [id: string, days: number][]): Promise<void> {
  for (const [id, days] of [...ended, ["latest", 0] as const])
    await session.query(
      `INSERT INTO ops.runs (run_id, pipeline_name, status, definition_version, started_at, finished_at)
       VALUES ($1, 'p', 'completed', 'v', now() - $2 * interval '1 day', now() - $2 * interval '1 day')`,
      [id, days],
    )
}

const pruneAll = (options?: PruneOptions) => prune(server, retentionOf(), { clock }, options)

describe("durations", () => {
  it.each([
    ["30 days", 30 * 86_400_000],
    ["1 day", 86_400_000],
    ["90d", 90 * 86_400_000],
    [" 12 Hours ", 12 * 3_600_000],
    ["15m", 900_000],
    ["200ms", 200],
    ["2 weeks", 14 * 86_400_000],
    ["0 days", 0],
  ])("%j", (text, ms) => expect(parseDuration(text)).toBe(ms))

  it.each([
    "",
    "30",
    "days",
    "1.5 days",
    "-1 day",
    "3 months",
    "1 ss",
    "1 hs",
    "9999999999 weeks",
    "toString",
    "1 constructor",
  ])("%j is refused with a hint", (text) =>
    expect(() => parseDuration(text, "here")).toThrow(
      expect.objectContaining({ code: "CONFIG", where: "here", hint: expect.stringContaining("30 days") as unknown }),
    ),
  )
})

describe("retention", () => {
  it("fills in defaults, and knows for ever", () => {
    const day = 86_400_000
    expect(retentionOf({ logs: "2 days", runs: "forever" })).toEqual({
      logs: 2 * day,
      checkpoints: 90 * day,
      metrics: 90 * day,
      quality: 90 * day,
      touches: 7 * day,
      runs: undefined,
    })
  })

  it("lists every fault at once", () => {
    const declared = { logs: "soon", metrics: 3, letters: "1 day" } as unknown as Parameters<typeof retentionOf>[0]
    expect(() => retentionOf(declared)).toThrow(/"letters" is not a family[^]*logs: "soon"[^]*metrics: 3/)
  })
})

describe("prune", () => {
  it("removes what is older than its retention, and nothing younger", async () => {
    await runs(["old", 400], ["mid", 100])
    await session.query(`
      INSERT INTO ops.pipeline_logs (timestamp, level, message, run_id) SELECT now() - d * interval '1 day', 'INFO', d::text, NULL FROM unnest(ARRAY[1, 29, 31, 400]) d;
      INSERT INTO ops.pipeline_checkpoint (pipeline_name, run_id, stage, checkpoint_key, status, updated_at)
        SELECT 'p', 'mid', 's', d::text, 'completed', now() - d * interval '1 day' FROM unnest(ARRAY[1, 89, 91]) d;
      INSERT INTO ops.metrics (ts, metric_name, metric_value, metric_type) SELECT now() - d * interval '1 day', d::text, 1, 'gauge' FROM unnest(ARRAY[89, 91]) d;
      INSERT INTO ops.quality_results (run_id, pipeline_name, partition_key, table_name, check_name, severity, passed, message, created_at)
        SELECT 'mid', 'p', 'a', 't', d::text, 'fail', true, '', now() - d * interval '1 day' FROM unnest(ARRAY[89, 91]) d;
    `)
    const counted = await pruneAll({ dryRun: true })
    expect(counted).toEqual({
      dryRun: true,
      removed: { logs: 2, checkpoints: 1, metrics: 1, quality: 1, touches: 0, runs: 1 },
    })
    expect(await rows(`SELECT count(*)::int AS value FROM ops.pipeline_logs`)).toEqual([4])
    expect(await pruneAll()).toEqual({ ...counted, dryRun: false })
    expect(await rows(`SELECT message AS value FROM ops.pipeline_logs ORDER BY id`)).toEqual(["1", "29"])
    expect(await rows(`SELECT checkpoint_key AS value FROM ops.pipeline_checkpoint ORDER BY id`)).toEqual(["1", "89"])
    expect(await rows(`SELECT metric_name AS value FROM ops.metrics`)).toEqual(["89"])
    expect(await rows(`SELECT check_name AS value FROM ops.quality_results`)).toEqual(["89"])
    expect(await rows(`SELECT run_id AS value FROM ops.runs ORDER BY run_no`)).toEqual(["mid", "latest"])
    expect((await pruneAll()).removed).toEqual({ logs: 0, checkpoints: 0, metrics: 0, quality: 0, touches: 0, runs: 0 })
  })

  it("goes by the earlier of the two clocks: a clock that is ahead removes nothing too early", async () => {
    await session.query(
      `INSERT INTO ops.pipeline_logs (timestamp, level, message) VALUES (now() - interval '10 days', 'INFO', 'young')`,
    )
    const ahead = await prune(server, retentionOf(), { clock: manualClock(Date.now() + 365 * 86_400_000) })
    expect(ahead.removed.logs).toBe(0)
    const behind = await prune(server, retentionOf({ logs: "1 day" }), {
      clock: manualClock(Date.now() - 30 * 86_400_000),
    })
    expect(behind.removed.logs).toBe(0)
    expect((await prune(server, retentionOf({ logs: "1 day" }), { clock })).removed.logs).toBe(1)
  })

  it("keeps everything of a family that is kept for ever", async () => {
    await session.query(`INSERT INTO ops.pipeline_logs (timestamp, level, message) VALUES ('1990-01-01', 'INFO', '')`)
    expect((await prune(server, retentionOf({ logs: "forever" }), { clock })).removed.logs).toBe(0)
  })

  it("works through many batches", async () => {
    await session.query(`INSERT INTO ops.pipeline_logs (timestamp, level, message)
      SELECT now() - CASE WHEN n % 3 = 0 THEN interval '1 day' ELSE interval '31 days' END, 'INFO', '' FROM generate_series(1, 30001) n`)
    expect((await pruneAll()).removed.logs).toBe(20001)
    expect(await rows(`SELECT count(*)::int AS value FROM ops.pipeline_logs`)).toEqual([10000])
  })

  it("stops between batches when it is asked to", async () => {
    await session.query(`INSERT INTO ops.pipeline_logs (timestamp, level, message) VALUES ('1990-01-01', 'INFO', '')`)
    const stop = new Error("stop")
    await expect(pruneAll({ signal: AbortSignal.abort(stop) })).rejects.toBe(stop)
    expect(await rows(`SELECT count(*)::int AS value FROM ops.pipeline_logs`)).toEqual([1])
  })

  it("leaves rows that others have locked, without waiting", async () => {
    await session.query(
      `INSERT INTO ops.pipeline_logs (timestamp, level, message) SELECT '1990-01-01', 'INFO', n::text FROM generate_series(1, 3) n`,
    )
    await session.transaction(async () => {
      await session.query(`SELECT FROM ops.pipeline_logs WHERE message = '2' FOR UPDATE`)
      expect((await pruneAll()).removed.logs).toBe(2)
    })
    expect((await pruneAll()).removed.logs).toBe(1)
  })

  it("may run several times at once: each row is counted once", async () => {
    await session.query(
      `INSERT INTO ops.pipeline_logs (timestamp, level, message) SELECT '1990-01-01', 'INFO', '' FROM generate_series(1, 40000)`,
    )
    const reports = await Promise.all([1, 2, 3].map(() => pruneAll()))
    expect(reports.reduce((sum, report) => sum + report.removed.logs, 0)).toBe(40000)
    expect(await rows(`SELECT count(*)::int AS value FROM ops.pipeline_logs`)).toEqual([0])
  })
})

describe("what something still refers to stays", () => {
  it.each([
    [
      "a partition",
      `INSERT INTO ops.processed_partitions (pipeline_name, partition_key, status, definition_version, run_id) VALUES ('p', 'a', 'completed', 'v', 'old')`,
    ],
    [
      "a position",
      `INSERT INTO ops.source_positions (pipeline_name, partition_key, epoch, run_id) VALUES ('p', 'a', 1, 'old')`,
    ],
    [
      "a file",
      `INSERT INTO ops.source_files (pipeline_name, path, content_hash, run_id) VALUES ('p', 'a', 'h', 'old')`,
    ],
    [
      "a held lease",
      `INSERT INTO ops.leases (pipeline_name, partition_key, holder, run_id, expires_at) VALUES ('p', 'a', 'h', 'old', now())`,
    ],
    [
      "a dead letter",
      `INSERT INTO ops.dead_letters (id, fingerprint, pipeline_name, run_id, partition_key, ordinal, source, step, error_code, error_msg, raw, schema_version) VALUES ('d', 'f', 'p', 'old', 'a', 1, '{}', 's', 'DECODE', '', '', '1')`,
    ],
    ["a young log line", `INSERT INTO ops.pipeline_logs (level, message, run_id) VALUES ('INFO', '', 'old')`],
    [
      "a young checkpoint",
      `INSERT INTO ops.pipeline_checkpoint (pipeline_name, run_id, stage, status) VALUES ('p', 'old', 's', 'completed')`,
    ],
    [
      "a young metric",
      `INSERT INTO ops.metrics (run_id, metric_name, metric_value, metric_type) VALUES ('old', 'm', 1, 'gauge')`,
    ],
    [
      "a young verdict",
      `INSERT INTO ops.quality_results (run_id, pipeline_name, partition_key, table_name, check_name, severity, passed, message) VALUES ('old', 'p', 'a', 't', 'c', 'warn', true, '')`,
    ],
    [
      "a touch",
      `INSERT INTO ops.touched_partitions (table_name, partition_by, partition_value, run_id) VALUES ('t', 'b', 'v', 'old')`,
    ],
    [
      "progress",
      `INSERT INTO ops_staging.progress (run_id, partition_key, partition_no, group_no, version, seq, epoch, tally) VALUES ('old', 'a', 1, 1, 'v', 1, 1, '{}')`,
    ],
    [
      "a staging table",
      `DO $$ BEGIN EXECUTE 'CREATE TABLE ops_staging.run_' || (SELECT run_no FROM ops.runs WHERE run_id = 'old') || '_1 ()'; END $$`,
    ],
  ])("a run of %s", async (_what, sql) => {
    await runs(["old", 400], ["unused", 400])
    await session.query(sql)
    const counted = (await pruneAll({ dryRun: true })).removed.runs
    expect((await pruneAll()).removed.runs).toBe(1)
    expect(counted).toBe(1)
    expect(await rows(`SELECT run_id AS value FROM ops.runs ORDER BY run_no`)).toEqual(["old", "latest"])
    for (const name of await rows<string>(`SELECT relname AS value FROM pg_class WHERE relname ~ '^run_[0-9]+_1$'`))
      await session.query(`DROP TABLE ops_staging.${name}`)
  })

  it("a run that a table of a later version names", async () => {
    await runs(["old", 400], ["unused", 400])
    await session.query(`CREATE TABLE ops.later (run_id varchar(50)); INSERT INTO ops.later VALUES ('old')`)
    expect((await pruneAll()).removed.runs).toBe(1)
    await session.query(`DROP TABLE ops.later`)
    expect((await pruneAll()).removed.runs).toBe(1)
  })

  it("not for a lease that was given back", async () => {
    await runs(["old", 400])
    await session.query(
      `INSERT INTO ops.leases (pipeline_name, partition_key, run_id, expires_at) VALUES ('p', 'a', 'old', now())`,
    )
    expect((await pruneAll()).removed.runs).toBe(1)
  })

  it("counts a run in a dry run though rows that go with it still refer to it", async () => {
    await runs(["old", 400])
    await session.query(
      `INSERT INTO ops.pipeline_logs (timestamp, level, message, run_id) VALUES ('1990-01-01', 'INFO', '', 'old')`,
    )
    const counted = await pruneAll({ dryRun: true })
    expect(counted.removed).toMatchObject({ logs: 1, runs: 1 })
    expect((await pruneAll()).removed).toEqual(counted.removed)
  })

  it("the latest run of a pipeline, and one at work, with their checkpoints", async () => {
    await session.query(`
      INSERT INTO ops.runs (run_id, pipeline_name, status, definition_version, finished_at) VALUES
        ('working', 'p', 'running', 'v', NULL), ('gone', 'p', 'failed', 'v', '1990-01-01'), ('latest', 'p', 'failed', 'v', '1990-01-01');
      INSERT INTO ops.pipeline_checkpoint (pipeline_name, run_id, stage, status, updated_at)
        SELECT 'p', id, 's', 'completed', '1990-01-01' FROM unnest(ARRAY['working', 'gone', 'latest']) id`)
    await pruneAll()
    expect(await rows(`SELECT run_id AS value FROM ops.runs ORDER BY run_no`)).toEqual(["working", "latest"])
    expect(await rows(`SELECT run_id AS value FROM ops.pipeline_checkpoint ORDER BY id`)).toEqual(["working", "latest"])
  })

  it("the latest run of a pipeline, though nothing names it", async () => {
    await session.query(`INSERT INTO ops.runs (run_id, pipeline_name, status, definition_version, finished_at) VALUES
      ('earlier', 'p', 'failed', 'v', '1990-01-01'), ('latest', 'p', 'failed', 'v', '1990-01-01'), ('only', 'q', 'completed', 'v', '1990-01-01')`)
    await pruneAll()
    expect(await rows(`SELECT run_id AS value FROM ops.runs ORDER BY run_no`)).toEqual(["latest", "only"])
  })

  it("the verdicts that say why a partition is held", async () => {
    await session.query(`
      INSERT INTO ops.processed_partitions (pipeline_name, partition_key, status, definition_version, run_id) VALUES
        ('p', 'held', 'held', 'v', 'r'), ('p', 'done', 'completed', 'v', 'r');
      INSERT INTO ops.quality_results (run_id, pipeline_name, partition_key, table_name, check_name, severity, passed, message, created_at)
        SELECT run, 'p', key, 't', key || ' ' || run, 'fail', false, '', '1990-01-01' FROM unnest(ARRAY['held', 'done']) key, unnest(ARRAY['r', 'earlier']) run`)
    expect((await pruneAll()).removed.quality).toBe(3)
    expect(await rows(`SELECT check_name AS value FROM ops.quality_results`)).toEqual(["held r"])
  })
})

describe("dead letters", () => {
  const statuses = ["pending", "replayed", "discarded", "poisoned", "superseded"]
  const left = () => rows<string>(`SELECT id AS value FROM ops.dead_letters ORDER BY id`)
  beforeEach(() =>
    session.query(
      `INSERT INTO ops.dead_letters (id, fingerprint, pipeline_name, run_id, partition_key, ordinal, source, step, error_code, error_msg, raw, schema_version, status, last_seen)
       SELECT s || ' ' || d, 'f', 'p', 'r', 'a', 1, '{}', 's', 'DECODE', '', '', '1', s, now() - d * interval '1 day' FROM unnest($1::text[]) s, unnest(ARRAY[1, 50]) d`,
      [statuses],
    ),
  )

  it("are never touched without being named", async () => {
    expect((await pruneAll()).removed).not.toHaveProperty("deadLetters")
    expect(await left()).toHaveLength(10)
  })

  it("go by name and age", async () => {
    const deadLetters = { statuses: ["replayed", "superseded"] as const, olderThanMs: 30 * 86_400_000 }
    expect((await pruneAll({ deadLetters, dryRun: true })).removed.deadLetters).toBe(2)
    expect(await left()).toHaveLength(10)
    expect((await pruneAll({ deadLetters })).removed.deadLetters).toBe(2)
    const gone = ["replayed 50", "superseded 50"]
    expect(await left()).toEqual(
      statuses
        .flatMap((s) => [`${s} 1`, `${s} 50`])
        .filter((id) => !gone.includes(id))
        .sort(),
    )
  })

  it.each(["pending", "poisoned", "other"])("that are %s are refused, whatever else is named", async (status) => {
    const named = ["replayed", status] as PrunableLetters[]
    await expect(pruneAll({ deadLetters: { statuses: named, olderThanMs: 0 } })).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining(status) as unknown,
    })
    expect(await left()).toHaveLength(10)
  })

  it("that another letter came from stay as long as it does", async () => {
    await session.query(`UPDATE ops.dead_letters SET replay_of = 'replayed 50' WHERE id = 'pending 1'`)
    const deadLetters = { statuses: ["replayed"] as const, olderThanMs: 0 }
    expect((await pruneAll({ deadLetters })).removed.deadLetters).toBe(1)
    expect(await left()).toContain("replayed 50")
  })
})

describe("touched partitions", () => {
  const old = `now() - interval '10 days'`

  it("keep the last touch of every slice, and every young one", async () => {
    await session.query(`
      INSERT INTO ops.touched_partitions (table_name, partition_by, partition_value, run_id, xid, touched_at) VALUES
        ('t', 'm', '1', 'a', '5', ${old}), ('t', 'm', '1', 'b', '7', ${old}), ('t', 'm', '1', 'c', '6', ${old}),
        ('t', 'm', '2', 'd', '5', ${old}), ('u', 'm', '1', 'e', '5', ${old}), ('t', 'd', '1', 'f', '5', ${old}),
        ('t', 'm', '3', 'g', '5', now()), ('t', 'm', '3', 'h', '7', ${old})`)
    expect((await pruneAll({ dryRun: true })).removed.touches).toBe(2)
    expect((await pruneAll()).removed.touches).toBe(2)
    expect(await rows(`SELECT run_id AS value FROM ops.touched_partitions ORDER BY run_id`)).toEqual([..."bdefgh"])
  })

  it("wait for runs whose snapshot is not written down yet", async () => {
    await session.query(`
      INSERT INTO ops.touched_partitions (table_name, partition_by, partition_value, run_id, xid, touched_at) VALUES
        ('t', 'm', '1', 'a', '5', ${old}), ('t', 'm', '1', 'b', '7', ${old});
      INSERT INTO ops.runs (run_id, pipeline_name, status, definition_version, started_at) VALUES ('r', 'p', 'running', 'v', ${old} - interval '1 hour')`)
    expect((await pruneAll()).removed.touches).toBe(0)
    await session.query(`UPDATE ops.runs SET status = 'failed', finished_at = now()`)
    await session.query(
      `INSERT INTO ops_staging.progress (run_id, partition_key, partition_no, group_no, version, seq, epoch, tally) VALUES ('r', 'a', 1, 1, 'v', 1, 1, '{}')`,
    )
    expect((await pruneAll()).removed.touches).toBe(0)
    await session.query(`TRUNCATE ops_staging.progress`)
    expect((await pruneAll()).removed.touches).toBe(1)
  })

  it("leave every partition as stale as it was, whatever the snapshots", async () => {
    const xid = fc.integer({ min: 10, max: 22 })
    const snapshot = fc
      .record({
        low: xid,
        width: fc.integer({ min: 0, max: 8 }),
        mask: fc.array(fc.boolean(), { minLength: 8, maxLength: 8 }),
      })
      .map(({ low, width, mask }) => {
        const inProgress = mask.slice(0, width).flatMap((on, i) => (on ? [low + i] : []))
        const lowest = inProgress[0] ?? low + width
        return `${lowest}:${low + width}:${inProgress.join(",")}`
      })
    const slices = fc.array(fc.record({ value: fc.constantFrom("1", "2"), xid }), { maxLength: 14 })
    let removedInAll = 0
    await fc.assert(
      fc.asyncProperty(fc.array(snapshot, { maxLength: 4 }), slices, async (snapshots, touches) => {
        await session.query(`TRUNCATE ops.touched_partitions, ops.processed_partitions`)
        await session.query(
          `INSERT INTO ops.processed_partitions (pipeline_name, partition_key, status, definition_version, run_id, snapshot)
           SELECT 'm', n::text, 'completed', 'v', 'r', s::pg_snapshot FROM unnest($1::text[]) WITH ORDINALITY v(s, n)`,
          [snapshots],
        )
        await session.query(
          `INSERT INTO ops.touched_partitions (table_name, partition_by, partition_value, run_id, xid, touched_at)
           SELECT 't', 'm', v, 'r', x::xid8, ${old} FROM unnest($1::text[], $2::text[]) u(v, x)`,
          [touches.map((t) => t.value), touches.map((t) => String(t.xid))],
        )
        const verdicts = () =>
          rows<string>(
            `SELECT pp.partition_key || ' ' || t.partition_value || ' ' || bool_or(NOT pg_visible_in_snapshot(t.xid, pp.snapshot)) AS value
             FROM ops.processed_partitions pp, ops.touched_partitions t GROUP BY pp.partition_key, t.partition_value ORDER BY 1`,
          )
        const before = await verdicts()
        removedInAll += (await pruneAll()).removed.touches
        expect(await verdicts()).toEqual(before)
      }),
      { numRuns: 150 },
    )
    expect(removedInAll).toBeGreaterThan(100)
  })
})
