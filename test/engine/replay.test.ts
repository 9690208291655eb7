import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { z } from "zod"
import { systemPorts } from "../../src/core/ports.ts"
import { discard, mergePatch, type Patch } from "../../src/dead-letters/patch.ts"
import { parseSelection } from "../../src/dead-letters/selection.ts"
import { replayLetters, type ReplayOptions, type ReplayReport } from "../../src/engine/replay/replay.ts"
import { planReplay } from "../../src/engine/replay/replay-plan.ts"
import { csv, files, pipeline, table, unique, type Pipeline, type PipelineOptions } from "../../src/index.ts"
import { decimal } from "../../src/schema/index.ts"
import { digest, testBed, unbalanced, type Bed } from "./bed.ts"

let bed: Bed
beforeEach(async () => {
  bed = await testBed()
})
afterEach(() => bed.end())

const schema = z.object({ id: z.int(), name: z.string().max(5), price: decimal({ min: 0 }) })

const orders = (extra: Partial<PipelineOptions> = {}): Pipeline =>
  pipeline({
    name: "orders",
    source: files("in/*.csv", { format: csv() }),
    schema,
    sink: table("shop.orders", { key: ["id"] }),
    ...extra,
  })

const appended = (extra: Partial<PipelineOptions> = {}): Pipeline =>
  orders({ sink: table("shop.orders", { mode: "append" }), ...extra })

async function replay(one: Pipeline, options: Partial<ReplayOptions> = {}): Promise<ReplayReport> {
  const report = await replayLetters(one, {
    database: bed.url,
    directory: bed.directory,
    requestedBy: "a test",
    ...options,
  })
  if (report.status === "failed") throw new Error(JSON.stringify(report.error))
  return report
}

const where = (text: string) => parseSelection(text, () => new Date())
const fix = (of: Patch["fix"]): Patch => ({ fix: of, description: { fix: String(of) } })

const states = async (): Promise<Record<string, string>> =>
  Object.fromEntries(
    (
      await bed.rows<{ line: string; status: string }>(
        `SELECT (source->>'file') || ':' || (source->>'line') AS line, status FROM ops.dead_letters ORDER BY 1`,
      )
    ).map(({ line, status }) => [line, status]),
  )
const rows = () => bed.rows(`SELECT id::int, name, price::text FROM shop.orders ORDER BY id, name`)

const LINES = "id,name,price\n1,ok,1.50\n2,ok,-2\n3,much too long,3\n4,ok,-4\n"

describe.each([
  ["upsert", orders],
  ["append", appended],
])("into a table of mode %s", (_mode, of) => {
  it("loads patched letters through the pipeline, once, and leaves what still fails with its new reason", async () => {
    await bed.write("in/a.csv", LINES)
    await bed.run(of())
    const report = await replay(of(), { patch: mergePatch({ price: "9.90" }) })
    expect(report).toMatchObject({ status: "completed", joined: false, outcomes: { loaded: 2, failed: 1 } })
    expect(report.reasons).toMatchObject([
      { outcome: "failed", letters: 1, reason: expect.stringContaining("name") as string },
    ])
    expect(await rows()).toEqual([
      { id: 1, name: "ok", price: "1.50" },
      { id: 2, name: "ok", price: "9.90" },
      { id: 4, name: "ok", price: "9.90" },
    ])
    expect(await states()).toEqual({ "in/a.csv:3": "replayed", "in/a.csv:4": "pending", "in/a.csv:5": "replayed" })
    // The original stays what it was.
    expect(await bed.value(`SELECT record->>'price' FROM ops.dead_letters WHERE ordinal = 3`)).toBe("-2")
    expect(await bed.rows(`SELECT attempts, count(*)::int AS n FROM ops.dead_letters GROUP BY 1`)).toEqual([
      { attempts: 2, n: 3 },
    ])
    const before = await digest(bed, "shop.orders")
    const again = await replay(of(), { patch: mergePatch({ price: "9.90" }) })
    expect(again.outcomes).toEqual({ failed: 1 })
    expect(again.replayId).not.toBe(report.replayId)
    expect(await digest(bed, "shop.orders")).toBe(before)
  })

  it("keeps what was replayed when the file is read again, and gives way when the record changed", async () => {
    await bed.write("in/a.csv", LINES)
    await bed.run(of())
    await replay(of(), { patch: mergePatch({ price: "9.90" }) })
    const before = await digest(bed, "shop.orders")
    const full = await bed.run(of(), { full: true })
    expect(full.counts).toMatchObject({ read: 4, unchanged: 1, deadLettered: 3, deleted: 0 })
    expect(await digest(bed, "shop.orders")).toBe(before)

    // One line is added, so that the file has another version; line 3 is corrected, line 5 is gone.
    await bed.write("in/a.csv", "id,name,price\n1,ok,1.50\n2,ok,2.20\n3,much too long,3\n6,ok,6\n")
    await bed.run(of())
    expect(await rows()).toEqual([
      { id: 1, name: "ok", price: "1.50" },
      { id: 2, name: "ok", price: "2.20" },
      { id: 6, name: "ok", price: "6" },
    ])
    expect(await states()).toEqual({ "in/a.csv:3": "superseded", "in/a.csv:4": "pending", "in/a.csv:5": "superseded" })
    expect(await unbalanced(bed, "orders")).toEqual([])
  })

  it("keeps what was replayed when other records of the file change", async () => {
    await bed.write("in/a.csv", LINES)
    await bed.run(of())
    await replay(of(), { patch: mergePatch({ price: "9.90" }) })
    await bed.write("in/a.csv", LINES.replace("1,ok,1.50", "1,new,1.75"))
    const changed = await bed.run(of())
    expect(changed.counts).toMatchObject({ updated: 1, inserted: 0, deleted: 0 })
    expect(await rows()).toEqual([
      { id: 1, name: "new", price: "1.75" },
      { id: 2, name: "ok", price: "9.90" },
      { id: 4, name: "ok", price: "9.90" },
    ])
    expect(await states()).toEqual({ "in/a.csv:3": "replayed", "in/a.csv:4": "pending", "in/a.csv:5": "replayed" })
  })
})

describe("whose row wins", () => {
  it("does not overwrite a row of its key that was loaded from a later file, unless forced", async () => {
    await bed.write("in/a.csv", "id,name,price\n1,old,-1\n")
    await bed.run(orders())
    await bed.write("in/b.csv", "id,name,price\n1,newer,5\n")
    await bed.run(orders())
    const report = await replay(orders(), { patch: mergePatch({ price: "1" }) })
    expect(report).toMatchObject({ outcomes: { outdated: 1 } })
    expect(await rows()).toEqual([{ id: 1, name: "newer", price: "5" }])
    expect(await states()).toEqual({ "in/a.csv:2": "replayed" })

    await bed.write("in/c.csv", "id,name,price\n2,old,-1\n")
    await bed.run(orders())
    await bed.write("in/d.csv", "id,name,price\n2,newer,5\n")
    await bed.run(orders())
    expect(await replay(orders(), { patch: mergePatch({ price: "1" }), force: true })).toMatchObject({
      outcomes: { loaded: 1 },
    })
    expect(await bed.value(`SELECT name FROM shop.orders WHERE id = 2`)).toBe("old")
    expect(await bed.value(`SELECT forced FROM ops.replays ORDER BY started_at DESC LIMIT 1`)).toBe(true)
  })

  it("goes by the column that orders versions", async () => {
    const dated = (): Pipeline => orders({ sink: table("shop.orders", { key: ["id"], orderBy: "price" }) })
    await bed.write("in/a.csv", "id,name,price\n1,much too long,7\n2,much too long,3\n")
    await bed.run(dated())
    await bed.write("in/b.csv", "id,name,price\n1,b,5\n2,b,5\n")
    await bed.run(dated())
    const report = await replay(dated(), { patch: mergePatch({ name: "a" }) })
    expect(report.outcomes).toEqual({ loaded: 1, outdated: 1 })
    expect(await rows()).toEqual([
      { id: 1, name: "a", price: "7" },
      { id: 2, name: "b", price: "5" },
    ])
  })

  it("within a file the later line, also when the file is read again", async () => {
    await bed.write("in/a.csv", "id,name,price\n1,first,1\n1,later,-2\n2,ok,-1\n2,later,2\n")
    await bed.run(orders())
    expect(await replay(orders(), { patch: mergePatch({ price: "3" }) })).toMatchObject({
      outcomes: { loaded: 1, outdated: 1 },
    })
    const expected = [
      { id: 1, name: "later", price: "3" },
      { id: 2, name: "later", price: "2" },
    ]
    expect(await rows()).toEqual(expected)
    await bed.run(orders(), { full: true })
    expect(await rows()).toEqual(expected)
    await bed.write("in/a.csv", "id,name,price\n1,first,1\n1,later,-2\n2,ok,-1\n2,later,2\n7,more,7\n")
    await bed.run(orders())
    expect(await rows()).toEqual([...expected, { id: 7, name: "more", price: "7" }])
  })
})

describe("letters and their ends", () => {
  it("are poisoned by the third failure, and left out unless asked for", async () => {
    await bed.write("in/a.csv", "id,name,price\n1,ok,-1\n")
    await bed.run(orders())
    for (const outcome of ["failed", "failed", "poisoned"])
      expect((await replay(orders())).outcomes).toEqual({ [outcome]: 1 })
    expect(await states()).toEqual({ "in/a.csv:2": "poisoned" })
    expect((await replay(orders())).outcomes).toEqual({})
    expect((await replay(orders(), { poisoned: true, patch: mergePatch({ price: "1" }) })).outcomes).toEqual({
      loaded: 1,
    })
  })

  it("are discarded or left by the patch, letter by letter", async () => {
    await bed.write("in/a.csv", "id,name,price\n1,ok,-1\n2,ok,-2\n3,ok,-3\n4,ok,-4\n")
    await bed.run(orders())
    const report = await replay(orders(), {
      patch: fix((record, { raw }) => {
        if (record?.["id"] === "1") return discard("a test order")
        if (record?.["id"] === "2") return undefined
        if (record?.["id"] === "3") throw new Error("oh")
        return raw.replace("-", "")
      }),
    })
    expect(report.outcomes).toEqual({ discarded: 1, left: 2, loaded: 1 })
    expect(report.reasons.map(({ reason }) => reason)).toEqual([
      "a test order",
      "the patch leaves it as it is",
      "the patch failed: oh",
    ])
    expect(await states()).toMatchObject({
      "in/a.csv:2": "discarded",
      "in/a.csv:3": "pending",
      "in/a.csv:4": "pending",
    })
    expect(await rows()).toEqual([{ id: 4, name: "ok", price: "4" }])
    expect(await bed.value(`SELECT attempts FROM ops.dead_letters WHERE ordinal = 3`)).toBe(1)
  })

  it("that could not be decoded go through the format again, with the file's own columns", async () => {
    await bed.write("in/a.csv", 'id,price,name\n1,1,"a"b\n2,2,ok,surplus\n3,3,"open\n')
    await bed.run(orders())
    expect((await replay(orders())).outcomes).toEqual({ failed: 3 })
    const report = await replay(orders(), {
      patch: fix((record, { raw }) => {
        if (record !== undefined) throw new Error("it was decoded")
        return raw.replaceAll('"', "").replace(",surplus", "")
      }),
    })
    expect(report.outcomes).toEqual({ loaded: 3 })
    expect(await rows()).toEqual([
      { id: 1, name: "ab", price: "1" },
      { id: 2, name: "ok", price: "2" },
      { id: 3, name: "open", price: "3" },
    ])
  })

  it("that the database alone refuses stay, and the others go in", async () => {
    await bed.write("in/a.csv", "id,name,price\n1,ok,-1\n2,ok,-2\n3,ok,-3\n9,ok,9\n")
    await bed.run(orders())
    await bed.rows(`ALTER TABLE shop.orders ADD CHECK (id <> 2)`)
    const report = await replay(orders(), { patch: mergePatch({ price: "1" }) })
    expect(report.outcomes).toEqual({ loaded: 2, failed: 1 })
    expect(await bed.rows(`SELECT error_code FROM ops.replay_letters WHERE outcome = 'failed'`)).toEqual([
      { error_code: "DB_CONSTRAINT" },
    ])
  })

  it("of a partition that is held wait for it", async () => {
    await bed.write("in/a.csv", "id,name,price\n1,ok,-1\n2,ok,2\n2,ok,2\n")
    const gated = (): Pipeline => appended({ checks: [unique("id")] })
    expect((await bed.run(gated())).status).toBe("partial")
    const report = await replay(gated(), { patch: mergePatch({ price: "1" }) })
    expect(report.outcomes).toEqual({ left: 1 })
    expect(report.reasons[0]?.reason).toContain("held")
    expect(await states()).toEqual({ "in/a.csv:2": "pending" })
  })

  it("of a partition that is held wait for it, also those that stand at one place", async () => {
    await bed.write("in/a.csv", "id,name,price\n1,ok,-1\n2,ok,2\n2,ok,2\n")
    const gated = (): Pipeline => appended({ checks: [unique("id")] })
    await bed.run(gated())
    await bed.rows(
      `INSERT INTO ops.dead_letters SELECT (jsonb_populate_record(d, '{"id": "dl_twin"}')).* FROM ops.dead_letters d`,
    )
    expect(await planReplay(gated(), { database: bed.url, directory: bed.directory })).toMatchObject({ left: 2 })
    const report = await replay(gated(), { patch: mergePatch({ price: "1" }) })
    expect(report).toMatchObject({ status: "completed", outcomes: { left: 2 } })
  })

  it("fail where their rows break a check of the table's rows", async () => {
    await bed.write("in/a.csv", "id,name,price\n1,ok,-1\n1,ok,-2\n3,ok,3\n")
    const gated = (): Pipeline => appended({ checks: [unique("id")] })
    await bed.run(gated())
    const report = await replay(gated(), { patch: mergePatch({ price: "1" }) })
    expect(report.outcomes).toEqual({ failed: 2 })
    expect(await bed.value(`SELECT count(*)::int FROM shop.orders`)).toBe(1)
  })
})

describe("an operation with a plan", () => {
  const many = async (): Promise<void> => {
    const lines = Array.from({ length: 2500 }, (_, i) => `${i},${i % 5 === 4 ? "much too long" : "ok"},-1`)
    await bed.write("in/a.csv", `id,name,price\n${lines.join("\n")}\n9999,ok,1\n`)
    await bed.run(orders())
  }

  it("chooses by filter and goes through all of it in batches", async () => {
    await many()
    const report = await replay(orders(), {
      where: where("field = price"),
      patch: mergePatch({ price: "1", name: "ok" }),
    })
    expect(report.outcomes).toEqual({ loaded: 2500 })
    expect(await bed.value(`SELECT count(*)::int FROM shop.orders`)).toBe(2501)
  })

  it("takes no letter of another pipeline and none that came to its end, also by a choice of several", async () => {
    const others = orders({
      name: "others",
      source: files("others/*.csv", { format: csv() }),
      sink: table("shop.others", { key: ["id"] }),
    })
    await bed.write("in/a.csv", LINES)
    await bed.write("others/a.csv", "id,name,price\n7,ok,-7\n")
    await bed.run(orders())
    await bed.run(others)
    await replay(orders(), { where: where("rule = min"), patch: fix(() => discard("not of use")) })
    const chosen = where("field = price or field = name")
    expect(await planReplay(orders(), { database: bed.url, directory: bed.directory, where: chosen })).toMatchObject({
      letters: 1,
      checked: 1,
      fail: 1,
    })
    const report = await replay(orders(), { where: chosen, patch: mergePatch({ name: "short", price: "9" }) })
    expect(report.outcomes).toEqual({ loaded: 1 })
    expect(await bed.rows(`SELECT pipeline_name AS name, status FROM ops.dead_letters ORDER BY 1, 2`)).toEqual([
      { name: "orders", status: "discarded" },
      { name: "orders", status: "discarded" },
      { name: "orders", status: "replayed" },
      { name: "others", status: "pending" },
    ])
  })

  it("stops by ratio, and nothing of that batch is changed", async () => {
    await many()
    const before = await bed.rows(`SELECT id, status, attempts FROM ops.dead_letters ORDER BY id`)
    const report = await replay(orders(), { patch: mergePatch({ price: "1" }), abortAbove: 0.1 })
    expect(report).toMatchObject({
      status: "aborted",
      outcomes: {},
      error: { code: "QUALITY_GATE", message: "20 of 100 letters fail, more than 10 % may" },
    })
    expect(await bed.rows(`SELECT id, status, attempts FROM ops.dead_letters ORDER BY id`)).toEqual(before)
    expect(await bed.value(`SELECT count(*)::int FROM shop.orders`)).toBe(1)
    expect(await replay(orders(), { patch: mergePatch({ price: "1" }), abortAbove: 0.2 })).toMatchObject({
      status: "completed",
      outcomes: { loaded: 2000, failed: 500 },
    })
  })

  it("asks after the canary, and goes on with the rest", async () => {
    await many()
    const patch = mergePatch({ price: "1", name: "ok" })
    const asked: unknown[] = []
    const stopped = await replay(orders(), {
      patch,
      canary: 7,
      goOn: (so) => (asked.push({ ...so }), Promise.resolve(false)),
    })
    expect(stopped).toMatchObject({ status: "interrupted", outcomes: { loaded: 7 } })
    expect(asked).toEqual([{ loaded: 7 }])
    const rest = await replay(orders(), { patch })
    expect(rest).toMatchObject({
      status: "completed",
      joined: true,
      replayId: stopped.replayId,
      outcomes: { loaded: 2500 },
    })
    expect(await replay(orders(), { patch: mergePatch({}), canary: 3 })).toMatchObject({ status: "completed" })
  })

  it("keeps to a rate", async () => {
    await bed.write("in/a.csv", `id,name,price\n${Array.from({ length: 25 }, (_, i) => `${i},ok,-1`).join("\n")}\n`)
    await bed.run(orders())
    const waits: number[] = []
    let now = 0
    const sleep = (ms: number): Promise<void> => {
      if (ms > 0) waits.push(ms)
      now += Math.max(0, ms)
      return Promise.resolve()
    }
    const ports = { ...systemPorts, clock: { ...systemPorts.clock, monotonic: () => now, sleep } }
    const told: unknown[] = []
    const report = await replay(orders(), {
      patch: mergePatch({ price: "1" }),
      rate: 10,
      ports,
      on: ({ loaded }) => told.push([now, loaded]),
    })
    expect(report).toMatchObject({ status: "completed", outcomes: { loaded: 25 }, durationMs: 2_500 })
    expect(told).toEqual([
      [0, 10],
      [1_000, 20],
      [2_000, 25],
    ])
    expect(waits).toEqual([1_000, 1_000, 500])
  })

  it("is kept with who, what and the end of each letter", async () => {
    await bed.write("in/a.csv", LINES)
    await bed.run(orders())
    const { replayId } = await replay(orders(), {
      where: where("field = price"),
      selectedBy: { filter: "field = price" },
      patch: mergePatch({ price: "9.90" }),
    })
    expect(
      await bed.rows(
        `SELECT pipeline_name, requested_by, selection, patch, status, outcomes, finished_at >= started_at AS ended FROM ops.replays WHERE replay_id = $1`,
        [replayId],
      ),
    ).toEqual([
      {
        pipeline_name: "orders",
        requested_by: "a test",
        selection: { filter: "field = price" },
        patch: { merge: { price: "9.90" } },
        status: "completed",
        outcomes: { loaded: 2 },
        ended: true,
      },
    ])
    expect(
      await bed.rows(
        `SELECT l.ordinal::int, o.outcome, o.record->>'price' AS price FROM ops.replay_letters o JOIN ops.dead_letters l ON l.id = o.letter_id ORDER BY 1`,
      ),
    ).toEqual([
      { ordinal: 3, outcome: "loaded", price: "9.90" },
      { ordinal: 5, outcome: "loaded", price: "9.90" },
    ])
    expect(await bed.rows(`SELECT DISTINCT _run_id, _position::int FROM shop.orders WHERE id <> 1 ORDER BY 2`)).toEqual(
      [
        { _run_id: replayId, _position: 3 },
        { _run_id: replayId, _position: 5 },
      ],
    )
  })

  it("shares the work when two do it at once", async () => {
    await many()
    const patch = mergePatch({ price: "1" })
    const [one, two] = await Promise.all([replay(orders(), { patch }), replay(orders(), { patch })])
    expect(one.replayId).toBe(two.replayId)
    expect([one.status, two.status]).toEqual(["completed", "completed"])
    const totals = await bed.value(`SELECT outcomes FROM ops.replays`)
    expect(totals).toEqual({ loaded: 2000, failed: 500 })
    expect(
      await bed.rows(`SELECT attempts, status, count(*)::int AS n FROM ops.dead_letters GROUP BY 1, 2 ORDER BY 2`),
    ).toEqual([
      { attempts: 2, status: "pending", n: 500 },
      { attempts: 2, status: "replayed", n: 2000 },
    ])
    expect(await bed.value(`SELECT count(*)::int FROM shop.orders`)).toBe(2001)
  })

  it("goes on where it was stopped, without trying again what failed", async () => {
    await many()
    const patch = mergePatch({ price: "1" })
    const controller = new AbortController()
    const stopped = await replay(orders(), { patch, signal: controller.signal, on: () => controller.abort() })
    expect(stopped.status).toBe("interrupted")
    expect(stopped.outcomes).toEqual({ loaded: 800, failed: 200 })
    const rest = await replay(orders(), { patch })
    expect(rest).toMatchObject({ joined: true, outcomes: { loaded: 2000, failed: 500 } })
    expect(await bed.value(`SELECT max(attempts) FROM ops.dead_letters`)).toBe(2)
  })

  it("is refused for a table whose partitions are replaced", async () => {
    const replaced = orders({ sink: table("shop.orders", { mode: "replace" }) })
    await expect(replay(replaced)).rejects.toMatchObject({ code: "CONFIG" })
  })
})
