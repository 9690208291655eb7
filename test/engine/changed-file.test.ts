import { afterEach, beforeEach, expect, test } from "vitest"
import pg from "pg"
import { z } from "zod"
import { csv, files, pipeline, table, type TableSink } from "../../src/index.ts"
import { failpoints, systemPorts } from "../../src/testing/index.ts"
import { digest, testBed, type Bed } from "./bed.ts"

let bed: Bed
beforeEach(async () => {
  bed = await testBed()
})
afterEach(() => bed.end())

const orders = (sink: TableSink) =>
  pipeline({
    name: "orders",
    source: files("*.csv", { format: csv() }),
    schema: z.object({ id: z.int(), what: z.string(), amount: z.int() }),
    sink,
  })

const csvOf = (rows: readonly (readonly [number, string, number])[]): string =>
  ["id,what,amount", ...rows.map((row) => row.join(","))].join("\n") + "\n"

/** Row versions by id, as `ctid xmin`. */
async function versions(source: string): Promise<Map<number, string>> {
  const rows = await bed.rows<{ id: number; version: string }>(
    `SELECT id::int, ctid::text || ' ' || xmin::text AS version FROM shop.orders WHERE _source = $1 ORDER BY id`,
    [source],
  )
  return new Map(rows.map((row) => [row.id, row.version]))
}

const sinks = {
  append: table("shop.orders", { mode: "append" }),
  upsert: table("shop.orders", { key: ["id"] }),
}

const content = (source: string): Promise<unknown[]> =>
  bed.rows(`SELECT id::int, what, amount::int, _position::int FROM shop.orders WHERE _source = $1 ORDER BY id`, [
    source,
  ])

test.each(Object.entries(sinks))(
  "%s: a file with one row edited, one removed, one added replaces its own rows only",
  async (_mode, sink) => {
    await bed.write(
      "a.csv",
      csvOf([
        [1, "one", 10],
        [2, "two", 20],
        [3, "three", 30],
      ]),
    )
    await bed.write(
      "b.csv",
      csvOf([
        [11, "eleven", 110],
        [12, "twelve", 120],
      ]),
    )
    expect(await bed.run(orders(sink))).toMatchObject({ status: "completed", counts: { read: 5, inserted: 5 } })
    const [ownBefore, otherBefore] = [await versions("a.csv"), await versions("b.csv")]

    await bed.write(
      "a.csv",
      csvOf([
        [1, "one", 10],
        [2, "two", 25],
        [4, "four", 40],
      ]),
    )
    const report = await bed.run(orders(sink))
    expect(report).toMatchObject({ status: "completed", partitions: { reasons: { changed: 1 }, unchanged: 1 } })
    expect(await content("a.csv")).toEqual([
      { id: 1, what: "one", amount: 10, _position: 2 },
      { id: 2, what: "two", amount: 25, _position: 3 },
      { id: 4, what: "four", amount: 40, _position: 4 },
    ])
    // By position the third line of the file was edited; by key one row went and another came.
    expect(report.counts).toMatchObject(
      sink.mode === "append"
        ? { read: 3, inserted: 0, updated: 2, unchanged: 1, deleted: 0 }
        : { read: 3, inserted: 1, updated: 1, unchanged: 1, deleted: 1 },
    )
    expect(await versions("b.csv")).toEqual(otherBefore)
    const ownAfter = await versions("a.csv")
    expect(ownAfter.get(1)).toBe(ownBefore.get(1))
    expect(ownAfter.get(2)).not.toBe(ownBefore.get(2))
    // One transaction wrote all that was written.
    expect(await bed.value(`SELECT count(DISTINCT xmin::text)::int FROM shop.orders WHERE id IN (2, 4)`)).toBe(1)
    expect(bed.eventsOf("partition.published")).toMatchObject([{ partition: "a.csv", replaced: true }])
  },
)

test.each(Object.entries(sinks))(
  "%s: a new file adds only its own rows, a vanished one is reported and its rows stay",
  async (_mode, sink) => {
    await bed.write("a.csv", csvOf([[1, "one", 10]]))
    await bed.write("b.csv", csvOf([[2, "two", 20]]))
    await bed.run(orders(sink))
    const before = [await versions("a.csv"), await versions("b.csv")]
    await bed.write("c.csv", csvOf([[3, "three", 30]]))
    await bed.remove("b.csv")
    const report = await bed.run(orders(sink))
    expect(report).toMatchObject({
      status: "completed",
      counts: { read: 1, inserted: 1 },
      partitions: { reasons: { new: 1 } },
    })
    expect([await versions("a.csv"), await versions("b.csv")]).toEqual(before)
    expect(await content("c.csv")).toHaveLength(1)
    expect(bed.eventsOf("warning")).toMatchObject([
      { code: "DATA_LOSS", partition: "b.csv", hint: expect.any(String) as string },
    ])
    const vanished = `SELECT path FROM ops.source_files WHERE vanished_at IS NOT NULL`
    expect(await bed.rows(vanished)).toEqual([{ path: "b.csv" }])

    // Told once; back again it is no longer gone, and gone once more it is told again.
    await bed.run(orders(sink))
    expect(bed.eventsOf("warning")).toEqual([])
    await bed.write("b.csv", csvOf([[2, "two", 20]]))
    const digestBefore = await digest(bed, "shop.orders")
    expect(await bed.run(orders(sink))).toMatchObject({ status: "completed" })
    expect(await digest(bed, "shop.orders")).toBe(digestBefore)
    expect(await bed.rows(vanished)).toEqual([])
    await bed.remove("b.csv")
    await bed.run(orders(sink))
    expect(bed.eventsOf("warning")).toMatchObject([{ code: "DATA_LOSS", partition: "b.csv" }])
  },
)

test.each(Object.entries(sinks))(
  "%s: readers see the old or the new state of a file, never half of it",
  async (_mode, sink) => {
    const rows = (amount: number, from: number) =>
      Array.from({ length: 500 }, (_, i): [number, string, number] => [from + i, `row ${i}`, amount])
    await bed.write("a.csv", csvOf(rows(1, 0)))
    await bed.run(orders(sink))

    const seen = new Set<string>()
    const reader = new pg.Client({ connectionString: bed.url })
    await reader.connect()
    const look = async (): Promise<void> => {
      const { rows: found } = await reader.query<{ state: string }>(
        `SELECT count(*) || ' rows, amounts ' || string_agg(DISTINCT amount::text, '+') AS state FROM shop.orders`,
      )
      seen.add(found[0]?.state ?? "")
    }
    let polling = true
    const poll = (async () => {
      while (polling) await look()
    })()
    try {
      // Half of the keys are new, half gone; every failpoint inside the transaction is looked at for certain.
      await bed.write("a.csv", csvOf(rows(2, 250)))
      const inside = async (): Promise<void> => {
        await look()
      }
      await bed.run(orders(sink), {
        ports: {
          ...systemPorts,
          failpoints: failpoints({
            "publish.begun": inside,
            "publish.rows-written": inside,
            "publish.before-commit": inside,
          }),
        },
      })
      await look()
    } finally {
      polling = false
      await poll
      await reader.end()
    }
    expect([...seen].sort()).toEqual(["500 rows, amounts 1", "500 rows, amounts 2"])
  },
)

test("a file that is not as it was when it was listed is held, and read by the next run", async () => {
  await bed.write("a.csv", csvOf([[1, "one", 10]]))
  await bed.write("b.csv", csvOf([[2, "two", 20]]))
  const first = await bed.run(orders(sinks.upsert), {
    ports: {
      ...systemPorts,
      failpoints: failpoints({
        "run.started": () =>
          bed.write(
            "b.csv",
            csvOf([
              [2, "two", 20],
              [3, "three", 30],
            ]),
          ),
      }),
    },
  })
  expect(first).toMatchObject({ status: "partial", held: [{ partition: "b.csv", code: "DATA_LOSS" }] })
  expect(await content("b.csv")).toEqual([])
  expect(await bed.run(orders(sinks.upsert))).toMatchObject({ status: "completed", counts: { read: 2, inserted: 2 } })
})
