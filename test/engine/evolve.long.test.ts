import { gzipSync } from "node:zlib"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { z } from "zod"
import type { RecordObject } from "../../src/core/records.ts"
import { replayLetters } from "../../src/engine/replay/replay.ts"
import { csv, files, passRate, pipeline, previewPipeline, table, type PipelineOptions } from "../../src/index.ts"
import { decimal } from "../../src/schema/index.ts"
import { failpoints, onThe, recordsSource, systemPorts } from "../../src/testing/index.ts"
import { digest, testBed, unbalanced, type Bed } from "./bed.ts"

let bed: Bed
beforeEach(async () => {
  bed = await testBed()
})
afterEach(() => bed.end())

const orders = (extra: Partial<PipelineOptions> = {}) =>
  pipeline({
    name: "orders",
    source: files("*.csv*", { format: csv() }),
    schema: z.object({ id: z.string(), amount: decimal() }),
    sink: table("shop.orders", { key: ["id"] }),
    onNewColumn: "evolve",
    ...extra,
  })

/** Name and type of the table's columns, without those of lineage. */
const columns = async (name = "orders"): Promise<Record<string, string>> => {
  const rows = await bed.rows<{ name: string; type: string }>(
    `SELECT attname AS name, format_type(atttypid, atttypmod) AS type FROM pg_attribute
     WHERE attrelid = to_regclass('shop.' || $1) AND attnum > 0 AND NOT attisdropped AND attname !~ '^_' ORDER BY attname`,
    [name],
  )
  return Object.fromEntries(rows.map((row) => [row.name, row.type]))
}
const faults = () =>
  bed.rows<{ error_code: string; path: string; line: number }>(
    `SELECT error_code, path, (source->>'line')::int AS line FROM ops.dead_letters WHERE status <> 'superseded' ORDER BY line`,
  )
const drifts = () => bed.eventsOf("warning").filter((event) => event.code === "SCHEMA_DRIFT")

describe("a column that the schema does not know", () => {
  test("is added to a table that is there, nullable, and nothing is rewritten; running again changes nothing", async () => {
    await bed.write("1.csv", "id,amount\na,1\nb,2\n")
    expect(await bed.run(orders())).toMatchObject({ status: "completed", newColumns: [] })
    const filenode = () => bed.value(`SELECT pg_relation_filenode('shop.orders')`)
    const [node, before] = [await filenode(), await digest(bed, "shop.orders")]
    await bed.write("2.csv", "id,amount,Unit Price,note\nc,3,1.50,x\nd,4,,\n")
    const report = await bed.run(orders())
    expect(report).toMatchObject({
      status: "completed",
      counts: { read: 2, inserted: 2, deadLettered: 0 },
      newColumns: [
        { property: "Unit Price", column: "unit_price", type: "numeric" },
        { property: "note", column: "note", type: "text" },
      ],
    })
    expect(drifts().map(({ message }) => message)).toEqual([
      expect.stringMatching(/"Unit Price".*"unit_price" \(numeric\) of shop\.orders/),
      expect.stringContaining('"note"'),
    ])
    expect(report.warnings).toHaveLength(2)
    expect(await columns()).toEqual({ id: "text", amount: "numeric", unit_price: "numeric", note: "text" })
    expect(await bed.rows(`SELECT id, unit_price::text, note FROM shop.orders ORDER BY id`)).toEqual([
      { id: "a", unit_price: null, note: null },
      { id: "b", unit_price: null, note: null },
      { id: "c", unit_price: "1.50", note: "x" },
      { id: "d", unit_price: null, note: null },
    ])
    expect(await filenode()).toBe(node)
    const after = await digest(bed, "shop.orders")
    expect(after).not.toBe(before)
    expect(await bed.run(orders())).toMatchObject({ counts: { read: 0 }, newColumns: [] })
    const full = await bed.run(orders(), { full: true })
    expect(full).toMatchObject({ counts: { read: 4, unchanged: 4 }, newColumns: [], warnings: [] })
    expect(await digest(bed, "shop.orders")).toBe(after)
    expect(await unbalanced(bed, "orders")).toEqual([])
  })

  test("is there in a table that is made by the same run", async () => {
    await bed.write("1.csv", "id,amount,discount\na,1,5\na,2,6\nb,2,7.25\n")
    expect(await bed.run(orders())).toMatchObject({ counts: { inserted: 2, duplicate: 1 } })
    await bed.write("2.csv", "id,amount,discount\nc,1,abc\nd,1,1\n")
    expect(await bed.run(orders())).toMatchObject({ counts: { inserted: 1, deadLettered: 1 }, newColumns: [] })
    expect(await columns()).toMatchObject({ discount: "numeric" })
    expect(await bed.rows(`SELECT id, discount::text FROM shop.orders ORDER BY id`)).toEqual([
      { id: "a", discount: "6" },
      { id: "b", discount: "7.25" },
      { id: "d", discount: "1" },
    ])
    expect(await faults()).toEqual([{ error_code: "DB_CONSTRAINT", path: "discount", line: 2 }])
  })

  test.each([
    ["whole numbers may get a fraction later", ["1", "-20", "0"], "numeric"],
    ["amounts", ["0.10", "12345678901234567890.5"], "numeric"],
    ["identifiers with a leading zero stay text", ["00123", "00124"], "text"],
    ["telephone numbers stay text", ["+44123", "+44124"], "text"],
    ["what looks like an exponent stays text", ["1E5", "2E7"], "text"],
    ["very long numerals are identifiers", ["4000123412341234567"], "text"],
    ["truth values", ["true", "FALSE"], "boolean"],
    ["days", ["2026-01-31", "2024-02-29"], "date"],
    ["days that do not exist", ["2026-02-31"], "text"],
    ["instants", ["2026-01-31T10:00:00Z", "2026-01-31 10:00+02:00"], "timestamp with time zone"],
    ["times without a zone leave a doubt", ["2026-01-31 10:00:00"], "text"],
    ["values that do not agree", ["1", "x"], "text"],
    ["numbers and days", ["1", "2026-01-01"], "text"],
  ])("of a CSV: %s", async (_what, values, type) => {
    await bed.write("1.csv", `id,amount,extra\n${values.map((value, i) => `r${i},1,${value}\n`).join("")}`)
    expect(await bed.run(orders())).toMatchObject({ counts: { inserted: values.length, deadLettered: 0 } })
    expect((await columns())["extra"]).toBe(type)
    const shown = type === "text" ? "extra" : type === "date" ? "extra::text" : "NULL"
    if (shown !== "NULL")
      expect(await bed.rows(`SELECT ${shown} AS x FROM shop.orders ORDER BY id`)).toEqual(values.map((x) => ({ x })))
  })

  test("of JSON lines keeps what JSON tells, and every digit", async () => {
    const json = orders({ source: files("*.jsonl") })
    await bed.write(
      "1.jsonl",
      [
        '{"id":"a","amount":1,"n":0.1000000000000000055,"s":"12","b":true,"o":{"k":[1]},"d":"2026-01-31","mixed":1,"nothing":null}',
        '{"id":"b","amount":1,"n":12345678901234567890,"s":"13","b":false,"o":"text","mixed":"x","nothing":null}',
        '{"id":"c","amount":1,"s":"0.1000000000000000055"}',
      ].join("\n"),
    )
    expect(await bed.run(json)).toMatchObject({ counts: { inserted: 3, deadLettered: 0 } })
    expect(await columns()).toEqual({
      ...{ id: "text", amount: "numeric", n: "numeric", s: "text", b: "boolean", o: "jsonb", d: "date", mixed: "text" },
    })
    expect(await bed.rows(`SELECT n::text, s, b, o, d::text, mixed FROM shop.orders ORDER BY id`)).toEqual([
      { n: "0.1000000000000000055", s: "12", b: true, o: { k: [1] }, d: "2026-01-31", mixed: "1" },
      { n: "12345678901234567890", s: "13", b: false, o: "text", d: null, mixed: "x" },
      { n: null, s: "0.1000000000000000055", b: null, o: null, d: null, mixed: null },
    ])
    await bed.write(
      "2.jsonl",
      '{"id":"d","amount":1,"n":"many"}\n{"id":"e","amount":1,"mixed":{"k":1}}\n{"id":"f","amount":1,"b":false}\n',
    )
    expect(await bed.run(json)).toMatchObject({ counts: { inserted: 1, deadLettered: 2 } })
    expect((await faults()).map(({ path }) => path)).toEqual(["n", "mixed"])
  })

  test("is not added for blanks alone, and is when a value comes", async () => {
    await bed.write("1.csv", "id,amount,later\na,1,\nb,2,\n")
    expect(await bed.run(orders())).toMatchObject({ status: "completed", newColumns: [] })
    expect(Object.keys(await columns())).toEqual(["amount", "id"])
    await bed.write("2.csv", "id,amount,later\nc,1,\nd,2,9\n")
    expect(await bed.run(orders())).toMatchObject({ newColumns: [{ property: "later" }] })
    expect(await bed.value(`SELECT later::text FROM shop.orders WHERE id = 'd'`)).toBe("9")
  })

  test("in the middle of a large file is met there; the rest goes the fast way with the same result", async () => {
    const line = (i: number) => `r${i},${i},${i < 150_000 ? "" : i % 1000 === 1 ? "no number" : `${i}.5`},"n, ${i}"\n`
    const text = `id,amount,late,note\n${Array.from({ length: 200_000 }, (_, i) => line(i)).join("")}`
    await bed.write("1.csv.gz", gzipSync(text))
    const report = await bed.run(orders({ sink: table("shop.orders", { mode: "append" }) }))
    // The batch in which it is met decides the type: there, not every value is a number.
    expect(report).toMatchObject({ status: "completed", counts: { read: 200_000, inserted: 200_000, deadLettered: 0 } })
    expect(await columns()).toMatchObject({ late: "text", note: "text" })
    expect(
      await bed.rows(
        `SELECT count(*)::int AS n, count(late)::int AS late, bool_and(note = 'n, ' || amount AND _position = amount + 2) AS right,
                bool_and(late IS NOT DISTINCT FROM CASE WHEN amount < 150000 THEN NULL WHEN amount % 1000 = 1 THEN 'no number' ELSE amount || '.5' END) AS kept
         FROM shop.orders`,
      ),
    ).toEqual([{ n: 200_000, late: 50_000, right: true, kept: true }])
  })

  test("a later value that does not fit sets aside its record alone", async () => {
    // Far behind the batch that decides the type.
    const odd: Record<number, string> = { 190_000: "oops", 190_001: "2026-02-31" }
    const values = Array.from({ length: 200_000 }, (_, i) => odd[i] ?? "2026-01-31")
    await bed.write("1.csv", `id,amount,day\n${values.map((value, i) => `r${i},1,${value}\n`).join("")}`)
    expect(await bed.run(orders())).toMatchObject({ counts: { inserted: 199_998, deadLettered: 2 } })
    expect(await columns()).toMatchObject({ day: "date" })
    expect(await faults()).toEqual([
      { error_code: "DB_CONSTRAINT", path: "day", line: 190_002 },
      { error_code: "DB_CONSTRAINT", path: "day", line: 190_003 },
    ])
  })

  test("that several records were made of is carried by all of them; what is filtered or bad carries nothing", async () => {
    const twice = orders({
      transform: (record) =>
        record["id"] === "gone" ? undefined : [record, { ...record, id: `${record["id"] as string}2` }],
    })
    await bed.write("1.csv", "id,amount,tag\na,1,x\ngone,1,y\nbad,much,z\nb,1,\n")
    expect(await bed.run(twice)).toMatchObject({ counts: { read: 4, inserted: 4, filtered: 1, deadLettered: 1 } })
    expect(await bed.rows(`SELECT id, tag FROM shop.orders ORDER BY id`)).toEqual([
      { id: "a", tag: "x" },
      { id: "a2", tag: "x" },
      { id: "b", tag: null },
      { id: "b2", tag: null },
    ])
  })

  test("made by prepare is one too", async () => {
    await bed.write("1.csv", "id,amount\na,1\n")
    const prepared = orders({ prepare: (record) => ({ ...record, made: 7 }) })
    expect(await bed.run(prepared)).toMatchObject({ newColumns: [{ property: "made", type: "numeric" }] })
    expect(await bed.value(`SELECT made::text FROM shop.orders`)).toBe("7")
  })

  test("does not disturb what is counted of the others", async () => {
    const schema = z.object({ id: z.string(), amount: decimal(), memo: z.string().optional() })
    const lines = [
      '{"id":"a","amount":1}',
      '{"id":"b","amount":1}',
      '{"id":"c","amount":1,"tag":"x"}',
      '{"id":"d","amount":1,"memo":"m"}',
    ]
    await bed.write("1.jsonl", lines.join("\n"))
    expect((await bed.run(orders({ schema, source: files("*.jsonl") }))).nulls).toEqual({ memo: 3 })
  })

  test("may have any name, __proto__ too", async () => {
    const source = recordsSource(() => ({
      p: [JSON.parse('{"id":"a","amount":"1","__proto__":"x","constructor":"y"}'), { id: "b", amount: "2" }] as never[],
    }))
    expect(await bed.run(orders({ source }))).toMatchObject({ counts: { inserted: 2, deadLettered: 0 } })
    expect(await bed.rows(`SELECT id, __proto__ AS p, constructor AS c FROM shop.orders ORDER BY id`)).toEqual([
      { id: "a", p: "x", c: "y" },
      { id: "b", p: null, c: null },
    ])
  })

  test.each([
    [
      "two properties that become one column",
      "id,amount,Tag,tag\na,1,x,y\n",
      /"Tag" is already loaded into the column "tag"/,
    ],
    ["one that becomes a column of the schema", "id,amount,Amount\na,1,2\n", /"amount" is already loaded/],
    ["one of lineage", "id,amount,_seq\na,1,2\n", /Spillway's own/],
    ["a name that is too long", `id,amount,${"n".repeat(64)}\na,1,2\n`, /longer than 63 bytes/],
    [
      "more than a hundred",
      `id,amount,${Array.from({ length: 101 }, (_, i) => `c${i}`).join(",")}\na,1${",1".repeat(101)}\n`,
      /101 new columns/,
    ],
  ])("holds its file where it cannot be a column: %s", async (_what, text, message) => {
    await bed.write("1.csv", text)
    await bed.write("2.csv", "id,amount,fine\nb,1,x\n")
    const report = await bed.run(orders())
    expect(report).toMatchObject({ status: "partial", counts: { inserted: 1 }, held: [{ code: "SCHEMA_DRIFT" }] })
    expect(report.held[0]?.message).toMatch(message)
    expect(Object.keys(await columns())).toEqual(["amount", "fine", "id"])
  })

  test("of a file that is held is not added, though it was staged with others", async () => {
    await bed.write("1.csv", "id,amount,odd\na,1,x\nb,bad,x\nc,bad,x\n")
    await bed.write("2.csv", "id,amount,good\nd,1,x\n")
    const checked = orders({ checks: [passRate(0.9)] })
    expect(await bed.run(checked)).toMatchObject({ status: "partial", newColumns: [{ property: "good" }] })
    expect(Object.keys(await columns())).toEqual(["amount", "good", "id"])
    await bed.write("1.csv", "id,amount,odd\na,1,x\n")
    expect(await bed.run(checked)).toMatchObject({ status: "completed", newColumns: [{ property: "odd" }] })
  })

  test("is shown by a preview", async () => {
    await bed.write("1.csv", "id,amount,extra\na,1,x\nb,2,\n")
    const shown = await previewPipeline(orders(), { directory: bed.directory, limit: 5 })
    expect(shown.map(({ output }) => output)).toEqual([
      [{ id: "a", amount: "1", extra: "x" }],
      [{ id: "b", amount: "2" }],
    ])
  })

  test("needs a schema that lists its properties", () => {
    expect(() => orders({ schema: z.looseObject({ id: z.string(), amount: decimal() }) })).toThrow(
      /lists its properties/,
    )
  })
})

describe("the table", () => {
  test("keeps what it has: a column of the same name is taken as it is, with its comment", async () => {
    await bed.rows(`CREATE SCHEMA shop`)
    await bed.rows(
      `CREATE TABLE shop.orders (id text PRIMARY KEY, amount numeric, size integer, total numeric GENERATED ALWAYS AS (amount * 2) STORED, _source text, _position bigint, _seq bigint, _run_id text)`,
    )
    await bed.rows(`COMMENT ON COLUMN shop.orders.size IS 'in cm'`)
    await bed.write("1.csv", "id,amount,size\na,1,5\nb,1,5.5\nc,1,99999999999\n")
    expect(await bed.run(orders())).toMatchObject({ status: "completed", counts: { inserted: 1, deadLettered: 2 } })
    expect(await columns()).toMatchObject({ size: "integer" })
    const comment = await bed.value(`SELECT col_description('shop.orders'::regclass, 3)`)
    expect(comment).toMatch(/^in cm\nspillway: pipeline orders reads it from "size"$/)
    await bed.write("2.csv", "id,amount,total\nd,1,5\n")
    const report = await bed.run(orders())
    expect(report.held).toMatchObject([{ partition: "2.csv", message: expect.stringContaining("computes") as string }])
  })

  test("a file without the column says nothing of it by absence, as for a column of the schema", async () => {
    await bed.write("1.csv", "id,amount,tag\na,1,x\nb,1,x\n")
    await bed.run(orders())
    await bed.write("2.csv", "id,amount\nb,1\n")
    expect(await bed.run(orders())).toMatchObject({ counts: { updated: 1 } })
    expect(await bed.rows(`SELECT id, tag FROM shop.orders ORDER BY id`)).toEqual([
      { id: "a", tag: "x" },
      { id: "b", tag: null },
    ])
  })

  test("what another pipeline has added is not this one's to empty", async () => {
    await bed.write("1.csv", "id,amount,tag\na,1,x\nb,1,y\n")
    await bed.run(orders())
    await bed.write("other.jsonl", '{"id":"b","amount":2}\n')
    const other = orders({ name: "other", source: files("*.jsonl") })
    expect(await bed.run(other)).toMatchObject({ counts: { updated: 1 } })
    expect(await bed.rows(`SELECT amount::text, tag FROM shop.orders WHERE id = 'b'`)).toEqual([
      { amount: "2", tag: "y" },
    ])
    await bed.write("other.jsonl", '{"id":"b","amount":2,"tag":"z"}\n')
    expect(await bed.run(other)).toMatchObject({ counts: { updated: 1 } })
    expect(await bed.value(`SELECT tag FROM shop.orders WHERE id = 'b'`)).toBe("z")
  })

  test("a column that the schema has come to know is the schema's", async () => {
    await bed.write("1.csv", "id,amount,tag\na,1,x\n")
    await bed.run(orders())
    const known = orders({ schema: z.object({ id: z.string(), amount: decimal(), tag: z.enum(["x"]).optional() }) })
    await bed.write("2.csv", "id,amount,tag\nb,1,x\nc,1,z\n")
    expect(await bed.run(known)).toMatchObject({ counts: { inserted: 1, deadLettered: 1 }, newColumns: [] })
  })
})

test("a replay fills the columns that the table has, and adds none", async () => {
  await bed.write("1.csv", "id,amount,tag\na,1,5\nb,bad,6\nc,1,oops\n")
  expect(await bed.run(orders())).toMatchObject({ counts: { inserted: 2 } })
  await bed.write("2.csv", "id,amount,day\nd,bad,\ne,bad,2026-01-31\n")
  expect(await bed.run(orders())).toMatchObject({ counts: { deadLettered: 2 }, newColumns: [] })
  const fix = (record: RecordObject | undefined) => ({ ...record, amount: "7" })
  const patch = { fix, description: { fix: String(fix) } }
  const options = { database: bed.url, directory: bed.directory, requestedBy: "a test" }
  const report = await replayLetters(orders(), { ...options, patch })
  expect(report).toMatchObject({ status: "completed", outcomes: { loaded: 2 } })
  expect(await bed.rows(`SELECT id, amount::text, tag FROM shop.orders WHERE id IN ('b', 'd') ORDER BY id`)).toEqual([
    { id: "b", amount: "7", tag: "6" },
    { id: "d", amount: "7", tag: null },
  ])
  expect(Object.keys(await columns())).toEqual(["amount", "id", "tag"])
  expect(JSON.stringify(report.reasons)).toContain("day: the table does not have this column yet")
})

describe("interrupted", () => {
  test.each([1, 3, 5])(
    "after batch %i it goes on with the columns that were staged, and ends as if undisturbed",
    async (nth) => {
      const records = Array.from({ length: 800 }, (_, i) => ({
        ...{ id: `r${i}`, amount: "1" },
        ...(i >= 250 ? { tag: i } : {}),
        ...(i >= 650 ? { other: "x" } : {}),
      }))
      const of = () => orders({ source: recordsSource(() => ({ a: records.slice(0, 500), b: records.slice(500) })) })
      const stop = new AbortController()
      const ports = { ...systemPorts, failpoints: failpoints({ "batch.staged": onThe(nth, () => stop.abort()) }) }
      expect(await bed.run(of(), { ports, signal: stop.signal })).toMatchObject({ status: "cancelled" })
      expect(await bed.run(of())).toMatchObject({
        status: "completed",
        attempt: 2,
        counts: { read: 800, inserted: 800 },
      })
      expect(await columns()).toEqual({ id: "text", amount: "numeric", tag: "numeric", other: "text" })
      expect(
        await bed.rows(
          `SELECT count(tag)::int AS tag, count(other)::int AS other, sum(tag)::int AS sum FROM shop.orders`,
        ),
      ).toEqual([{ tag: 550, other: 150, sum: ((250 + 799) * 550) / 2 }])
      const before = await digest(bed, "shop.orders")
      expect(await bed.run(of(), { full: true })).toMatchObject({ counts: { unchanged: 800 } })
      expect(await digest(bed, "shop.orders")).toBe(before)
    },
  )

  test("it keeps to the type that was staged, and what was staged", async () => {
    await bed.write("0.csv", "id,amount\nz,1\n")
    await bed.run(orders())
    const records = Array.from({ length: 300 }, (_, i) => ({
      ...{ id: `r${i}`, amount: "1" },
      ...(i < 100 ? { tag: i } : i === 299 ? { tag: "x" } : {}),
    }))
    const of = () => orders({ source: recordsSource(() => ({ a: records })) })
    const stop = new AbortController()
    const ports = { ...systemPorts, failpoints: failpoints({ "batch.staged": onThe(1, () => stop.abort()) }) }
    expect(await bed.run(of(), { ports, signal: stop.signal })).toMatchObject({ status: "cancelled" })
    expect(await bed.run(of())).toMatchObject({
      status: "completed",
      attempt: 2,
      counts: { inserted: 299, deadLettered: 1 },
    })
    expect(await bed.rows(`SELECT count(tag)::int AS n, sum(tag)::int AS sum FROM shop.orders`)).toEqual([
      { n: 100, sum: 4950 },
    ])
  })

  test.each(["publish.begun", "publish.rows-written", "publish.before-commit"])("at %s", async (where) => {
    await bed.write("1.csv", "id,amount\na,1\n")
    await bed.run(orders())
    await bed.write("2.csv", "id,amount,tag\nb,1,5\n")
    const ports = {
      ...systemPorts,
      failpoints: failpoints({
        [where]: onThe(1, () => {
          throw new Error("killed")
        }),
      }),
    }
    expect(await bed.run(orders(), { ports })).toMatchObject({ status: "failed" })
    expect(await bed.value(`SELECT count(*)::int FROM shop.orders`)).toBe(1)
    expect(await bed.run(orders())).toMatchObject({ status: "completed", attempt: 2, counts: { inserted: 1 } })
    expect(await bed.rows(`SELECT tag::text FROM shop.orders ORDER BY id`)).toEqual([{ tag: null }, { tag: "5" }])
  })
})

describe("two runs at once", () => {
  /** Two pipelines that load one table and meet the same new column, one as a number, the other as text. */
  const pair = () =>
    [
      ["eu", "5"],
      ["us", "five"],
    ].map(([name = "", value = ""]) =>
      orders({
        name,
        source: recordsSource(() => ({ [name]: [{ id: name, amount: "1", tag: value === "5" ? 5 : value }] })),
      }),
    )

  test.each([
    ["the table is there", true],
    ["both make the table", false],
  ])("agree on one column (%s)", async (_what, there) => {
    if (there)
      await bed.run(orders({ name: "first", source: recordsSource(() => ({ f: [{ id: "f", amount: "1" }] })) }))
    // Both have staged, with types of their own, before either publishes.
    let waiting = 0
    let open: () => void = () => undefined
    const both = new Promise<void>((resolve) => (open = resolve))
    const meet = async () => {
      if (++waiting === 2) open()
      await both
    }
    const reports = await Promise.all(
      pair().map((one) =>
        bed.run(one, { ports: { ...systemPorts, failpoints: failpoints({ "gate.judged": onThe(1, meet) }) } }),
      ),
    )
    expect(reports.map(({ status }) => status)).toEqual(["completed", "completed"])
    const type = (await columns())["tag"]
    const set = reports.reduce((sum, { counts }) => sum + counts.deadLettered, 0)
    const rows = await bed.rows(`SELECT id, tag::text FROM shop.orders WHERE id <> 'f' ORDER BY id`)
    if (type === "text") {
      expect(set).toBe(0)
      expect(rows).toEqual([
        { id: "eu", tag: "5" },
        { id: "us", tag: "five" },
      ])
    } else {
      expect(type).toBe("numeric")
      expect(set).toBe(1)
      expect(rows).toEqual([{ id: "eu", tag: "5" }])
      expect(await bed.rows(`SELECT pipeline_name, path FROM ops.dead_letters`)).toEqual([
        { pipeline_name: "us", path: "tag" },
      ])
    }
    for (const one of pair()) expect(await bed.run(one)).toMatchObject({ counts: { read: 0 } })
  })
})
