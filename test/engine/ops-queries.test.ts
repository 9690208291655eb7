import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { z } from "zod"
import {
  csv,
  files,
  model,
  month,
  passRate,
  pipeline,
  run,
  sql,
  stages,
  table,
  type Runnable,
} from "../../src/index.ts"
import { testBed, type Bed } from "./bed.ts"

let bed: Bed
let completed: string
let partial: string

const orders = (name: string) =>
  pipeline({
    name,
    source: files(`${name}/*.csv`, { format: csv() }),
    schema: z.object({ id: z.int(), amount: z.int() }),
    checks: [passRate(0.5)],
    sink: table(`shop.${name}`, { key: ["id"] }),
  })

beforeAll(async () => {
  bed = await testBed()
  await bed.write("orders/a.csv", "id,amount\n1,10\n2,20\n")
  await bed.write("returns/a.csv", "id,amount\n1,10\n2,20\n")
  await bed.write("returns/b.csv", "id,amount\nx,10\ny,20\n")
  const runs = [await bed.run(orders("orders")), await bed.run(orders("returns"))]
  expect(runs.map((run) => run.status)).toEqual(["completed", "partial"])
  ;[completed, partial] = runs.map((run) => run.runId) as [string, string]
})
afterAll(() => bed.end())

test("health per pipeline", async () => {
  const rows = await bed.rows<{
    pipeline_name: string
    stages: string
    completed: string
    failed: string
    avg_ms: string
  }>(
    `SELECT pipeline_name, COUNT(*) AS stages, SUM(CASE WHEN status = 'completed' THEN 1 ELSE 0 END) AS completed,
            SUM(CASE WHEN status = 'failed' THEN 1 ELSE 0 END) AS failed, AVG(duration_ms) AS avg_ms
     FROM ops.pipeline_checkpoint GROUP BY pipeline_name ORDER BY pipeline_name`,
  )
  expect(rows.map((row) => [row.pipeline_name, Number(row.failed) > 0])).toEqual([
    ["orders", false],
    ["returns", true],
  ])
  for (const row of rows) {
    expect(Number(row.completed) + Number(row.failed)).toBe(Number(row.stages))
    expect(row.avg_ms).toMatch(/^\d+\.\d+$/)
  }
})

test("failures per stage", async () => {
  const rows = await bed.rows<{ stage: string; last: Date }>(
    `SELECT pipeline_name, stage, COUNT(*) AS failures, MAX(updated_at) AS last
     FROM ops.pipeline_checkpoint WHERE status = 'failed' GROUP BY pipeline_name, stage ORDER BY failures DESC`,
  )
  expect(rows.map((row) => row.stage)).toContain("partition")
  for (const row of rows) expect(Math.abs(row.last.getTime() - Date.now())).toBeLessThan(600_000)
})

test("log counts by level in the last 24 hours", async () => {
  const rows = await bed.rows<{ level: string; count: string; runs: string }>(
    `SELECT level, COUNT(*) AS count, COUNT(DISTINCT run_id) AS runs
     FROM ops.pipeline_logs WHERE timestamp > NOW() - INTERVAL '24 hours' GROUP BY level ORDER BY count DESC`,
  )
  const levels = Object.fromEntries(rows.map((row) => [row.level, Number(row.runs)]))
  expect(levels["INFO"]).toBe(2)
  expect((levels["ERROR"] ?? 0) + (levels["WARNING"] ?? 0)).toBeGreaterThan(0)
})

test("slow stages", async () => {
  const rows = await bed.rows<{ stage: string; avg: string; max: number }>(
    `SELECT stage, AVG(duration_ms) AS avg, MAX(duration_ms) AS max
     FROM ops.pipeline_checkpoint WHERE status = 'completed' GROUP BY stage ORDER BY avg DESC`,
  )
  expect(rows.length).toBeGreaterThan(1)
  for (const row of rows) expect(Number(row.max)).toBeGreaterThanOrEqual(Number(row.avg))
})

test("the trace of one run", async () => {
  const rows = await bed.rows<{ stage: string; level: string | null; message: string | null; start_time: Date }>(
    `SELECT cp.stage, cp.status, cp.start_time, cp.duration_ms, l.level, l.message
     FROM ops.pipeline_checkpoint cp LEFT JOIN ops.pipeline_logs l ON cp.run_id = l.run_id
     WHERE cp.run_id = $1 ORDER BY cp.start_time`,
    [partial],
  )
  expect(rows.length).toBeGreaterThan(3)
  const times = rows.map((row) => row.start_time.getTime())
  expect(times).toEqual([...times].sort((a, b) => a - b))
  expect(rows.some((row) => row.message?.includes("returns/b.csv"))).toBe(true)
})

test("errors, and what people look for in messages", async () => {
  const errors = await bed.rows<{ run_id: string; message: string }>(
    `SELECT * FROM ops.pipeline_logs WHERE level IN ('ERROR','CRITICAL') ORDER BY timestamp DESC`,
  )
  expect(errors.filter((row) => row.run_id === completed)).toEqual([])
  expect(
    await bed.rows(`SELECT * FROM ops.pipeline_logs WHERE message ILIKE '%connection%' ORDER BY timestamp DESC`),
  ).toEqual([])
  expect(await bed.rows(`SELECT * FROM ops.pipeline_logs WHERE message ILIKE '%retry%' AND level = 'ERROR'`)).toEqual(
    [],
  )
})

test("starting over by deleting months", async () => {
  await bed.rows(`DELETE FROM ops.processed_months`)
  await bed.rows(`DELETE FROM ops.processed_months WHERE pipeline_name = 'orders' AND month_key = '2011-01'`)
  expect(await bed.run(orders("orders"))).toMatchObject({ status: "completed" })
})

test("every table is there, with times that carry their zone", async () => {
  const tables = await bed.rows<{ tablename: string }>(
    `SELECT tablename FROM pg_tables WHERE schemaname = 'ops' ORDER BY 1`,
  )
  expect(tables.map((row) => row.tablename)).toEqual(
    expect.arrayContaining([
      "breakers",
      "retry_budgets",
      "dead_letter_groups",
      "dead_letters",
      "incidents",
      "leases",
      "metrics",
      "pipeline_checkpoint",
      "pipeline_logs",
      "processed_months",
      "processed_partitions",
      "quality_results",
      "replays",
      "reviews",
      "runs",
      "source_files",
      "source_positions",
      "touched_partitions",
    ]),
  )
  expect(
    await bed.rows(
      `SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'ops' AND data_type = 'timestamp without time zone'`,
    ),
  ).toEqual([])
})

test.each([
  [
    "processed_months",
    "id integer, pipeline_name character varying(100), month_key character varying(7), year integer, month integer, processed_at timestamp with time zone, updated_at timestamp with time zone, status character varying(20)",
  ],
  [
    "pipeline_checkpoint",
    "id integer, pipeline_name character varying(100), run_id character varying(50), stage character varying(100), checkpoint_key character varying(255), checkpoint_value character varying(255), status character varying(20), start_time timestamp with time zone, end_time timestamp with time zone, duration_ms integer, metadata jsonb, created_at timestamp with time zone, updated_at timestamp with time zone",
  ],
  [
    "pipeline_logs",
    "id bigint, timestamp timestamp with time zone, level character varying(10), message text, logger character varying(100), pipeline_name character varying(100), run_id character varying(50), module character varying(100), function character varying(100), line integer, metadata jsonb",
  ],
])("ops.%s has the columns that people know", async (name, columns) => {
  expect(
    await bed.value(
      `SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
       FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped`,
      [`ops.${name}`],
    ),
  ).toBe(columns)
})

test("the run, its log and its partitions tell the same", async () => {
  expect(
    await bed.rows(
      `SELECT r.run_id, r.status, r.published, r.held, r.counts->>'read' AS read,
              (SELECT count(*)::int FROM ops.processed_partitions p WHERE p.run_id = r.run_id AND p.status = 'completed') AS completed
       FROM ops.runs r WHERE run_id = ANY($1) ORDER BY run_no`,
      [[completed, partial]],
    ),
  ).toEqual([
    { run_id: completed, status: "completed", published: 1, held: 0, read: "2", completed: 1 },
    { run_id: partial, status: "partial", published: 1, held: 1, read: "2", completed: 1 },
  ])
})

describe("after a run with models and stages", () => {
  let shop: Bed
  const runs: Record<string, string> = {}

  const sales = pipeline({
    name: "sales",
    source: files("sales/*.csv", { format: csv() }),
    schema: z.object({ id: z.int(), sold: z.iso.date(), product: z.string(), cents: z.int() }),
    sink: table("shop.sales", { key: ["id"] }),
  })
  const monthly = model({
    name: "monthly",
    from: "shop.sales",
    partition: month("sold"),
    sql: "SELECT ${partition.key} AS month_key, sum(cents) AS cents FROM shop.sales WHERE sold >= ${partition.start} AND sold < ${partition.end}",
    sink: table("mart.monthly", { key: ["month_key"] }),
  })
  const byProduct = "SELECT product, sum(cents) AS cents FROM shop.sales GROUP BY 1"
  const performance = stages({
    name: "performance",
    stages: [
      model({
        name: "products",
        from: "shop.sales",
        sql: byProduct,
        sink: table("mart.products", { key: ["product"] }),
      }),
      model({
        name: "losses",
        from: "shop.sales",
        sql: byProduct,
        sink: table("mart.losses", { key: ["product"] }),
        checks: [sql("nothing is sold at a loss", "SELECT * FROM staged WHERE cents < 0")],
      }),
    ],
  })
  const runIn = (runnable: Runnable) => run(runnable, { database: shop.url, directory: shop.directory })

  beforeAll(async () => {
    shop = await testBed()
    await shop.write(
      "sales/a.csv",
      "id,sold,product,cents\n1,2011-03-09,ale,10\n2,2010-12-01,bun,-5\n3,2010-12-31,ale,7\n",
    )
    for (const [runnable, status] of [
      [sales, "completed"],
      [monthly, "completed"],
      [performance, "partial"],
    ] as const) {
      const report = await runIn(runnable)
      expect([report.pipeline, report.status]).toEqual([runnable.name, status])
      runs[runnable.name] = report.runId
    }
  })
  afterAll(() => shop.end())

  test("health per pipeline: each that ran, the stages under the pipeline they belong to and by themselves", async () => {
    const rows = await shop.rows<{ name: string; total: number; completed: number; failed: number; avg: string }>(
      `SELECT pipeline_name AS name, COUNT(*)::int AS total, SUM(CASE WHEN status = 'completed' THEN 1 ELSE 0 END)::int AS completed,
              SUM(CASE WHEN status = 'failed' THEN 1 ELSE 0 END)::int AS failed, AVG(duration_ms) AS avg
       FROM ops.pipeline_checkpoint GROUP BY pipeline_name ORDER BY pipeline_name`,
    )
    expect(rows.map(({ name, failed }) => [name, failed > 0])).toEqual([
      ["losses", true],
      ["monthly", false],
      ["performance", true],
      ["products", false],
      ["sales", false],
    ])
    for (const row of rows) expect([row.name, row.completed + row.failed]).toEqual([row.name, row.total])
  })

  test("failures per stage, and how long the stages took", async () => {
    const failures = await shop.rows<{ name: string; stage: string; failures: number; last: Date }>(
      `SELECT pipeline_name AS name, stage, COUNT(*)::int AS failures, MAX(updated_at) AS last
       FROM ops.pipeline_checkpoint WHERE status = 'failed' GROUP BY pipeline_name, stage ORDER BY failures DESC`,
    )
    expect(failures.map(({ name, stage, failures }) => `${name} ${stage} ${failures}`)).toContain(
      "performance losses 1",
    )
    const slow = await shop.rows<{ stage: string; avg: string; max: number }>(
      `SELECT stage, AVG(duration_ms) AS avg, MAX(duration_ms) AS max FROM ops.pipeline_checkpoint
       WHERE status = 'completed' AND pipeline_name = 'performance' GROUP BY stage ORDER BY avg DESC`,
    )
    expect(slow.map(({ stage }) => stage)).toContain("products")
    expect(slow.map(({ stage }) => stage)).not.toContain("losses")
    for (const { avg, max } of slow) expect(Number(max)).toBeGreaterThanOrEqual(Number(avg))
  })

  test.each(["sales", "monthly", "performance"])("the trace of one run of %s joins its log", async (name) => {
    const rows = await shop.rows<{ stage: string; message: string | null; start: Date; end: Date | null }>(
      `SELECT cp.stage, cp.start_time AS start, cp.end_time AS "end", l.message
       FROM ops.pipeline_checkpoint cp LEFT JOIN ops.pipeline_logs l ON cp.run_id = l.run_id
       WHERE cp.run_id = $1 ORDER BY cp.start_time`,
      [runs[name]],
    )
    expect(rows.some(({ message }) => message?.startsWith("run started"))).toBe(true)
    for (const { start, end } of rows) expect(end?.getTime()).toBeGreaterThanOrEqual(start.getTime())
  })

  test("what was held is an error in the log, with the check's name", async () => {
    const errors = await shop.rows<{ pipeline_name: string; message: string }>(
      `SELECT pipeline_name, message FROM ops.pipeline_logs WHERE level IN ('ERROR','CRITICAL') ORDER BY timestamp DESC`,
    )
    expect(
      errors.some((row) => row.pipeline_name === "losses" && row.message.includes("nothing is sold at a loss")),
    ).toBe(true)
    expect(errors.filter((row) => ["sales", "monthly", "products"].includes(row.pipeline_name))).toEqual([])
    const levels = await shop.rows<{ level: string; runs: number }>(
      `SELECT level, COUNT(*) AS count, COUNT(DISTINCT run_id)::int AS runs FROM ops.pipeline_logs
       WHERE timestamp > NOW() - INTERVAL '24 hours' GROUP BY level ORDER BY count DESC`,
    )
    // Three runs, and one of each stage.
    expect(levels.find(({ level }) => level === "INFO")?.runs).toBe(5)
  })

  test("months in their order, as a table that psql lists", async () => {
    expect(
      await shop.rows(
        `SELECT pipeline_name, month_key, year, month, status, processed_at IS NOT NULL AS processed
         FROM ops.processed_months ORDER BY month_key`,
      ),
    ).toEqual([
      { pipeline_name: "monthly", month_key: "2010-12", year: 2010, month: 12, status: "completed", processed: true },
      { pipeline_name: "monthly", month_key: "2011-03", year: 2011, month: 3, status: "completed", processed: true },
    ])
    // What psql asks for \dt ops.*
    const listed = await shop.rows<{ Name: string; Type: string }>(
      `SELECT n.nspname as "Schema", c.relname as "Name",
              CASE c.relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'p' THEN 'partitioned table' END as "Type"
       FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
       WHERE c.relkind IN ('r','p','t','s','') AND n.nspname OPERATOR(pg_catalog.~) '^(ops)$' COLLATE pg_catalog.default
       ORDER BY 1,2`,
    )
    for (const name of ["pipeline_checkpoint", "pipeline_logs", "processed_months"])
      expect(listed).toContainEqual({ Schema: "ops", Name: name, Type: "table" })
  })

  test("deleting one month does that month again, deleting all starts over", async () => {
    const before = await shop.rows(
      `SELECT ctid::text, xmin::text, month_key, cents FROM mart.monthly ORDER BY month_key`,
    )
    await shop.rows(`DELETE FROM ops.processed_months WHERE pipeline_name = 'monthly' AND month_key = '2010-12'`)
    expect((await runIn(monthly)).partitions).toMatchObject({ total: 2, published: 1, unchanged: 1 })
    await shop.rows(`DELETE FROM ops.processed_months`)
    expect((await runIn(monthly)).partitions).toMatchObject({ total: 2, published: 2, unchanged: 0 })
    expect((await runIn(monthly)).partitions).toMatchObject({ total: 2, chosen: 0 })
    expect(
      await shop.rows(`SELECT ctid::text, xmin::text, month_key, cents FROM mart.monthly ORDER BY month_key`),
    ).toEqual(before)
    expect(await shop.value(`SELECT string_agg(month_key, ' ' ORDER BY month_key) FROM ops.processed_months`)).toBe(
      "2010-12 2011-03",
    )
  })
})
