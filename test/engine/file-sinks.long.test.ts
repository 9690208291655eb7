import { readdir, readFile, rm, stat, writeFile } from "node:fs/promises"
import { parse } from "csv-parse/sync"
import fc from "fast-check"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { z } from "zod"
import { csv, csvFiles, files, jsonlFiles, passRate, pipeline, unique, type PipelineOptions } from "../../src/index.ts"
import { decimal, timestamp } from "../../src/schema/index.ts"
import { failpoints, onThe, recordsSource, systemPorts, type FailpointName } from "../../src/testing/index.ts"
import { testBed, unbalanced, type Bed } from "./bed.ts"

let bed: Bed
beforeEach(async () => {
  bed = await testBed()
})
afterEach(() => bed.end())

const orders = (extra: Partial<PipelineOptions> = {}) =>
  pipeline({
    name: "orders",
    source: files("in/*.csv", { format: csv() }),
    schema: z.object({ id: z.string(), amount: decimal() }),
    sink: jsonlFiles("out/orders"),
    ...extra,
  })

/** Names of the folder's files, sorted. */
const names = async (folder = "out/orders"): Promise<string[]> =>
  (await readdir(`${bed.directory}/${folder}`).catch(() => [] as string[])).sort()
const read = (name: string, folder = "out/orders"): Promise<string> =>
  readFile(`${bed.directory}/${folder}/${name}`, "utf8")
/** All that a reader of `*.jsonl` finds, sorted. */
async function lines(): Promise<string[]> {
  const texts = await Promise.all((await names()).filter((name) => name.endsWith(".jsonl")).map((name) => read(name)))
  return texts.flatMap((text) => text.split("\n").slice(0, -1)).sort()
}
const line = (id: string, amount: string): string => `{"id":"${id}","amount":${amount}}`

/** What stops a run where a kill would; the transaction it is in is lost. */
const killedAt = (where: FailpointName, nth = 1) => ({
  ports: {
    ...systemPorts,
    failpoints: failpoints({
      [where]: onThe(nth, () => {
        throw new Error("killed")
      }),
    }),
  },
})

describe("a sink of JSON lines", () => {
  test("has a file for each partition of the source, with its records in order; running again touches nothing", async () => {
    await bed.write("in/jan.csv", "id,amount\nb,2.50\na,1\n")
    await bed.write("in/feb 2026.csv", "id,amount\nc,12345678901234567890.5\nbad,x\n")
    const report = await bed.run(orders())
    expect(report).toMatchObject({
      status: "completed",
      table: "out/orders",
      counts: { read: 4, inserted: 3, deadLettered: 1 },
    })
    expect(await unbalanced(bed, "orders")).toEqual([])
    const [feb, jan] = await names()
    expect([feb, jan]).toEqual([
      expect.stringMatching(/^feb_2026-[0-9a-f]{14}-[0-9a-f]{8}\.jsonl$/),
      expect.stringMatching(/^jan-[0-9a-f]{14}-[0-9a-f]{8}\.jsonl$/),
    ])
    expect(await read(jan ?? "")).toBe(`${line("b", "2.50")}\n${line("a", "1")}\n`)
    expect(await read(feb ?? "")).toBe(`${line("c", "12345678901234567890.5")}\n`)
    const inode = async () => (await stat(`${bed.directory}/out/orders/${jan}`)).ino
    const before = await inode()
    expect(await bed.run(orders())).toMatchObject({ counts: { read: 0 }, warnings: [] })
    expect(await bed.run(orders(), { full: true })).toMatchObject({
      counts: { read: 4, unchanged: 3, inserted: 0, deleted: 0, deadLettered: 1 },
    })
    expect(await names()).toEqual([feb, jan])
    expect(await inode()).toBe(before)
    expect(
      await bed.value(
        `SELECT count(*)::int FROM pg_tables WHERE schemaname NOT IN ('ops', 'ops_staging', 'pg_catalog', 'information_schema')`,
      ),
    ).toBe(0)
  })

  test("replaces the files of a partition whose source has changed, and no others", async () => {
    await bed.write("in/jan.csv", "id,amount\na,1\nb,2\n")
    await bed.write("in/feb.csv", "id,amount\nc,3\n")
    await bed.run(orders())
    const [feb, jan] = await names()
    await bed.write("in/jan.csv", "id,amount\na,1\nb,20\nd,4\n")
    expect(await bed.run(orders())).toMatchObject({ counts: { read: 3, inserted: 3, deleted: 2 } })
    const after = await names()
    expect(after).toHaveLength(2)
    expect(after).toContain(feb)
    expect(after).not.toContain(jan)
    expect(await lines()).toEqual([line("a", "1"), line("b", "20"), line("c", "3"), line("d", "4")].sort())
    await bed.write("in/jan.csv", "id,amount\n")
    await bed.run(orders())
    expect(await names()).toEqual([feb])
  })

  test("divides a partition into parts of so many records, and forgets parts that are no longer", async () => {
    const rows = (n: number) => `id,amount\n${Array.from({ length: n }, (_, i) => `r${i},${i}\n`).join("")}`
    const parted = orders({ sink: jsonlFiles("out/orders", { maxRecordsPerFile: 1000 }) })
    await bed.write("in/jan.csv", rows(2500))
    expect(await bed.run(parted)).toMatchObject({ counts: { inserted: 2500 } })
    const parts = await names()
    expect(parts.map((name) => name.slice(-11))).toEqual(["-0001.jsonl", "-0002.jsonl", "-0003.jsonl"])
    const texts = await Promise.all(parts.map((name) => read(name)))
    expect(texts.map((text) => text.split("\n").length - 1)).toEqual([1000, 1000, 500])
    expect(texts.join("")).toBe(Array.from({ length: 2500 }, (_, i) => `${line(`r${i}`, String(i))}\n`).join(""))
    await bed.write("in/jan.csv", rows(1000))
    expect(await bed.run(parted)).toMatchObject({ counts: { inserted: 1000, deleted: 2500 } })
    expect(await names()).toHaveLength(1)
  })

  test("carries every type as JSON does, and every property", async () => {
    const all = orders({
      source: recordsSource(() => ({
        p: [
          {
            id: 'q"\n\\\u2028Å🙂',
            big: "0.1000000000000000055",
            at: "2026-01-31T12:00:00+02:00",
            day: "2024-02-29",
            ok: true,
            n: 1.5,
            nested: { a: [1, null], "": "x" },
          },
          { id: "", big: "1e3", at: "2026-01-31 10:00:00.123456Z", day: "2026-01-01", ok: false, n: 0.1 },
        ],
      })),
      schema: z.object({
        id: z.string(),
        big: decimal(),
        at: timestamp({ zone: "in text" }),
        day: z.iso.date(),
        ok: z.boolean(),
        n: z.number(),
        nested: z.looseObject({}).optional(),
      }),
    })
    await bed.run(all)
    expect((await lines()).map((text) => JSON.parse(text) as unknown)).toEqual([
      { id: "", big: 1000, at: "2026-01-31T10:00:00.123456+00:00", day: "2026-01-01", ok: false, n: 0.1, nested: null },
      {
        id: 'q"\n\\\u2028Å🙂',
        big: 0.1,
        at: "2026-01-31T10:00:00+00:00",
        day: "2024-02-29",
        ok: true,
        n: 1.5,
        nested: { a: [1, null], "": "x" },
      },
    ])
    expect((await lines())[1]).toContain('"big":0.1000000000000000055,')
  })

  test("carries what a transform made: several records of one, and none of another", async () => {
    await bed.write("in/jan.csv", "id,amount\na,1\ngone,2\n")
    const twice = orders({
      transform: (record) => (record["id"] === "gone" ? undefined : [record, { ...record, id: "a2" }]),
    })
    expect(await bed.run(twice)).toMatchObject({ counts: { read: 2, expanded: 1, inserted: 2, filtered: 1 } })
    expect(await lines()).toEqual([line("a", "1"), line("a2", "1")])
  })

  test("has no file of a partition that its gate holds, and keeps the one before", async () => {
    const checked = orders({ checks: [passRate(0.9), unique("id")] })
    await bed.write("in/jan.csv", "id,amount\na,1\n")
    await bed.write("in/feb.csv", "id,amount\nb,1\nb,2\n")
    expect(await bed.run(checked)).toMatchObject({ status: "partial", held: [{ partition: "in/feb.csv" }] })
    expect(await lines()).toEqual([line("a", "1")])
    await bed.write("in/jan.csv", "id,amount\na,x\n")
    expect(await bed.run(checked)).toMatchObject({ status: "partial", counts: { inserted: 0 } })
    expect(await lines()).toEqual([line("a", "1")])
    expect((await names()).filter((name) => name.endsWith(".tmp"))).toEqual([])
  })

  test("with all or nothing has nothing when one partition is held", async () => {
    await bed.write("in/jan.csv", "id,amount\na,1\n")
    await bed.write("in/feb.csv", "id,amount\nb,x\n")
    const whole = orders({ publish: "run", checks: [passRate(0.9)] })
    expect(await bed.run(whole)).toMatchObject({ status: "partial", counts: { inserted: 0 } })
    expect(await names()).toEqual([])
    await bed.write("in/feb.csv", "id,amount\nb,2\n")
    expect(await bed.run(whole)).toMatchObject({ status: "completed", counts: { inserted: 2 } })
    expect(await names()).toHaveLength(2)
  })

  test("says that a published file is gone, and writes it again with --full", async () => {
    await bed.write("in/jan.csv", "id,amount\na,1\n")
    await bed.run(orders())
    const [name = ""] = await names()
    await rm(`${bed.directory}/out/orders/${name}`)
    expect((await bed.run(orders())).warnings).toMatchObject([
      { code: "DATA_LOSS", message: expect.stringContaining(name) as string },
    ])
    expect(await bed.run(orders(), { full: true })).toMatchObject({ counts: { inserted: 1 } })
    expect(await lines()).toEqual([line("a", "1")])
  })

  test("writes a file that somebody has changed again with --full", async () => {
    await bed.write("in/jan.csv", "id,amount\na,1\n")
    await bed.run(orders())
    const [name = ""] = await names()
    await writeFile(`${bed.directory}/out/orders/${name}`, `${line("a", "7")}\n`)
    expect(await bed.run(orders(), { full: true })).toMatchObject({ counts: { inserted: 1, unchanged: 0 } })
    expect(await lines()).toEqual([line("a", "1")])
  })

  test("leaves alone what is not its own", async () => {
    await bed.write("in/jan.csv", "id,amount\na,1\n")
    await bed.run(orders())
    const [own = ""] = await names()
    await bed.run(orders({ name: "others" }))
    expect(await names()).toHaveLength(2)
    const foreign = ["notes.txt", own.replace(/-[0-9a-f]{8}\.jsonl/, "-12345678.json"), "jan.jsonl"]
    for (const name of foreign) await writeFile(`${bed.directory}/out/orders/${name}`, "mine")
    await bed.write("in/jan.csv", "id,amount\na,2\n")
    await bed.run(orders())
    expect(await names()).toEqual(expect.arrayContaining(foreign))
    expect(await names()).toHaveLength(5)
  })

  test("refuses what cannot be: new columns, parts of no records, a folder that is none", () => {
    expect(() => orders({ onNewColumn: "evolve" })).toThrow(/adds columns to a table/)
    expect(() => jsonlFiles("out", { maxRecordsPerFile: 0 })).toThrow(/maxRecordsPerFile/)
    for (const folder of ["", " ", "out/*.jsonl"]) expect(() => csvFiles(folder)).toThrow(/not a folder's name/)
  })
})

test("a sink of CSV reads back as what was published", async () => {
  const text = fc.oneof(
    fc.constantFrom("", " ", "a,b", 'say "hi"', "two\nlines", "\r", "=1+1", "Å🙂", "\\N", "null", "007"),
    fc.string({ unit: "grapheme", maxLength: 8 }).filter((value) => !value.includes("\0") && value.isWellFormed()),
  )
  const record = fc.record({ id: text, "Unit Price": fc.option(text, { nil: undefined }), n: fc.integer() })
  let round = 0
  await fc.assert(
    fc.asyncProperty(fc.array(record, { minLength: 1, maxLength: 20 }), async (records) => {
      const folder = `out/${round++}`
      const one = pipeline({
        name: `p${round}`,
        source: recordsSource(() => ({ p: records })),
        schema: z.object({ id: z.string(), "Unit Price": z.string().optional(), n: z.int() }),
        sink: csvFiles(folder, { maxRecordsPerFile: 7 }),
      })
      expect(await bed.run(one)).toMatchObject({ status: "completed", counts: { inserted: records.length } })
      const found: unknown[] = []
      for (const name of await names(folder))
        found.push(
          ...parse<unknown>(await read(name, folder), { columns: true, record_delimiter: ["\r\n", "\n", "\r"] }),
        )
      expect(found).toEqual(records.map((r) => ({ id: r.id, "Unit Price": r["Unit Price"] ?? "", n: String(r.n) })))
    }),
    { numRuns: 15 },
  )
})

describe("killed", () => {
  const published = [line("a", "1"), line("b", "2"), line("c", "3")]
  const write = async () => {
    await bed.write("in/jan.csv", "id,amount\na,1\nb,2\n")
    await bed.write("in/feb.csv", "id,amount\nc,3\n")
  }

  test.each(["staging.created", "gate.judged", "publish.begun", "publish.rows-written"] as const)(
    "at %s it shows nothing, and the next run ends with the right files",
    async (where) => {
      await write()
      expect(await bed.run(orders(), killedAt(where))).toMatchObject({ status: "failed" })
      expect(await lines()).toEqual([])
      expect(await bed.run(orders())).toMatchObject({ status: "completed", attempt: 2, counts: { inserted: 3 } })
      expect(await lines()).toEqual(published)
      expect(await names()).toHaveLength(2)
    },
  )

  test.each(["publish.before-commit", "publish.committed"] as const)(
    "at %s, too, each record is there once",
    async (where) => {
      await write()
      expect(await bed.run(orders(), killedAt(where))).toMatchObject({ status: "failed" })
      expect(await bed.run(orders())).toMatchObject({ status: "completed", attempt: 2 })
      expect(await lines()).toEqual(published)
      expect(await names()).toHaveLength(2)
      expect(await unbalanced(bed, "orders")).toEqual([])
    },
  )

  test("between renaming and commit, and the source then is what it was before: only what was published stays", async () => {
    await write()
    await bed.run(orders())
    const before = await names()
    await bed.write("in/jan.csv", "id,amount\na,10\n")
    expect(await bed.run(orders(), killedAt("publish.before-commit"))).toMatchObject({ status: "failed" })
    expect(await names()).toHaveLength(3)
    await bed.write("in/jan.csv", "id,amount\na,1\nb,2\n")
    await bed.run(orders())
    expect(await names()).toEqual(before)
    expect(await lines()).toEqual(published)
  })

  test("there, and the source changes once more: the version in between is cleared away", async () => {
    await write()
    await bed.run(orders())
    await bed.write("in/jan.csv", "id,amount\na,10\n")
    await bed.run(orders(), killedAt("publish.before-commit"))
    await bed.write("in/jan.csv", "id,amount\na,100\n")
    await bed.run(orders())
    expect(await lines()).toEqual([line("a", "100"), line("c", "3")].sort())
    expect(await names()).toHaveLength(2)
  })

  test("there, and a partition never published is held the next time: its file goes", async () => {
    const checked = orders({ checks: [passRate(0.9)] })
    await bed.write("in/jan.csv", "id,amount\na,1\n")
    await bed.run(checked, killedAt("publish.before-commit"))
    expect(await lines()).toEqual([line("a", "1")])
    await bed.write("in/jan.csv", "id,amount\na,x\n")
    expect(await bed.run(checked)).toMatchObject({ status: "partial" })
    expect(await names()).toEqual([])
  })

  test("after the commit, before the old files are gone: the next run removes them", async () => {
    await write()
    await bed.run(orders())
    await bed.write("in/jan.csv", "id,amount\na,10\n")
    const stuck = {
      ...systemPorts,
      files: {
        ...systemPorts.files,
        remove: (path: string) =>
          path.endsWith(".jsonl")
            ? Promise.reject(Object.assign(new Error("busy"), { code: "EBUSY" }))
            : systemPorts.files.remove(path),
      },
    }
    const report = await bed.run(orders(), { ports: stuck })
    expect(report).toMatchObject({ status: "completed", warnings: [{ code: "RESOURCE" }] })
    expect(await names()).toHaveLength(3)
    await bed.run(orders())
    expect(await lines()).toEqual([line("a", "10"), line("c", "3")].sort())
  })

  test("with a full disk it fails as a whole, and goes on when there is room", async () => {
    await write()
    const full = {
      ...systemPorts,
      files: {
        ...systemPorts.files,
        create: () => Promise.reject(Object.assign(new Error("no space"), { code: "ENOSPC" })),
      },
    }
    expect(await bed.run(orders(), { ports: full })).toMatchObject({ status: "failed", error: { code: "RESOURCE" } })
    expect(await bed.run(orders())).toMatchObject({ status: "completed", attempt: 2 })
    expect(await lines()).toEqual(published)
  })
})

test("two runs at once divide the partitions, and neither clears away what the other is writing", async () => {
  // Published once before, so that what lies in the folder besides is known to be left by an earlier run.
  for (let i = 0; i < 6; i++) await bed.write(`in/${i}.csv`, "id,amount\nold,0\n")
  await bed.run(orders())
  for (let i = 0; i < 6; i++) await bed.write(`in/${i}.csv`, `id,amount\nr${i},${i}\n`)
  const keys = Array.from({ length: 6 }, (_, i) => `in/${i}.csv`)
  // The first stands between renaming and commit while the second begins, clears up and publishes.
  let go: () => void = () => undefined
  const waits = new Promise<void>((resolve) => (go = resolve))
  let reached: () => void = () => undefined
  const there = new Promise<void>((resolve) => (reached = resolve))
  const ports = {
    ...systemPorts,
    failpoints: failpoints({
      "publish.before-commit": onThe(1, async () => {
        reached()
        await waits
      }),
    }),
  }
  const first = bed.run(orders(), { ports, partitions: keys.slice(0, 3) })
  await there
  const second = await bed.run(orders(), { partitions: keys.slice(3) })
  go()
  expect([(await first).status, second.status]).toEqual(["completed", "completed"])
  expect(await lines()).toEqual(keys.map((_key, i) => line(`r${i}`, String(i))))
})
