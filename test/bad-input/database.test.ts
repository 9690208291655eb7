import { randomBytes } from "node:crypto"
import { afterEach, beforeEach, expect, test } from "vitest"
import { z } from "zod"
import { database, pipeline, SpillwayError, table, type Database, type PipelineOptions } from "../../src/index.ts"
import { decimal, timestamp } from "../../src/schema/index.ts"
import { recordsSource } from "../../src/testing/index.ts"
import { testBed, unbalanced, type Bed } from "../engine/bed.ts"

let bed: Bed
beforeEach(async () => {
  bed = await testBed()
})
afterEach(() => bed.end())

type Records = Record<string, Record<string, unknown>[]>
let partitions: Records = {}

const Order = z.object({ id: z.int(), what: z.string(), amount: z.int() })

const orders = (extra: Partial<PipelineOptions> = {}) =>
  pipeline({
    name: "orders",
    source: recordsSource(() => partitions, { batchSize: 1_000 }),
    schema: Order,
    sink: table("shop.orders", { key: ["id"] }),
    ...extra,
  })

/** Of the same source, so small that they are published together. */
function together(): PipelineOptions["source"] {
  const plain = recordsSource(() => partitions)
  return {
    ...plain,
    list: async (context, known) => (await plain.list(context, known)).map((p) => ({ ...p, bytes: 10 })),
  }
}

const good = (count: number, from = 0): Record<string, unknown>[] =>
  Array.from({ length: count }, (_, i) => ({ id: from + i, what: `w${from + i}`, amount: i }))

const lineage = "_source text NOT NULL, _position bigint NOT NULL, _seq bigint NOT NULL, _run_id text NOT NULL"
const letters = (): Promise<unknown[]> =>
  bed.rows(`SELECT record->>'id' AS id, error_code, step, rule, path FROM ops.dead_letters ORDER BY ordinal`)
const count = (): Promise<number> => bed.value<number>(`SELECT count(*)::int FROM shop.orders`)

test("values that only the database refuses cost their own records, among thousands of good ones", async () => {
  await bed.rows(`CREATE SCHEMA shop`)
  await bed.rows(
    `CREATE TABLE shop.orders (id bigint PRIMARY KEY, what varchar(8) NOT NULL CHECK (what <> 'forbidden' AND what !~ '^no'), amount integer CHECK (amount >= 0), ${lineage})`,
  )
  const records = good(5_000)
  records[17] = { id: 17, what: "nope", amount: 1 }
  records[999] = { id: 999, what: "last", amount: -1 }
  records[1_000] = { id: 1_000, what: "first", amount: -1 }
  records[2_500] = { id: 2_500, what: "much too long", amount: 1 }
  records[2_501] = { id: 2_501, what: "next", amount: 3_000_000_000 }
  partitions = { a: records }
  const report = await bed.run(orders())
  expect(report).toMatchObject({ status: "completed", counts: { read: 5_000, inserted: 4_995, deadLettered: 5 } })
  expect(report.deadLetters).toEqual({ DB_CONSTRAINT: 5 })
  expect(await letters()).toEqual([
    { id: "17", error_code: "DB_CONSTRAINT", step: "load", rule: "orders_what_check", path: null },
    { id: "999", error_code: "DB_CONSTRAINT", step: "load", rule: "orders_amount_check", path: null },
    { id: "1000", error_code: "DB_CONSTRAINT", step: "load", rule: "orders_amount_check", path: null },
    { id: "2500", error_code: "DB_CONSTRAINT", step: "load", rule: "22001", path: "what" },
    { id: "2501", error_code: "DB_CONSTRAINT", step: "load", rule: "22003", path: "amount" },
  ])
  expect(await count()).toBe(4_995)
  expect(await unbalanced(bed, "orders")).toEqual([])
  expect(await bed.run(orders(), { full: true })).toMatchObject({ counts: { unchanged: 4_995, deadLettered: 5 } })
})

/** The bed's database, each COPY of which goes through `copy` first. */
function watched(seen: { start?: () => void; data?: (data: Uint8Array) => void }): Database {
  const server = database(bed.url)
  return {
    ...server,
    async connect(options) {
      const session = await server.connect(options)
      const startCopy = session.startCopy.bind(session)
      session.startCopy = async (sql) => {
        seen.start?.()
        const copy = await startCopy(sql)
        if (!sql.includes("ops_staging.run_")) return copy
        const write = copy.write.bind(copy)
        copy.write = (data) => {
          seen.data?.(data)
          write(data)
        }
        return copy
      }
      return session
    },
  }
}

test("many refused records in a batch do not cost their square", async () => {
  await bed.rows(`CREATE SCHEMA shop`)
  await bed.rows(
    `CREATE TABLE shop.orders (id bigint PRIMARY KEY, what text, amount integer CHECK (amount < 0), ${lineage})`,
  )
  partitions = { a: good(2_000) }
  let copied = 0
  const one = orders({ source: recordsSource(() => partitions, { batchSize: 2_000 }) })
  const report = await bed.run(one, { database: watched({ data: (data) => (copied += data.byteLength) }) })
  expect(report).toMatchObject({ status: "completed", counts: { read: 2_000, deadLettered: 2_000 } })
  // Each line goes over the wire a few times, not a thousand times.
  expect(copied).toBeLessThan(20 * 2_000 * 60)
})

test("a server without room ends the run, and holds no partition for it", async () => {
  partitions = { a: good(1_500), b: good(10, 5_000) }
  let copies = 0
  const full = watched({
    start: () => {
      if (++copies === 2)
        throw new SpillwayError("RESOURCE", "could not extend file", {
          hint: "make room",
          context: { sqlState: "53100" },
        })
    },
  })
  const first = await bed.run(orders(), { database: full })
  expect(first).toMatchObject({ status: "failed", held: [], error: { code: "RESOURCE", hint: "make room" } })
  expect(await bed.run(orders())).toMatchObject({
    status: "completed",
    runId: first.runId,
    counts: { inserted: 1_510 },
  })
})

test("numbers, dates and keys that no column could hold cost their own records", async () => {
  const schema = z.object({
    id: z.string(),
    whole: z.number(),
    price: decimal({ precision: 6, scale: 2 }),
    day: z.iso.date(),
    at: timestamp({ zone: "UTC" }),
    doc: z.unknown(),
  })
  const fine = { id: "a", whole: 1, price: "1234.50", day: "2011-02-28", at: "2011-02-28 10:00", doc: { a: 1 } }
  partitions = {
    a: [
      fine,
      { ...fine, id: "overflow", whole: 2_147_483_648 },
      { ...fine, id: "fraction", whole: 1.5 },
      { ...fine, id: "huge", price: "12345.00" },
      { ...fine, id: "fine", price: "1.234" },
      { ...fine, id: "no day", day: "2011-02-29" },
      { ...fine, id: "no date", day: "28.2.2011" },
      { ...fine, id: "no time", at: "yesterday" },
      { ...fine, id: "late", at: "2011-02-28 25:00" },
      { ...fine, id: `long ${randomBytes(4_000).toString("hex")}` },
      { ...fine, id: "doc", doc: ["\0"] },
      { ...fine, id: "last" },
    ],
  }
  const typed = orders({
    schema,
    columns: { whole: { type: "integer" }, doc: { type: "jsonb" } },
    sink: table("shop.orders", { key: ["id"] }),
  })
  const report = await bed.run(typed)
  expect(report).toMatchObject({ status: "completed", counts: { read: 12, inserted: 2, deadLettered: 10 } })
  const found = await bed.rows<{ code: string; rule: string; path: string; msg: string }>(
    `SELECT error_code AS code, rule, path, error_msg AS msg FROM ops.dead_letters ORDER BY ordinal`,
  )
  expect(found.map(({ code, path }) => `${code} ${path}`)).toEqual([
    "DB_CONSTRAINT whole",
    "DB_CONSTRAINT whole",
    "VALIDATION price",
    "VALIDATION price",
    "VALIDATION day",
    "VALIDATION day",
    "VALIDATION at",
    "VALIDATION at",
    "DB_CONSTRAINT id",
    "DB_CONSTRAINT doc",
  ])
  for (const { msg } of found) expect(msg).toMatch(/expected .*got /)
  expect(await bed.rows(`SELECT id, price::text FROM shop.orders ORDER BY _seq`)).toEqual([
    { id: "a", price: "1234.50" },
    { id: "last", price: "1234.50" },
  ])
})

test("a key that is missing costs its record", async () => {
  partitions = {
    a: [
      { id: 1, what: "x", amount: 1 },
      { what: "y", amount: 2 },
      { id: 3, what: "z", amount: 3 },
    ],
  }
  const report = await bed.run(
    orders({ schema: z.object({ id: z.int().optional(), what: z.string(), amount: z.int() }) }),
  )
  expect(report).toMatchObject({ status: "completed", counts: { read: 3, inserted: 2, deadLettered: 1 } })
  expect(await letters()).toMatchObject([{ id: null, error_code: "DB_CONSTRAINT", path: "id" }])
})

test.each([
  ["unique", `ALTER TABLE shop.orders ADD UNIQUE (what)`, { id: 20, what: "w1", amount: 0 }, /unique/],
  [
    "foreign key",
    `CREATE TABLE shop.amounts (amount bigint PRIMARY KEY); INSERT INTO shop.amounts SELECT generate_series(0, 99); ALTER TABLE shop.orders ADD FOREIGN KEY (amount) REFERENCES shop.amounts`,
    { id: 20, what: "x", amount: 1_000 },
    /foreign key/,
  ],
] as const)(
  "a %s violation holds its own partition; the others of its group are published",
  async (_what, ddl, record, message) => {
    partitions = { seed: good(5) }
    const grouped = orders({ source: together() })
    await bed.run(grouped)
    await bed.rows(ddl)
    partitions = { ...partitions, b: good(3, 100), c: [...good(2, 200), record], d: good(3, 300) }
    const report = await bed.run(grouped)
    expect(report).toMatchObject({
      status: "partial",
      partitions: { published: 2, held: 1 },
      counts: { read: 6, inserted: 6 },
    })
    expect(report.held).toMatchObject([
      { partition: "c", code: "DB_CONSTRAINT", hint: expect.stringContaining("constraint") as string },
    ])
    expect(report.held[0]?.message).toMatch(message)
    expect(await bed.rows(`SELECT _source, count(*)::int FROM shop.orders GROUP BY 1 ORDER BY 1`)).toEqual([
      { _source: "b", count: 3 },
      { _source: "d", count: 3 },
      { _source: "seed", count: 5 },
    ])
    expect(
      await bed.rows(
        `SELECT relname FROM pg_class WHERE relnamespace = 'ops_staging'::regnamespace AND relname ~ '^run_'`,
      ),
    ).toEqual([])
    partitions = { ...partitions, c: good(2, 200) }
    expect(await bed.run(grouped)).toMatchObject({ status: "completed", counts: { read: 2, inserted: 2 } })
  },
)

test('under publish: "run" such a violation holds everything', async () => {
  partitions = { seed: good(5) }
  const whole = orders({ source: together(), publish: "run" })
  await bed.run(whole)
  await bed.rows(`ALTER TABLE shop.orders ADD UNIQUE (what)`)
  partitions = { ...partitions, b: good(3, 100), c: [{ id: 20, what: "w1", amount: 0 }] }
  expect(await bed.run(whole)).toMatchObject({ status: "partial", partitions: { published: 0, held: 2 } })
  expect(await count()).toBe(5)
})

const misfits: [string, string, RegExp[]][] = [
  [
    "a column less",
    `CREATE TABLE shop.orders (id bigint PRIMARY KEY, what text, ${lineage})`,
    [/ALTER TABLE "shop"\."orders" ADD COLUMN "amount" bigint;/],
  ],
  [
    "no lineage",
    `CREATE TABLE shop.orders (id bigint PRIMARY KEY, what text, amount bigint)`,
    [
      /ADD COLUMN "_source" text;/,
      /ADD COLUMN "_position" bigint;/,
      /ADD COLUMN "_seq" bigint;/,
      /ADD COLUMN "_run_id" text;/,
    ],
  ],
  [
    "no key",
    `CREATE TABLE shop.orders (id bigint, what text, amount bigint, ${lineage})`,
    [/CREATE UNIQUE INDEX ON "shop"\."orders" \("id"\);/],
  ],
  [
    "a column that nobody fills",
    `CREATE TABLE shop.orders (id bigint PRIMARY KEY, what text, amount bigint, shop text NOT NULL, ${lineage})`,
    [/ALTER COLUMN "shop" DROP NOT NULL;/],
  ],
]

test.each(misfits)(
  "a table with %s is refused with the statements that mend it, and they do",
  async (_what, ddl, statements) => {
    partitions = { a: good(3) }
    await bed.rows(`CREATE SCHEMA shop`)
    await bed.rows(ddl)
    const report = await bed.run(orders())
    expect(report).toMatchObject({ status: "failed", error: { code: "SCHEMA_DRIFT" }, counts: { read: 0 } })
    expect(report.error?.message).toContain("shop.orders does not fit")
    for (const statement of statements) expect(report.error?.hint).toMatch(statement)
    expect(await count()).toBe(0)
    await bed.rows((report.error?.hint ?? "").split("\n").slice(1).join("\n"))
    expect(await bed.run(orders())).toMatchObject({ status: "completed", counts: { inserted: 3 } })
  },
)

test.each([
  ["a view", `CREATE VIEW shop.orders AS SELECT 1 AS id`],
  ["a materialized view", `CREATE MATERIALIZED VIEW shop.orders AS SELECT 1 AS id`],
  ["a sequence", `CREATE SEQUENCE shop.orders`],
])("%s in the place of the table is refused", async (_what, ddl) => {
  partitions = { a: good(3) }
  await bed.rows(`CREATE SCHEMA shop`)
  await bed.rows(ddl)
  const report = await bed.run(orders())
  expect(report).toMatchObject({
    status: "failed",
    error: { code: "CONFIG", message: "shop.orders is not a table", hint: expect.any(String) as string },
  })
})

/** A user who may use `ops` but owns nothing. */
async function plainUser(): Promise<string> {
  const url = new URL(bed.url)
  const name = `plain_${url.pathname.slice(-8)}`
  const database = url.pathname.slice(1)
  await bed.rows(`CREATE ROLE ${name} LOGIN PASSWORD 'plain'`)
  await bed.rows(`GRANT USAGE, CREATE ON SCHEMA ops, ops_staging TO ${name}`)
  await bed.rows(`GRANT ALL ON ALL TABLES IN SCHEMA ops, ops_staging TO ${name}`)
  await bed.rows(`GRANT ALL ON ALL SEQUENCES IN SCHEMA ops TO ${name}`)
  await bed.rows(`REVOKE CREATE ON DATABASE ${database} FROM PUBLIC`)
  url.username = name
  url.password = "plain"
  return url.href
}

test("without the right to create the schema, or to write the table, the run ends with AUTH and nothing is written", async () => {
  partitions = { a: good(3) }
  const user = await plainUser()
  const first = await bed.run(orders(), { database: user })
  expect(first).toMatchObject({
    status: "failed",
    error: { code: "AUTH", hint: expect.stringContaining("rights") as string },
  })
  await bed.run(orders())
  const owner = await bed.run(orders(), { full: true })
  expect(owner).toMatchObject({ status: "completed", counts: { unchanged: 3 } })
  partitions = { ...partitions, b: good(3, 100) }
  const second = await bed.run(orders(), { database: user })
  expect(second).toMatchObject({ status: "failed", error: { code: "AUTH" } })
  expect(await count()).toBe(3)
  await bed.rows(
    `GRANT ALL ON SCHEMA shop TO ${new URL(user).username}; GRANT ALL ON shop.orders TO ${new URL(user).username}`,
  )
  expect(await bed.run(orders(), { database: user })).toMatchObject({
    status: "completed",
    runId: second.runId,
    counts: { inserted: 3 },
  })
})

test("in a schema that is there, a user who may create no schemas can have the table made", async () => {
  partitions = { a: good(3) }
  const user = await plainUser()
  await bed.rows(`CREATE SCHEMA shop`)
  await bed.rows(`GRANT ALL ON SCHEMA shop TO ${new URL(user).username}`)
  expect(await bed.run(orders(), { database: user })).toMatchObject({ status: "completed", counts: { inserted: 3 } })
})
