import fc from "fast-check"
import { afterAll, beforeAll, expect, test } from "vitest"
import { z } from "zod"
import type { Source } from "../../src/core/contracts.ts"
import { pipeline, table } from "../../src/index.ts"
import { recordsSource, type RecordsByPartition } from "../../src/testing/index.ts"
import { testBed, unbalanced, type Bed } from "./bed.ts"

let bed: Bed
beforeAll(async () => {
  bed = await testBed()
})
afterAll(() => bed.end())

/** A record of a file: key, value, and when it was made. */
type Rec = { k: number; v: number; at: number | null }
type Content = Readonly<Record<string, readonly Rec[]>>

interface Row {
  v: number
  at: number | null
  /** The file it came from, and its order: number of the file's version, then position. */
  source: string
  seq: number
  position: number
}

type Tallies = Record<"read" | "inserted" | "updated" | "unchanged" | "duplicate" | "superseded" | "deleted", number>

const same = (a: Row, b: Row | undefined): boolean => b !== undefined && a.v === b.v && a.at === b.at

/**
 * What the table should hold, written as the rules are told: a file that is read again stands back with its old rows; of
 * one key the newest in a file counts (others: duplicate), of several files published together the newest (others:
 * superseded), and what is in the table from a file that was not read again wins when it is newer (superseded). "Newer" is
 * by `at` where the pipeline orders by it (a missing one is oldest), then by the order of reading. A key that no file read
 * again still carries goes with its file; a row that its file no longer has as it stands, but another one has, is that one's.
 */
class Oracle {
  readonly table = new Map<number, Row>()
  readonly counts = new Map<string, Tallies>()
  readonly #versions = new Map<string, { text: string; number: number }>()
  readonly #orderBy: boolean
  readonly #together: boolean
  #numbers = 0

  constructor(orderBy: boolean, together: boolean) {
    this.#orderBy = orderBy
    this.#together = together
  }

  /** Gives the files that are read. */
  run(content: Content, full: boolean): string[] {
    const files = Object.keys(content).sort()
    const todo = files.filter((file) => full || this.#versions.get(file)?.text !== JSON.stringify(content[file]))
    const published = new Set(this.#versions.keys())
    for (const file of todo) {
      const text = JSON.stringify(content[file])
      if (this.#versions.get(file)?.text !== text) this.#versions.set(file, { text, number: ++this.#numbers })
    }
    const groups = this.#together ? [todo] : todo.map((file) => [file])
    for (const group of groups) this.#publish(group, content, published)
    return todo
  }

  /** Whether row a is newer than b. */
  #newer(a: Row, b: Row): boolean {
    if (this.#orderBy && a.at !== b.at) return (a.at ?? -Infinity) > (b.at ?? -Infinity)
    return a.seq !== b.seq ? a.seq > b.seq : a.position > b.position
  }

  #publish(group: readonly string[], content: Content, published: ReadonlySet<string>): void {
    const again = new Set(group.filter((file) => published.has(file)))
    const winners = new Map<number, Row>()
    const own = new Map<string, Map<number, Row>>()
    const of = (file: string): Tallies => {
      const found = this.counts.get(file)
      if (found === undefined) throw new Error(file)
      return found
    }
    for (const file of group) {
      const tally: Tallies = { read: 0, inserted: 0, updated: 0, unchanged: 0, duplicate: 0, superseded: 0, deleted: 0 }
      this.counts.set(file, tally)
      const ofFile = new Map<number, Row>()
      own.set(file, ofFile)
      for (const [i, { k, v, at }] of (content[file] ?? []).entries()) {
        tally.read++
        const row = { v, at, source: file, seq: this.#versions.get(file)?.number ?? 0, position: i + 1 }
        const other = ofFile.get(k)
        if (other !== undefined) tally.duplicate++
        if (other === undefined || this.#newer(row, other)) ofFile.set(k, row)
      }
      for (const [k, row] of ofFile) {
        const other = winners.get(k)
        if (other === undefined) winners.set(k, row)
        else if (this.#newer(row, other)) {
          of(other.source).superseded++
          winners.set(k, row)
        } else tally.superseded++
      }
    }
    for (const [k, row] of [...this.table])
      if (again.has(row.source) && !winners.has(k)) {
        this.table.delete(k)
        of(row.source).deleted++
      }
    for (const [k, row] of winners) {
      const there = this.table.get(k)
      const tally = of(row.source)
      if (there === undefined) {
        tally.inserted++
        this.table.set(k, row)
      } else if (!again.has(there.source) && this.#newer(there, row)) tally.superseded++
      else if (!same(there, row) || (again.has(there.source) && !same(there, own.get(there.source)?.get(k)))) {
        tally.updated++
        this.table.set(k, row)
      } else tally.unchanged++
    }
  }
}

/** `recordsSource`, its partitions small enough to be published together, or each by itself. */
function source(partitions: () => RecordsByPartition, together: boolean): Source {
  const plain = recordsSource(partitions, { batchSize: 3 })
  if (!together) return plain
  return {
    ...plain,
    list: async (context, known) =>
      (await plain.list(context, known)).map((partition) => ({ ...partition, bytes: 10 })),
  }
}

const record: fc.Arbitrary<Rec> = fc.record({
  k: fc.integer({ min: 1, max: 6 }),
  v: fc.integer({ min: 0, max: 2 }),
  at: fc.option(fc.integer({ min: 0, max: 3 }), { freq: 5 }),
})
const fileNames = ["a", "b", "c"] as const
const step = fc.record({
  /** New contents by file: a list, gone, or (absent) as before. */
  writes: fc.dictionary(fc.constantFrom(...fileNames), fc.option(fc.array(record, { maxLength: 6 }), { freq: 6 }), {
    maxKeys: 3,
    noNullPrototype: true,
  }),
  full: fc.boolean(),
})

interface Stored {
  k: number
  v: number
  at: number | null
  _source: string
  _position: string
  version: string
}

let pipelines = 0

const rec = (k: number, v: number, at: number | null = null): Rec => ({ k, v, at })
/** Histories that went wrong once, tried every time. */
const once: [{ writes: Record<string, Rec[] | null>; full: boolean }[]][] = [
  // A file drops a key that another one carries with the same value.
  [
    [
      { writes: { a: [rec(2, 0)], c: [rec(2, 0)] }, full: false },
      { writes: { c: [] }, full: true },
    ],
  ],
  // A file's own correction is older than what it said before.
  [
    [
      { writes: { a: [rec(3, 0, 1)] }, full: false },
      { writes: { a: [rec(3, 0, 0)] }, full: false },
    ],
  ],
  // Another file says what the first one no longer says.
  [
    [
      { writes: { a: [rec(3, 1)] }, full: false },
      { writes: { a: [rec(3, 0)], c: [rec(3, 1)] }, full: false },
    ],
  ],
  // Two files say something else of the same time.
  [[{ writes: { a: [rec(1, 0, 1)], b: [rec(1, 1, 1)] }, full: false }]],
  // A missing time is older than any, also against what is in the table.
  [
    [
      { writes: { a: [rec(1, 0, 1)] }, full: false },
      { writes: { b: [rec(1, 1, null)] }, full: false },
    ],
  ],
]

test.each([
  { orderBy: false, together: false },
  { orderBy: false, together: true },
  { orderBy: true, together: false },
  { orderBy: true, together: true },
])("random files, changes, losses and full reads leave what the rules say %o", async ({ orderBy, together }) => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 4 }), async (steps) => {
      const name = `p${++pipelines}`
      let content: Record<string, readonly Rec[]> = {}
      const upsert = pipeline({
        name,
        source: source(() => content, together),
        schema: z.object({ k: z.int(), v: z.int(), at: z.int().nullable() }),
        sink: table(`shop.${name}`, { key: ["k"], ...(orderBy ? { orderBy: "at" } : {}) }),
      })
      const oracle = new Oracle(orderBy, together)
      const stored = (): Promise<Stored[]> =>
        bed.rows(
          `SELECT k::int, v::int, at::int, _source, _position, ctid::text || ' ' || xmin::text AS version FROM shop.${name} ORDER BY k`,
        )
      let before: Stored[] = []
      for (const { writes, full } of steps) {
        const next = { ...content }
        for (const [file, records] of Object.entries(writes)) {
          if (records === null) delete next[file]
          else next[file] = records
        }
        content = Object.fromEntries(Object.entries(next).sort(([a], [b]) => (a < b ? -1 : 1)))
        oracle.counts.clear()
        const read = oracle.run(content, full)
        const report = await bed.run(upsert, { full })
        expect(report.error).toBeUndefined()
        expect(report.partitions.published).toBe(read.length)
        const after = await stored()
        expect(after.map(({ version: _version, ...row }) => ({ ...row, _position: Number(row._position) }))).toEqual(
          [...oracle.table]
            .sort(([a], [b]) => a - b)
            .map(([k, row]) => ({ k, v: row.v, at: row.at, _source: row.source, _position: row.position })),
        )
        const ledger = await bed.rows<{ partition_key: string; counts: object }>(
          `SELECT partition_key, counts FROM ops.processed_partitions WHERE pipeline_name = $1 AND run_id = $2 ORDER BY 1`,
          [name, report.runId],
        )
        expect(ledger.map((row) => [row.partition_key, row.counts])).toEqual(
          read.map((file) => [file, { filtered: 0, expanded: 0, deadLettered: 0, ...oracle.counts.get(file) }]),
        )
        // A tuple is written exactly where the counts say so.
        const same = new Set(before.map((row) => `${row.k} ${row.version}`))
        const written = after.filter((row) => !same.has(`${row.k} ${row.version}`)).length
        const counted = report.counts.inserted + report.counts.updated
        // Published one after the other, two files may write the same row.
        if (together) expect(written).toBe(counted)
        else expect(written).toBeLessThanOrEqual(counted)
        if (counted > 0) expect(written).toBeGreaterThan(0)
        expect(after.length).toBe(before.length + report.counts.inserted - report.counts.deleted)
        before = after
      }
      // Again and in full, once to bring back what other files still carry, and then nothing is written any more.
      await bed.run(upsert, { full: true })
      const settled = await stored()
      const last = await bed.run(upsert, { full: true })
      expect(last.counts).toMatchObject({ inserted: 0, updated: 0, deleted: 0 })
      expect(await stored()).toEqual(settled)
      expect((await bed.run(upsert)).counts.read).toBe(0)
      // Whatever is left of a file that is still there is what that file says.
      for (const row of settled)
        if (content[row._source] !== undefined)
          expect(content[row._source]).toContainEqual({ k: row.k, v: row.v, at: row.at })
      expect(await unbalanced(bed, name)).toEqual([])
      await bed.rows(`DROP TABLE shop.${name}`)
    }),
    {
      examples: once,
      numRuns: Number(process.env["UPSERT_RUNS"] ?? 7),
      ...(process.env["FC_SEED"] ? { seed: Number(process.env["FC_SEED"]) } : {}),
    },
  )
})

test("a partition that the ledger was made to forget keeps its place in the order of versions", async () => {
  let content: RecordsByPartition = { "a.csv": [{ k: 1, v: 10, at: null }] }
  const orders = pipeline({
    name: "forgotten",
    source: recordsSource(() => content),
    schema: z.object({ k: z.int(), v: z.int(), at: z.int().nullable() }),
    sink: table("shop.forgotten", { key: ["k"] }),
  })
  await bed.run(orders)
  content = { ...content, "b.csv": [{ k: 1, v: 20, at: null }] }
  expect((await bed.run(orders)).counts).toMatchObject({ updated: 1 })
  await bed.rows(`DELETE FROM ops.processed_partitions WHERE pipeline_name = 'forgotten' AND partition_key = 'a.csv'`)
  const again = await bed.run(orders)
  expect(again.counts).toMatchObject({ read: 1, superseded: 1, updated: 0 })
  expect(await bed.rows(`SELECT v::int, _source FROM shop.forgotten`)).toEqual([{ v: 20, _source: "b.csv" }])
})
