import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { migrations } from "../../src/ledger/migrations/index.ts"
import { partitionStates, withPlan, type PartitionState, type PlannedState } from "../../src/ledger/partition-states.ts"
import { forgetPartitions, rememberedPartitions, rememberedPipelines } from "../../src/ledger/reset.ts"
import { migrate } from "../../src/postgres/migrate.ts"
import { database, type Session } from "../../src/postgres/session.ts"
import { freshDatabase, type FreshDatabase } from "../postgres/server.ts"

let fresh: FreshDatabase
let session: Session
let living: Session

beforeAll(async () => {
  fresh = await freshDatabase()
  session = await database(fresh.url).connect()
  living = await database(fresh.url).connect({ applicationName: "spillway/living" })
  await migrate(session, migrations)
})
afterAll(async () => {
  await living.end()
  await session.end()
  await fresh.drop()
})
beforeEach(() => session.query(`TRUNCATE ops.processed_partitions, ops.processed_months, ops.leases, ops.runs`))

const partition = (key: string, more: Record<string, unknown> = {}): Promise<unknown> => {
  const row = {
    pipeline_name: "p",
    partition_key: key,
    status: "completed",
    definition_version: "v",
    run_id: "r1",
    ...more,
  }
  const names = Object.keys(row)
  return session.query(
    `INSERT INTO ops.processed_partitions (${names.join(", ")}) VALUES (${names.map((_, i) => `$${i + 1}`).join(", ")})`,
    Object.values(row),
  )
}
const lease = (key: string, holder: string | null, seconds: number, run = "r2"): Promise<unknown> =>
  session.query(
    `INSERT INTO ops.leases (pipeline_name, partition_key, holder, run_id, host, process_id, expires_at, acquired_at)
     VALUES ('p', $1, $2, $3, 'box', 7, now() + $4 * interval '1 s', now() - interval '1 min')`,
    [key, holder, run, seconds],
  )

describe("the ledger's states", () => {
  it("tell what is done, failed and interrupted", async () => {
    const processed = new Date("2026-11-20T08:00:00Z")
    await partition("2011-02", {
      processed_at: processed,
      counts: { inserted: 3, updated: 4, unchanged: 5, deleted: 9, filtered: 9 },
    })
    await partition("2011-01", {
      status: "held",
      processed_at: processed,
      error_code: "QUALITY_GATE",
      error_message: "no",
      error_hint: "mend",
    })
    await partition("2011-03", { status: "in_progress" })
    await partition("2011-04", { status: "failed" })
    await partition("other", { pipeline_name: "q" })
    expect(await partitionStates(session, "p")).toEqual([
      { key: "2011-01", state: "failed", builtAt: processed, why: "held: QUALITY_GATE: no", hint: "mend" },
      { key: "2011-02", state: "done", builtAt: processed, rows: 12 },
      {
        key: "2011-03",
        state: "failed",
        why: "interrupted: r1 is no longer at work",
        hint: "run again: it is processed from where it stopped",
      },
      { key: "2011-04", state: "failed", why: "failed" },
    ])
  })

  it("tell what somebody is at", async () => {
    await partition("again", { updated_at: new Date(Date.now() - 3_600_000) })
    await partition("published", { run_id: "r2" })
    await partition("earlier attempt", { run_id: "r2", updated_at: new Date(Date.now() - 3_600_000) })
    await lease("earlier attempt", "living", 20)
    await partition("building", { run_id: "r2", status: "in_progress" })
    await partition("expired", { updated_at: new Date(Date.now() - 3_600_000) })
    await partition("killed", { updated_at: new Date(Date.now() - 3_600_000) })
    for (const key of ["again", "published", "building", "new"]) await lease(key, "living", 20)
    await lease("expired", "living", -1)
    await lease("killed", "dead", 20)
    await lease("released", null, 20)
    const found = await partitionStates(session, "p")
    expect(Object.fromEntries(found.map(({ key, state }) => [key, state]))).toEqual({
      again: "in-progress",
      published: "done",
      "earlier attempt": "in-progress",
      building: "in-progress",
      new: "in-progress",
      expired: "done",
      killed: "done",
    })
    expect(found.find(({ key }) => key === "new")?.why).toBe("r2 is at work on it")
  })
})

describe("with a plan", () => {
  const builtAt = new Date(0)
  const done: PartitionState = { key: "k", state: "done", builtAt, rows: 3 }
  const held: PartitionState = { key: "k", state: "failed", why: "held: DECODE", hint: "mend" }
  const working: PartitionState = { key: "k", state: "in-progress", why: "r is at work on it" }

  it.each<[PartitionState | undefined, PlannedState["reason"], string | undefined, Partial<PartitionState>]>([
    [undefined, "new", undefined, { state: "missing" }],
    [
      done,
      "missing",
      "its month was deleted from the ledger",
      { state: "missing", builtAt, why: "its month was deleted from the ledger" },
    ],
    [done, "stale", "t was touched by r", { state: "stale", builtAt, rows: 3, why: "t was touched by r" }],
    [done, "changed", undefined, { state: "stale", why: "what it is made from has changed" }],
    [held, "held-before", "other words", held],
    [undefined, "failed-before", "said", { state: "failed", why: "said" }],
    [done, "unchanged", undefined, done],
    [held, "full", undefined, held],
    [undefined, "unchanged", undefined, { state: "done" }],
    [working, "stale", "t was touched", working],
    [done, "in-progress", "r", { state: "in-progress", builtAt }],
  ])("%j and %s %s", (known, reason, detail, expected) => {
    const joined = withPlan(known === undefined ? [] : [known], [{ key: "k", reason, detail }])
    expect(joined).toEqual([expect.objectContaining({ key: "k", ...expected })])
  })

  it("keeps what only the ledger knows, in the order of keys", () => {
    const joined = withPlan(
      [{ key: "b", state: "done" }],
      [
        { key: "c", reason: "missing" },
        { key: "a", reason: "missing" },
      ],
    )
    expect(joined.map(({ key, state }) => `${key} ${state}`)).toEqual(["a missing", "b done", "c missing"])
  })
})

describe("forgetting", () => {
  const month = (key: string, pipeline = "p"): Promise<unknown> =>
    session.query(
      `INSERT INTO ops.processed_months (pipeline_name, month_key, year, month, status) VALUES ($1, $2, 2011, 1, 'completed')`,
      [pipeline, key],
    )

  it("takes the rows of these partitions and of no others", async () => {
    for (const key of ["2011-01", "2011-02"]) {
      await partition(key)
      await partition(key, { pipeline_name: "q" })
      await month(key)
      await month(key, "q")
    }
    await month("2011-03")
    expect(await rememberedPipelines(session)).toEqual(["p", "q"])
    expect(await rememberedPartitions(session, "p")).toEqual(["2011-01", "2011-02", "2011-03"])
    expect(await forgetPartitions(session, "p", ["2011-01", "2011-03", "2011-09"])).toBe(2)
    expect(await rememberedPartitions(session, "p")).toEqual(["2011-02"])
    expect(await rememberedPartitions(session, "q")).toEqual(["2011-01", "2011-02"])
    const { rows } = await session.query(
      `SELECT count(*)::int AS n FROM ops.processed_months WHERE pipeline_name = 'q'`,
    )
    expect(rows).toEqual([{ n: 2 }])
  })

  it.each([
    ["a lease that has not run out", "dead", 20],
    ["a holder that is connected, though its lease ran out", "living", -1],
  ])("is refused, whole, for %s", async (_what, holder, seconds) => {
    await partition("a")
    await partition("b")
    await lease("b", holder, seconds)
    await expect(forgetPartitions(session, "p", ["a", "b"])).rejects.toMatchObject({
      code: "LEASE_HELD",
      message: 'run r2 (process 7 on box) is at work on b of "p"',
      hint: expect.stringContaining("reset again") as unknown,
    })
    expect(await rememberedPartitions(session, "p")).toEqual(["a", "b"])
    expect(await forgetPartitions(session, "p", ["a"])).toBe(1)
  })

  it.each([
    ["given back", null, 20],
    ["left by a dead holder and run out", "dead", -1],
  ])("minds no lease that was %s", async (_what, holder, seconds) => {
    await partition("a")
    await lease("a", holder, seconds)
    expect(await forgetPartitions(session, "p", ["a"])).toBe(1)
  })
})
