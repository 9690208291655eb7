import { afterEach, beforeEach, describe, expect, it } from "vitest"
import type { KnownPartition, Source, SourceContext, SourcePartition } from "../../src/core/contracts.ts"
import { env } from "../../src/core/environment.ts"
import { systemPorts } from "../../src/core/ports.ts"
import { redact } from "../../src/core/secrets.ts"
import { database, type Database } from "../../src/postgres/session.ts"
import { postgres } from "../../src/sources/sql/sql.ts"
import { testBed, type Bed } from "../engine/bed.ts"
import { sourceContract } from "./contract.ts"

let bed: Bed
beforeEach(async () => {
  bed = await testBed()
  await bed.rows("CREATE TABLE orders (id bigint, changed timestamptz, amount numeric)")
})
afterEach(() => bed.end())

const contextOf = (changes: Partial<SourceContext> = {}): SourceContext => ({
  ports: systemPorts,
  directory: bed.directory,
  signal: new AbortController().signal,
  exact: new Set(),
  maxRecordBytes: 1 << 20,
  ...changes,
})

const known = (partitions: readonly SourcePartition[]): Map<string, KnownPartition> =>
  new Map(partitions.map((partition) => [partition.key, partition]))

async function records(source: Source, partition: SourcePartition, context = contextOf()): Promise<unknown[]> {
  const found: unknown[] = []
  for await (const batch of source.read(partition, undefined, context))
    for (let i = 0; i < batch.length; i++) found.push(batch.record(i))
  return found
}

async function all(source: Source, context = contextOf()): Promise<unknown[]> {
  const found = []
  for (const partition of await source.list(context, new Map()))
    found.push(...(await records(source, partition, context)))
  return found
}

const insert = (values: string): Promise<unknown> => bed.rows(`INSERT INTO orders VALUES ${values}`)
const orders = (options: Partial<Parameters<typeof postgres>[0]> = {}): Source =>
  postgres({ connection: bed.url, query: "SELECT * FROM orders", ...options })

/** A database that counts the connections it has given out and not yet seen closed. */
function counted(url: string): Database & { readonly open: () => number } {
  const plain = database(url)
  let open = 0
  return {
    url,
    open: () => open,
    async connect(options) {
      const session = await plain.connect(options)
      open++
      const { end } = session
      return Object.assign(session, {
        end: async () => {
          open--
          await end.call(session)
        },
      })
    },
  }
}

sourceContract("postgres with a cursor", async () => {
  await insert("(1, '2024-01-01', 1), (2, '2024-01-01', 2)")
  const connection = counted(bed.url)
  const source = orders({ connection, cursor: "changed", key: "id" })
  const first = await source.list(contextOf(), new Map())
  await bed.rows(
    "INSERT INTO orders SELECT n, timestamptz '2024-01-02' + n / 7 * interval '1 s', n FROM generate_series(10, 1500) n",
  )
  const listed = known(first)
  return {
    source: { ...source, list: (context, before) => source.list(context, new Map([...listed, ...before])) },
    context: (signal) => contextOf({ signal }),
    open: connection.open,
  }
})

describe("values", () => {
  it("come as what they are, and no number loses a digit", async () => {
    const query = `SELECT 9007199254740993::bigint AS big, 42::bigint AS small, 123456789012345678901234.5678901::numeric AS long,
      1.10::numeric(5,2) AS price, 0.1::real AS single, 1e300::float8 AS huge, 'NaN'::float8 AS nan, true AS yes, null::int AS none,
      '2024-02-29 12:34:56.123456+02'::timestamptz AS at, '2024-02-29 12:34:56'::timestamp AS local, '2024-02-29'::date AS day,
      '{"a":[1,12345678901234567890]}'::jsonb AS doc, ARRAY[1.5, 2]::numeric[] AS list, ROW(1, 'x') AS "row", '\\x00ff'::bytea AS bytes,
      'P1DT2H'::interval AS "span", 'x "y"' AS "say ""hi"""`
    const [record] = await all(postgres({ connection: bed.url, query }))
    expect(record).toEqual({
      big: "9007199254740993",
      small: 42,
      long: "123456789012345678901234.5678901",
      price: 1.1,
      single: 0.1,
      huge: 1e300,
      nan: "NaN",
      yes: true,
      none: null,
      at: "2024-02-29T10:34:56.123456Z",
      local: "2024-02-29T12:34:56",
      day: "2024-02-29",
      doc: { a: [1, "12345678901234567890"] },
      list: [1.5, 2],
      row: { f1: 1, f2: "x" },
      bytes: "\\x00ff",
      span: "P1DT2H",
      'say "hi"': 'x "y"',
    })
  })

  it("are text where the schema wants every digit", async () => {
    const source = postgres({ connection: bed.url, query: "SELECT 1.10::numeric(5,2) AS price, 2 AS n" })
    expect(await all(source, contextOf({ exact: new Set(["price"]) }))).toEqual([{ price: "1.10", n: 2 }])
  })

  it("do not depend on the settings of the database", async () => {
    await bed.rows(`ALTER DATABASE ${new URL(bed.url).pathname.slice(1)} SET TimeZone = 'Asia/Tokyo'`)
    await bed.rows(`ALTER DATABASE ${new URL(bed.url).pathname.slice(1)} SET DateStyle = 'German'`)
    const query = "SELECT '2024-03-04 05:06:07+00'::timestamptz AS at, '2024-03-04'::date AS day"
    expect(await all(postgres({ connection: bed.url, query }))).toEqual([
      { at: "2024-03-04T05:06:07Z", day: "2024-03-04" },
    ])
  })

  it("that are too long for a record keep head, size and hash", async () => {
    const source = postgres({ connection: bed.url, query: "SELECT repeat('x', 5000) AS long" })
    const context = contextOf({ maxRecordBytes: 1000 })
    const [record] = await all(source, context)
    expect(record).toMatchObject({ fault: { rule: "too_long" }, oversize: { bytes: 5000 + '{"long":""}'.length } })
  })
})

describe("a cursor", () => {
  it("reads in each slice what came after the one before", async () => {
    await insert("(1, '2024-01-01', 1), (2, '2024-01-02', 2)")
    const source = orders({ cursor: "id" })
    const first = await source.list(contextOf(), new Map())
    expect(first.map((partition) => partition.key)).toEqual(['id to "2"'])
    await insert("(3, '2024-01-03', 3)")
    const second = await source.list(contextOf(), known(first))
    expect(second.map((partition) => partition.key)).toEqual(['id to "2"', 'id after "2" to "3"'])
    expect(second[0]?.version).toBe(first[0]?.version)
    expect(await records(source, second[1] as SourcePartition)).toMatchObject([{ id: 3 }])
    expect(await source.list(contextOf(), known(second))).toEqual(second)
  })

  it("compares its values by their type, not as text", async () => {
    await insert("(9, null, 1)")
    const source = orders({ cursor: "id" })
    const first = await source.list(contextOf(), new Map())
    await insert("(10, null, 1)")
    const second = await source.list(contextOf(), known(first))
    await insert("(100, null, 1)")
    const third = await source.list(contextOf(), known(second))
    expect(third.map((partition) => partition.key)).toEqual([
      'id to "9"',
      'id after "9" to "10"',
      'id after "10" to "100"',
    ])
  })

  it("leaves out what is not above the start", async () => {
    await insert("(1, null, 1), (2, null, 1), (3, null, 1)")
    expect(await all(orders({ cursor: "id", start: 2 }))).toMatchObject([{ id: 3 }])
    expect(await orders({ cursor: "id", start: 3 }).list(contextOf(), new Map())).toEqual([])
  })

  it("sees a row that came later with the value a slice ended with", async () => {
    await insert("(1, '2024-01-01', 1), (5, '2024-01-02', 2)")
    const source = orders({ cursor: "changed", key: "id" })
    const first = await source.list(contextOf(), new Map())
    await insert("(4, '2024-01-02', 3)")
    const second = await source.list(contextOf(), known(first))
    expect(second.map((partition) => partition.key)).toEqual(first.map((partition) => partition.key))
    expect(second[0]?.version).not.toBe(first[0]?.version)
    expect(await records(source, second[0] as SourcePartition)).toMatchObject([{ id: 1 }, { id: 4 }, { id: 5 }])
  })

  it("sees rows that came late, within the lag, in whichever slice they lie", async () => {
    const source = orders({ cursor: "changed", key: "id", lag: "1 hour" })
    let listed: readonly SourcePartition[] = []
    for (const [id, time] of [
      [1, "10:00"],
      [2, "11:30"],
      [3, "12:00"],
    ] as const) {
      await insert(`(${id}, '2024-01-01 ${time}Z', 1)`)
      listed = await source.list(contextOf(), known(listed))
    }
    await insert("(4, '2024-01-01 11:15Z', 1), (5, '2024-01-01 09:00Z', 1)")
    const after = await source.list(contextOf(), known(listed))
    const changed = after.filter(({ version }, i) => version !== listed[i]?.version).map(({ key }) => key)
    expect(changed).toEqual(['changed after "2024-01-01 10:00:00+00" to "2024-01-01 11:30:00+00"'])
  })

  it("refuses rows that it would never read, or could not tell apart", async () => {
    await insert("(1, null, 1)")
    await expect(orders({ cursor: "changed" }).list(contextOf(), new Map())).rejects.toMatchObject({
      code: "CONFIG",
      where: "cursor",
    })
    await bed.rows("UPDATE orders SET changed = 'infinity'")
    await expect(orders({ cursor: "changed" }).list(contextOf(), new Map())).rejects.toThrow("nothing could come after")
    await bed.rows("UPDATE orders SET changed = '2024-01-01'")
    await insert("(2, '2024-01-01', 1)")
    await expect(all(orders({ cursor: "changed" }))).rejects.toThrow('two rows have the same "changed"')
    await insert("(null, '2024-01-01', 1)")
    await expect(all(orders({ cursor: "changed", key: "id" }))).rejects.toThrow('"id", which orders them, is null')
  })

  it("goes on behind the last row when the connection is cut", async () => {
    await bed.rows("INSERT INTO orders SELECT n, now(), n FROM generate_series(1, 5000) n")
    const source = orders({ cursor: "id" })
    const [partition] = await source.list(contextOf(), new Map())
    const ids: unknown[] = []
    let cuts = 0
    for await (const batch of source.read(partition as SourcePartition, undefined, contextOf())) {
      for (let i = 0; i < batch.length; i++) ids.push((batch.record(i) as { id: number }).id)
      const cut = await bed.rows(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'spillway source' AND datname = current_database()",
      )
      if (ids.length < 3000) cuts += cut.length
    }
    expect(cuts).toBeGreaterThan(0)
    expect(ids).toEqual(Array.from({ length: 5000 }, (_, i) => i + 1))
  })

  it("refuses a lag that does not fit, and a position of something else", async () => {
    await insert("(1, '2024-01-01', 1)")
    await expect(orders({ cursor: "id", lag: "1 hour" }).list(contextOf(), new Map())).rejects.toMatchObject({
      code: "CONFIG",
      where: "lag",
    })
    const source = orders({ cursor: "id" })
    const [partition] = await source.list(contextOf(), new Map())
    expect(() => source.read(partition as SourcePartition, { offset: 3 }, contextOf())).toThrow(
      expect.objectContaining({ code: "CHECKPOINT" }),
    )
  })
})

describe("a whole query", () => {
  it("is one partition, read in one snapshot, and counts as changed each time", async () => {
    await bed.rows("INSERT INTO orders SELECT n, now(), n FROM generate_series(1, 1000) n")
    const source = orders()
    const [first] = await source.list(contextOf(), new Map())
    const [second] = await source.list(contextOf(), new Map())
    expect(second?.key).toBe(first?.key)
    expect(second?.version).not.toBe(first?.version)
    let seen = 0
    for await (const batch of source.read(first as SourcePartition, undefined, contextOf())) {
      seen += batch.length
      await bed.rows("DELETE FROM orders")
    }
    expect(seen).toBe(1000)
  })

  it("takes bounded memory from the server at once", async () => {
    const source = postgres({
      connection: bed.url,
      query: "SELECT n, repeat('x', 100000) AS long FROM generate_series(1, 400) n",
    })
    const [partition] = await source.list(contextOf(), new Map())
    const sizes: number[] = []
    for await (const batch of source.read(partition as SourcePartition, undefined, contextOf()))
      sizes.push(batch.length)
    expect(sizes.reduce((sum, n) => sum + n, 0)).toBe(400)
    expect(Math.max(...sizes.slice(1))).toBeLessThanOrEqual(11)
  })
})

describe("faults", () => {
  const listing = (options: Partial<Parameters<typeof postgres>[0]>): Promise<unknown> =>
    orders(options).list(contextOf(), new Map())

  it("of the declaration are told all at once", () => {
    expect(() => postgres({ connection: env("X"), query: "DELETE FROM orders", key: "id", lag: 5 })).toThrow(
      /not one SELECT[^]*key: it needs a cursor[^]*lag: it needs a cursor/,
    )
  })

  it("of the query are CONFIG, with the server's words", async () => {
    await expect(listing({ query: "SELECT nothing FROM orders" })).rejects.toMatchObject({
      code: "CONFIG",
      message: 'the source database: column "nothing" does not exist',
    })
    await expect(listing({ query: "SELECT 1 AS a, 2 AS a" })).rejects.toMatchObject({ code: "CONFIG" })
    await expect(listing({ cursor: "nothing" })).rejects.toMatchObject({
      code: "CONFIG",
      hint: "it gives id, changed, amount",
    })
  })

  it("cannot write, whatever the query calls", async () => {
    await bed.rows(
      "CREATE FUNCTION harm() RETURNS int LANGUAGE sql AS 'INSERT INTO orders VALUES (1, now(), 1) RETURNING 1'",
    )
    await expect(all(postgres({ connection: bed.url, query: "SELECT harm()" }))).rejects.toThrow(
      "read-only transaction",
    )
    expect(await bed.value("SELECT count(*) FROM orders")).toBe("0")
  })

  it("of the address never show a password", async () => {
    const url = new URL(bed.url)
    url.username = "nobody"
    url.password = "s3cret-word"
    url.port = "1"
    process.env["TEST_SHOP_URL"] = url.href
    const failure = await listing({ connection: env("TEST_SHOP_URL") }).catch((error: unknown) => error)
    delete process.env["TEST_SHOP_URL"]
    expect(failure).toMatchObject({ code: "DB_UNAVAILABLE", where: `${url.host}${url.pathname}` })
    expect(JSON.stringify(failure, Object.getOwnPropertyNames(failure))).not.toContain("s3cret-word")
    expect(redact("it was s3cret-word")).toBe("it was ***")
    const malformed = await listing({ connection: "postgresql:/me:s3cret-word@host/db" }).catch(
      (error: unknown) => error,
    )
    expect(malformed).toMatchObject({ code: "CONFIG" })
    expect(String(malformed)).not.toContain("s3cret-word")
  })

  it("name the variable that is missing", async () => {
    await expect(listing({ connection: env("TEST_NO_SUCH_URL") })).rejects.toMatchObject({
      code: "CONFIG",
      where: "TEST_NO_SUCH_URL",
    })
  })

  it("keep the address out of what a pipeline is known by", () => {
    expect(JSON.stringify(orders({ connection: "postgres://me:word@host/db", cursor: "id" }).description)).not.toMatch(
      /word|host/,
    )
  })
})
