import { afterAll, beforeAll, expect, it } from "vitest"
import type { Stream } from "../../src/cli/output.ts"
import { runCommandLine } from "../../src/cli/program.ts"
import { colorsFor } from "../../src/cli/colors.ts"
import { statusText, troubles, type StatusView } from "../../src/cli/status-text.ts"
import { migrations } from "../../src/ledger/migrations/index.ts"
import { readStatus, type PipelineStatus } from "../../src/ledger/status.ts"
import { migrate } from "../../src/postgres/migrate.ts"
import { database, type Session } from "../../src/postgres/session.ts"
import { systemPorts } from "../../src/core/ports.ts"
import { freshDatabase, type FreshDatabase } from "../postgres/server.ts"
import { projectFolder } from "./command-line.ts"

let fresh: FreshDatabase
let session: Session
let alive: Session

beforeAll(async () => {
  fresh = await freshDatabase()
  session = await database(fresh.url).connect()
  alive = await database(fresh.url).connect({ applicationName: "spillway/living" })
  await migrate(session, migrations)
  await session.query(`
    INSERT INTO ops.runs (run_id, pipeline_name, status, definition_version, holder, attempt, started_at, attempt_started_at, finished_at, counts, error_code, error_message, error_hint) VALUES
      ('r0', 'good', 'failed', 'v', NULL, 1, now() - interval '2 days', now() - interval '2 days', now() - interval '2 days', '{}', 'RESOURCE', 'old', NULL),
      ('r1', 'good', 'completed', 'v', NULL, 2, now() - interval '1 hour', now() - interval '63 s', now() - interval '60 s', '{"read": 1000, "inserted": 1000}', NULL, NULL, NULL),
      ('r2', 'bad', 'failed', 'v', NULL, 1, now() - interval '5 s', now() - interval '5 s', now() - interval '3 s', '{"read": 1, "inserted": 1}', 'DB_UNAVAILABLE', 'gone', 'start it'),
      ('r3', 'killed', 'running', 'v', 'dead', 1, now() - interval '1 hour', now() - interval '1 hour', NULL, '{}', NULL, NULL, NULL),
      ('r4', 'working', 'running', 'v', 'living', 1, now(), now(), NULL, '{}', NULL, NULL, NULL);
    INSERT INTO ops.leases (pipeline_name, partition_key, holder, run_id, host, process_id, expires_at) VALUES
      ('killed', 'a', 'dead', 'r3', 'box', 1, now() + interval '20 s'),
      ('working', 'a', 'living', 'r4', 'box', 2, now() + interval '20 s'), ('working', 'b', 'living', 'r4', 'box', 2, now() + interval '20 s'),
      ('good', 'a', NULL, NULL, NULL, NULL, now());
    INSERT INTO ops_staging.progress (run_id, partition_key, partition_no, group_no, version, seq, epoch, tally) VALUES ('r3', 'a', 1, 1, 'v', 1, 1, '{}');
    INSERT INTO ops.processed_partitions (pipeline_name, partition_key, status, definition_version, run_id, error_code, error_message, error_hint, updated_at)
      SELECT 'bad', 'p' || n, 'held', 'v', 'r2', 'QUALITY_GATE', 'pass rate 0', 'mend', now() - n * interval '1 min' FROM generate_series(1, 60) n;
    INSERT INTO ops.processed_partitions (pipeline_name, partition_key, status, definition_version, run_id)
      SELECT 'good', 'p' || n, 'completed', 'v', 'r1' FROM generate_series(1, 3) n;
    INSERT INTO ops.dead_letters (id, fingerprint, pipeline_name, run_id, partition_key, ordinal, source, step, error_code, error_msg, raw, schema_version, status)
      SELECT 'd' || n, 'f', 'good', 'r1', 'p1', n, '{}', 'validate', CASE WHEN n < 4 THEN 'VALIDATION' ELSE 'DECODE' END, 'm', '', '1',
             CASE WHEN n = 6 THEN 'superseded' ELSE 'pending' END FROM generate_series(1, 6) n;
  `)
})

afterAll(async () => {
  await alive.end()
  await session.end()
  await fresh.drop()
})

const of = async (name: string): Promise<PipelineStatus> => {
  const found = (await readStatus(session)).pipelines.get(name)
  if (found === undefined) throw new Error(`no ${name}`)
  return found
}

const nothingMore = { partitions: new Map(), overdue: new Map() }
const style = { colors: colorsFor({}, {}), unicode: true }

it("reads the last run of each pipeline, its partitions and open letters", async () => {
  const good = await of("good")
  expect(good).toMatchObject({
    lastRun: {
      runId: "r1",
      attempt: 2,
      status: "completed",
      durationMs: 3_000,
      counts: { read: 1_000 },
      alive: false,
      resumable: false,
    },
    partitions: { completed: 3 },
    held: [],
    deadLetters: { VALIDATION: 3, DECODE: 2 },
    leases: [],
  })
  expect(troubles(good, nothingMore)).toEqual([])
})

it("tells a run that was killed from one at work", async () => {
  const killed = await of("killed")
  expect(killed.lastRun).toMatchObject({ status: "running", alive: false, resumable: true })
  expect(killed.leases).toMatchObject([{ host: "box", partitions: 1, connected: false }])
  expect(troubles(killed, nothingMore)).toEqual(["the last run was interrupted"])
  const working = await of("working")
  expect(working.lastRun).toMatchObject({ status: "running", alive: true, resumable: false })
  expect(working.leases).toMatchObject([{ processId: 2, partitions: 2, connected: true, runId: "r4" }])
  expect(troubles(working, nothingMore)).toEqual([])
})

it("names what is held, oldest first, and how much more there is", async () => {
  const bad = await of("bad")
  expect(bad.partitions).toEqual({ held: 60 })
  expect(bad.held).toHaveLength(50)
  expect(bad.held[0]).toMatchObject({ partition: "p60", code: "QUALITY_GATE", message: "pass rate 0", hint: "mend" })
  expect(troubles(bad, nothingMore)).toEqual(["the last run failed (DB_UNAVAILABLE)", "60 partitions held"])
})

it("is a text that can be read at a glance", async () => {
  const view: StatusView = { ...(await readStatus(session)), ...nothingMore }
  const text = statusText(["good", "fresh"], view, style)
  expect(text).toContain(
    "● completed  good  1 min ago, took 3.0 s, attempt 2, r1\n  1,000 read = 1,000 inserted\n  partitions    3 completed\n  dead letters  3 VALIDATION, 2 DECODE",
  )
  expect(text).toContain("○ never run  fresh")
  expect(text).toMatch(/◆ failed {2}bad {2}\(not in the project any more\)/)
  expect(text).toContain(
    "  … and 10 more: spillway status --partitions bad\n  DB_UNAVAILABLE: gone\n    hint: start it",
  )
  expect(text).toContain("next: spillway run goes on where it stopped")
  expect(text).toContain("1 partition held by process 1 on box, since just now (its process is gone)")
  expect(text.indexOf("good")).toBeLessThan(text.indexOf("fresh"))
})

it("shows the partitions of each pipeline, and why they need attention", async () => {
  const { now, pipelines } = await readStatus(session)
  const view: StatusView = {
    now,
    pipelines,
    breakers: [],
    budgets: [],
    partitions: new Map([
      [
        "good",
        [
          { key: "2010-12", state: "done" },
          { key: "2011-01", state: "stale", why: "bronze.sales was touched by run_1 5 min ago" },
          { key: "2011-02", state: "failed", why: "interrupted: r0 is no longer at work" },
          { key: "2011-03", state: "missing" },
        ],
      ],
    ]),
    overdue: new Map([
      ["good", [{ key: "2011-03", reason: "month + 2 days", dueAt: new Date(now.getTime() - 7_200_000) }]],
    ]),
  }
  const text = statusText(["good"], view, style)
  expect(text).toContain(`
  partitions    ● 1 done  ▲ 1 stale  ○ 1 missing  ◆ 1 failed
  dead letters  3 VALIDATION, 2 DECODE
          J F M A M J J A S O N D
    2010                        ●
    2011  ▲ ◆ ○
  ▲ 2011-01 stale: bronze.sales was touched by run_1 5 min ago
  ◆ 2011-02 failed: interrupted: r0 is no longer at work
  ▲ overdue 2011-03 (due 2 h ago): month + 2 days
`)
  const good = await of("good")
  expect(troubles(good, view)).toEqual(["1 partition interrupted", "1 partition stale", "1 partition overdue"])

  const ascii = statusText(["good"], view, { ...style, unicode: false })
  expect(ascii).toContain("* completed  good")
  expect(ascii).toContain("    2011  S F M\n  S 2011-01 stale: bronze")
  expect(ascii).toContain("  ! overdue 2011-03")
  expect(/[^ -~\n]/.exec(ascii)).toBeNull()
})

it("looks again and again under --watch, until the reader leaves", async () => {
  const folder = await projectFolder({ ".spillway/keep": "" })
  const screens: string[] = []
  let leave: (error: Error) => void = () => undefined
  const stdout: Stream = {
    isTTY: true,
    write: (text, done) => {
      screens.push(text)
      done?.()
      return true
    },
    on: (_event, listener) => (leave = listener),
  }
  const waits: number[] = []
  const sleep = async (ms: number): Promise<void> => {
    waits.push(ms)
    await session.query(`UPDATE ops.processed_partitions SET status = 'completed' WHERE pipeline_name = 'bad'`)
    if (waits.length === 2) leave(Object.assign(new Error("gone"), { code: "EPIPE" }))
  }
  const code = await runCommandLine(["status", "--watch", "--project", folder.directory], {
    stdout,
    stderr: { write: () => true, on: () => undefined },
    env: { DATABASE_URL: fresh.url, NO_COLOR: "1" },
    directory: "/",
    ports: { ...systemPorts, clock: { ...systemPorts.clock, sleep } },
    signals: { on: () => undefined, off: () => undefined, exit: () => undefined },
  })
  await folder.remove()
  expect({ code, waits }).toEqual({ code: 0, waits: [2_000, 2_000] })
  expect(screens).toHaveLength(2)
  for (const screen of screens) expect(screen.startsWith("\u001b[2J")).toBe(true)
  expect(screens[0]).toContain("◆ 60 failed")
  expect(screens[1]).toContain("● 60 done")
})
