import fc from "fast-check"
import pg from "pg"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { sqlTemplate, type SqlValues } from "../../src/models/template.ts"
import { freshDatabase, type FreshDatabase } from "../postgres/server.ts"

const read = (text: string) => sqlTemplate(text, "sales.sql")
const refused = (message: string | RegExp, where: string, hint: string | RegExp): Error =>
  expect.objectContaining({
    code: "CONFIG",
    message: expect.stringMatching(message) as string,
    where,
    hint: expect.stringMatching(hint) as string,
  }) as Error

describe("placeholders", () => {
  it("become parameters, and their values go beside the text", () => {
    const template = read(
      "SELECT ${partition.key} AS month_key, ${ params.grain }, ${partition.key}\nFROM t WHERE run = ${run.id}",
    )
    expect([...template.names()]).toEqual(["partition.key", "params.grain", "run.id"])
    expect(template.bind({ "partition.key": "2011-03'; DROP", "params.grain": "day", "run.id": "r1" })).toEqual({
      text: "SELECT $1 AS month_key, $2, $1\nFROM t WHERE run = $3",
      values: ["2011-03'; DROP", "day", "r1"],
    })
  })

  it("of start and end are parameters by place, years and months are integers", () => {
    const template = read(
      "SELECT ${partition.year}, ${partition.month} FROM t WHERE d >= ${partition.start} AND e >= ${partition.start} AND d < ${partition.end} AND y = ${partition.year}",
    )
    const values = { "partition.start": "a", "partition.end": "b", "partition.year": 2011, "partition.month": 3 }
    expect(template.bind(values)).toEqual({
      text: "SELECT ($1::integer), ($2::integer) FROM t WHERE d >= $3 AND e >= $4 AND d < $5 AND y = ($1::integer)",
      values: [2011, 3, "a", "a", "b"],
    })
  })

  it("in comments are none", () => {
    const template = read("SELECT 1 -- ${nonsense}\n, /* ${partition.key} /* ${x} */ ${y} */ 2")
    expect(template.names().size).toBe(0)
    expect(template.bind({}).values).toEqual([])
  })

  it("need a value, which may be null, false or empty", () => {
    const template = read("SELECT ${params.a}")
    for (const value of [null, false, "", 0]) expect(template.bind({ "params.a": value }).values).toEqual([value])
    expect(() => template.bind({})).toThrow(
      refused(/no value .*params\.a/, "sales.sql", /give a in the model's params/),
    )
    expect(() => template.bind({ "params.a": undefined })).toThrow(/no value/)
    expect(() => read("SELECT ${partition.start}").bind({ "partition.start": undefined })).toThrow(
      refused(/no value .*partition\.start/, "sales.sql", /partition\.key/),
    )
    expect(() =>
      read("SELECT ${params.toString}").bind(Object.create({ "params.toString": "x" }) as SqlValues),
    ).toThrow(/no value/)
  })
})

describe("the text", () => {
  it.each([
    ["SELECT 1;", "SELECT 1"],
    ["  -- head\nselect 1 ; ; -- the end", "  -- head\nselect 1"],
    ["SELECT 1 -- end", "SELECT 1"],
    ["((SELECT 1) UNION (SELECT 2));", "((SELECT 1) UNION (SELECT 2))"],
    ["With a as (select 1) select * from a", "With a as (select 1) select * from a"],
    ["VALUES (';')", "VALUES (';')"],
    ["TABLE t /* ; */", "TABLE t"],
    ["SELECT a$b$c FROM t", "SELECT a$b$c FROM t"],
    ["SELECT E'it\\'s;' ';'", "SELECT E'it\\'s;' ';'"],
    ["SELECT $a$ $b$ ; $ $a$", "SELECT $a$ $b$ ; $ $a$"],
    ["SELECT e'it\\'s;' ';'", "SELECT e'it\\'s;' ';'"],
    ["SELECT materialized, update FROM t", "SELECT materialized, update FROM t"],
    ["SELECT (update) AS delete FROM t", "SELECT (update) AS delete FROM t"],
    ["SELECT E'a' -- ${x}'\n'\\' ;'", "SELECT E'a' -- ${x}'\n'\\' ;'"],
  ])("%j is a query that ends with its last token", (text, ended) => {
    expect(read(text).bind({})).toEqual({ text: ended, values: [] })
  })

  it.each<[text: string, message: RegExp, line: string, hint: RegExp]>([
    ["SELECT\n1,\n${partition.strat}", /"\$\{partition\.strat\}" is not a placeholder/, ":3", /\$\{partition\.start\}/],
    ["SELECT ${params.}", /not a placeholder/, ":1", /\$\{params\.NAME\}/],
    ["SELECT ${}", /not a placeholder/, ":1", /\$\{run\.id\}/],
    ["SELECT\r\n'${partition.start}'", /\$\{partition\.start\} is inside a string/, ":2", /without quotes/],
    ["SELECT E'\\'\n${partition.start}'", /inside a string/, ":2", /without quotes/],
    ['SELECT 1 AS\n"x${partition.key}"', /inside a quoted identifier/, ":2", /without quotes/],
    ["SELECT $q$\n\n${partition.key}$q$", /inside a dollar quote/, ":3", /without quotes/],
    ["SELECT * FROM sales_${partition.year}", /glued to a name/, ":1", /part of a name/],
    ["SELECT ${partition.year}_x", /glued/, ":1", /space/],
    ["SELECT${partition.year}", /glued/, ":1", /space/],
    ["SELECT 1,\n$2", /parameter \$2/, ":2", /\$\{params\.NAME\}/],
    ["SELECT 1;\n\nSELECT 2", /more than one statement/, ":3", /WITH/],
    [";SELECT 1", /more than one statement/, ":1", /WITH/],
    ["", /empty/, "", /SELECT/],
    [" -- nothing\n;", /empty/, "", /SELECT/],
    ["\nDELETE FROM t", /begins with DELETE/, ":2", /SELECT, WITH, VALUES or TABLE/],
    ["EXPLAIN SELECT 1", /begins with EXPLAIN/, ":1", /SELECT/],
    ["'select'", /begins with 'select'/, ":1", /SELECT/],
    ['"select" 1', /begins with "select"/, ":1", /SELECT/],
    ["(\n(DROP TABLE t))", /begins with DROP/, ":2", /SELECT/],
    ["((", /begins with \(/, ":1", /SELECT/],
    ["SELECT (1", /parenthesis that is not closed/, ":1", /close/],
    ["SELECT 1)\n) UNION (SELECT (2", /did not open/, ":1", /remove/],
    ["SELECT\n'abc''", /string that is not closed/, ":2", /close/],
    ["SELECT E'\\'", /string that is not closed/, ":1", /close/],
    ['SELECT\n\n"a""', /quoted identifier that is not closed/, ":3", /close/],
    ["SELECT 1 /* /* */", /comment that is not closed/, ":1", /close/],
    ["SELECT $a$ $A$", /dollar quote that is not closed/, ":1", /close/],
    ["SELECT ${partition.key", /placeholder that is not closed/, ":1", /close/],
    ["SELECT 1\n\0", /NUL/, ":2", /remove/],
    ["WITH a AS (\nDELETE FROM t RETURNING *) SELECT * FROM a", /writes: DELETE/, ":2", /only reads/],
    ["WITH a AS MATERIALIZED (insert into t select 1) SELECT 1", /writes: INSERT/, ":1", /only reads/],
  ])("%j is refused", (text, message, line, hint) => {
    expect(() => read(text)).toThrow(refused(message, `sales.sql${line}`, hint))
  })
})

describe("against PostgreSQL", () => {
  let database: FreshDatabase
  let client: pg.Client

  beforeAll(async () => {
    database = await freshDatabase()
    client = new pg.Client({ connectionString: database.url })
    await client.connect()
    await client.query("SET timezone = 'Asia/Tokyo'")
  })

  afterAll(async () => {
    await client.end()
    await database.drop()
  })

  it("a start is right in every place, whatever the session's zone", async () => {
    const { text, values } = read(
      "SELECT ${partition.start}::date::text AS d, (${partition.start}::timestamptz AT TIME ZONE 'UTC')::text AS z, pg_typeof(${partition.year})::text AS y",
    ).bind({ "partition.start": "2011-07-01 00:00:00 Europe/London", "partition.year": 2011 })
    const { rows } = await client.query(text, [...values])
    expect(rows).toEqual([{ d: "2011-07-01", z: "2011-06-30 23:00:00", y: "integer" }])
  })

  it("a list is an array", async () => {
    const { text, values } = read(
      "SELECT c FROM (VALUES ('GB'), ('FR'), ('D,E')) t(c) WHERE c = ANY(${params.countries}) ORDER BY 1",
    ).bind({ "params.countries": ["GB", "D,E"] })
    expect((await client.query(text, [...values])).rows).toEqual([{ c: "D,E" }, { c: "GB" }])
  })

  /** A text of pieces that begin, end and fake quotes and comments. `@` stands for a placeholder. */
  const pieces = [
    ..."'\"\\;@@@eE",
    ..."aN0,-/*",
    ..." \n",
    ...[
      "''",
      "\\'",
      "--",
      "/*",
      "*/",
      "$$",
      "$a$",
      "$b$",
      "E'",
      "e'",
      "'\n'",
      "'--x\n'",
      "U&'",
      "\r",
      "' ",
      ",'",
      ", @",
    ],
  ]
  const soup = fc.array(fc.constantFrom(...pieces), { maxLength: 9 }).map((chosen) => chosen.join(""))
  const frames: [open: string, close: string][] = [
    ["", ""],
    ["'", "'"],
    ["E'", "'"],
    ["e'", "'"],
    ["xe'", "'"],
    ["'\n'", "'"],
    ["E'a'\n'", "'"],
    ["E'a' --'\n  '", "'"],
    ["$$", "$$"],
    ["$a$", "$a$"],
    ['1 AS "', '"'],
    ["1 /*", "*/"],
    ["1 --", "\n"],
    ["B'", "'"],
  ]
  const item = fc.tuple(fc.constantFrom(...frames), soup).map(([[open, close], inside]) => open + inside + close)
  const query = fc
    .array(fc.oneof({ arbitrary: item, weight: 4 }, { arbitrary: fc.constant("@"), weight: 1 }), {
      minLength: 1,
      maxLength: 4,
    })
    .map((items) => `SELECT ${items.join(", ")}`)

  const numbered = (text: string, write: (i: number) => string): string => {
    let i = 0
    return text.replaceAll("@", () => write(++i))
  }
  const valueOf = (i: number): string => `<${i}>`

  /** What PostgreSQL makes of the text with `$1`, `$2` … pasted for the placeholders: its row, or its refusal. */
  async function judge(text: string, count: number): Promise<{ row: unknown[] } | { refusal: string }> {
    const types = count === 0 ? "" : `(${Array<string>(count).fill("text").join()})`
    const values = count === 0 ? "" : `(${Array.from({ length: count }, (_, i) => `'${valueOf(i + 1)}'`).join()})`
    try {
      // The extended protocol takes one statement only.
      const prepare = { text: `PREPARE soup${types} AS ${numbered(text, (i) => `$${i}`)}\n`, queryMode: "extended" }
      await client.query(prepare)
      const { rows, fields } = await client.query({ text: `EXECUTE soup${values}`, rowMode: "array" })
      return { row: [...(rows[0] as unknown[]), ...fields.map((field) => field.name)] }
    } catch (error) {
      return { refusal: (error as Error).message }
    } finally {
      await client.query("DEALLOCATE ALL")
    }
  }

  it("quotes, comments and placeholders end where PostgreSQL ends them", async () => {
    const seen = { same: 0, quoted: 0, unterminated: 0 }
    await fc.assert(
      fc.asyncProperty(query, async (text) => {
        const count = text.split("@").length - 1
        const judged = await judge(text, count)
        const template = attempt(numbered(text, (i) => `\${params.p${i}}`))
        if ("refusal" in judged) {
          if (!/unterminated/.test(judged.refusal)) return
          seen.unterminated += 1
          expect(template.refusal).toMatch(/not closed|inside a|glued/)
          return
        }
        const live = Array.from({ length: count }, (_, i) => i + 1).filter((i) => judged.row.includes(valueOf(i)))
        const inQuotes = judged.row.some((cell) => typeof cell === "string" && /\$[1-9]/.test(cell))
        if (template.refusal !== undefined) {
          if (/inside a/.test(template.refusal)) {
            seen.quoted += 1
            expect(inQuotes).toBe(true)
          } else expect(template.refusal).toMatch(/glued/)
          return
        }
        seen.same += 1
        expect(inQuotes).toBe(false)
        expect([...(template.read?.names() ?? [])]).toEqual(live.map((i) => `params.p${i}`))
        const bound = template.read?.bind(Object.fromEntries(live.map((i) => [`params.p${i}`, valueOf(i)])))
        const { rows, fields } = await client.query({
          text: bound?.text ?? "",
          values: [...(bound?.values ?? [])],
          rowMode: "array",
        })
        expect([...(rows[0] as unknown[]), ...fields.map((field) => field.name)]).toEqual(judged.row)
      }),
      { numRuns: 3_000 },
    )
    // The property says something only when PostgreSQL took many of the texts.
    expect(Math.min(seen.same, seen.quoted, seen.unterminated), JSON.stringify(seen)).toBeGreaterThan(100)
  })

  function attempt(text: string): { read?: ReturnType<typeof read>; refusal?: string } {
    try {
      return { read: read(text) }
    } catch (error) {
      return { refusal: (error as Error).message }
    }
  }
})
