import { randomBytes } from "node:crypto"
import { mkdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { afterEach, beforeEach, expect, test } from "vitest"
import { z } from "zod"
import { csv, files, pipeline, table, type ErrorCode, type PipelineOptions } from "../../src/index.ts"
import { nodeFiles, systemPorts, type Files, type Ports } from "../../src/testing/index.ts"
import { testBed, unbalanced, type Bed } from "../engine/bed.ts"

let bed: Bed
beforeEach(async () => {
  bed = await testBed()
})
afterEach(() => bed.end())

const orders = (extra: Partial<PipelineOptions> = {}) =>
  pipeline({
    name: "orders",
    source: files(["*.csv", "*.csv.gz"], { format: csv() }),
    schema: z.object({ id: z.int(), what: z.string(), amount: z.int() }),
    sink: table("shop.orders", { mode: "append" }),
    ...extra,
  })

const good = "id,what,amount\n1,one,10\n2,two,20\n"
const rowsOf = (source: string): Promise<number> =>
  bed.value<number>(`SELECT count(*)::int FROM shop.orders WHERE _source = $1`, [source])

/** Incompressible, so that half of the file is half of the lines. */
const long = `id,what,amount\n${Array.from({ length: 20_000 }, (_, i) => `${i},${randomBytes(12).toString("hex")},${i}\n`).join("")}`
const packed = gzipSync(long)
const flipped = Buffer.from(packed)
flipped[flipped.length - 8] = (flipped[flipped.length - 8] ?? 0) ^ 0xff

const held: {
  what: string
  name?: string
  content: string | Uint8Array
  code: ErrorCode
  message: RegExp
  hint: RegExp
}[] = [
  {
    what: "a truncated gzip",
    name: "bad.csv.gz",
    content: packed.subarray(0, packed.length / 2),
    code: "DECODE",
    message: /gzip|compress|trunc|ends/i,
    hint: /\w/,
  },
  {
    what: "a gzip with a wrong checksum",
    name: "bad.csv.gz",
    content: flipped,
    code: "DECODE",
    message: /\w/,
    hint: /\w/,
  },
  {
    what: "a gzip that is none",
    name: "bad.csv.gz",
    content: "id,what,amount\n1,one,1\n",
    code: "DECODE",
    message: /\w/,
    hint: /\w/,
  },
  {
    what: "a header that names a column twice",
    content: "id,what,id\n1,one,1\n",
    code: "DECODE",
    message: /names "id" twice: columns 1 and 3/,
    hint: /its own name/,
  },
  {
    what: "a header with a nameless column",
    content: "id,,amount\n1,one,1\n",
    code: "DECODE",
    message: /column 2 of 3 .* has no name/,
    hint: /name/,
  },
  {
    what: "an unknown column",
    content: "id,what,amount,colour\n1,one,1,red\n",
    code: "SCHEMA_DRIFT",
    message: /bad\.csv has a column .*"colour"/,
    hint: /onNewColumn.*"ignore".*"deadLetter"/,
  },
  {
    what: "a missing column",
    content: "id,amount\n1,1\n",
    code: "SCHEMA_DRIFT",
    message: /bad\.csv lacks the column "what"/,
    hint: /it has "id", "amount"/,
  },
  {
    what: "another delimiter",
    content: "id;what;amount\n1;one;1\n",
    code: "SCHEMA_DRIFT",
    message: /lacks the columns "id", "what", "amount"/,
    hint: /csv\(\{ delimiter \}\)/,
  },
  {
    what: "UTF-16",
    content: Buffer.from("\ufeffid,what,amount\n1,one,1\n", "utf16le"),
    code: "DECODE",
    message: /UTF-16/,
    hint: /UTF-8/,
  },
]

test.each(held)(
  "$what holds its file alone, until it is mended",
  async ({ name = "bad.csv", content, code, message, hint }) => {
    await bed.write(name, content)
    await bed.write("good.csv", good)
    const report = await bed.run(orders())
    expect(report).toMatchObject({
      status: "partial",
      partitions: { published: 1, held: 1 },
      counts: { read: 2, inserted: 2 },
    })
    expect(report.held).toMatchObject([{ partition: name, code }])
    expect(report.held[0]?.message).toMatch(message)
    expect(report.held[0]?.hint).toMatch(hint)
    expect([await rowsOf(name), await rowsOf("good.csv")]).toEqual([0, 2])
    expect(
      await bed.rows(
        `SELECT partition_key, error_code, error_hint IS NOT NULL AS hint FROM ops.processed_partitions WHERE status = 'held'`,
      ),
    ).toEqual([{ partition_key: name, error_code: code, hint: true }])

    await bed.write(name, name.endsWith(".gz") ? gzipSync(good) : good)
    expect(await bed.run(orders())).toMatchObject({ status: "completed", counts: { read: 2, inserted: 2 } })
    expect(await rowsOf(name)).toBe(2)
  },
)

test("a folder where a file should be holds itself alone", async () => {
  await mkdir(join(bed.directory, "bad.csv"))
  await bed.write("good.csv", good)
  const report = await bed.run(orders())
  expect(report).toMatchObject({ status: "partial", counts: { inserted: 2 } })
  expect(report.held).toMatchObject([
    { partition: "bad.csv", code: "RESOURCE", hint: expect.stringContaining("a folder stands") as string },
  ])
  await rm(join(bed.directory, "bad.csv"), { recursive: true })
  await bed.write("bad.csv", good)
  expect(await bed.run(orders())).toMatchObject({ status: "completed", counts: { inserted: 2 } })
})

/** As the file system answers an ordinary user; whoever runs the tests as root may read everything. */
function denying(denied: string, calls: readonly ("stat" | "read")[]): Ports {
  const refuse = (path: string): void => {
    if (path.endsWith(denied))
      throw Object.assign(new Error(`EACCES: permission denied, open '${path}'`), { code: "EACCES" })
  }
  const denyingFiles: Files = {
    ...nodeFiles,
    stat: async (path) => {
      if (calls.includes("stat")) refuse(path)
      return nodeFiles.stat(path)
    },
    async *chunks(path, options) {
      if (calls.includes("read")) refuse(path)
      yield* nodeFiles.chunks(path, options)
    },
  }
  return { ...systemPorts, files: denyingFiles }
}

test.each([[["read"]], [["stat", "read"]]] as const)(
  "a file that may not be read (%s) holds itself alone",
  async (calls) => {
    await bed.write("bad.csv", good)
    await bed.write("good.csv", good)
    const report = await bed.run(orders(), { ports: denying("bad.csv", calls) })
    expect(report).toMatchObject({ status: "partial", counts: { inserted: 2 } })
    expect(report.held).toMatchObject([
      {
        partition: "bad.csv",
        code: "RESOURCE",
        message: "the file cannot be read (EACCES)",
        hint: expect.stringContaining("permission") as string,
      },
    ])
    expect(await bed.run(orders())).toMatchObject({ status: "completed", counts: { inserted: 2 } })
  },
)

test.each([
  ["an empty file", ""],
  ["a header alone", "id,what,amount\n"],
])("%s is published as empty, with a warning", async (_what, content) => {
  await bed.write("bad.csv", content)
  await bed.write("good.csv", good)
  const report = await bed.run(orders())
  expect(report).toMatchObject({ status: "completed", partitions: { published: 2 } })
  expect(report.warnings).toMatchObject([{ code: "DATA_LOSS", message: "bad.csv holds no records" }])
  expect(bed.eventsOf("warning")).toMatchObject([{ partition: "bad.csv", hint: expect.any(String) as string }])
})

test("a file that becomes empty loses its rows, and the run says so", async () => {
  await bed.write("bad.csv", good)
  await bed.run(orders())
  await bed.write("bad.csv", "id,what,amount\n")
  const report = await bed.run(orders())
  expect(report.counts).toMatchObject({ read: 0, deleted: 2 })
  expect(report.warnings).toMatchObject([{ code: "DATA_LOSS" }])
})

test("every broken line is one letter with its line and raw bytes; all the others are loaded", async () => {
  const lines: [string | Uint8Array, string?, string?][] = [
    ["1,one,10"],
    ["2,two", "DECODE", "column_count"],
    ["3,three,30,surplus", "DECODE", "column_count"],
    ["4,fo\0ur,40", "DECODE", "nul"],
    [Buffer.from([0x35, 0x2c, 0xc3, 0x28, 0x2c, 0x35]), "DECODE", "utf8"],
    ['6,"six,60', "DECODE", "unclosed_quote"],
    ['7,"se"ven,70', "DECODE", "text_after_quote"],
    ['8,"eight\nin two lines",80'],
    ["nine,nine,90", "VALIDATION"],
    ["10,ten,", "VALIDATION"],
    ["11,eleven,9007199254740993", "VALIDATION"],
    ["12,twelve,120"],
  ]
  const newline = Buffer.from("\n")
  await bed.write(
    "a.csv",
    Buffer.concat(["id,what,amount", ...lines.map(([line]) => line)].flatMap((line) => [Buffer.from(line), newline])),
  )
  const report = await bed.run(orders())
  expect(report).toMatchObject({ status: "completed", counts: { read: 12, inserted: 3, deadLettered: 9 } })
  expect(await bed.rows(`SELECT id::int, what, _position::int FROM shop.orders ORDER BY id`)).toEqual([
    { id: 1, what: "one", _position: 2 },
    { id: 8, what: "eight\nin two lines", _position: 9 },
    { id: 12, what: "twelve", _position: 14 },
  ])
  const letters = await bed.rows<{ line: number; error_code: string; rule: string; raw: Buffer }>(
    `SELECT (source->>'line')::int AS line, error_code, rule, raw FROM ops.dead_letters ORDER BY ordinal`,
  )
  const expected = lines
    .map(([raw, code, rule], i) => ({ line: i >= 8 ? i + 3 : i + 2, code, rule, raw: Buffer.from(raw) }))
    .filter((letter) => letter.code !== undefined)
  expect(letters.map((letter) => ({ line: letter.line, code: letter.error_code, raw: letter.raw }))).toEqual(
    expected.map(({ line, code, raw }) => ({ line, code, raw })),
  )
  for (const [i, { rule }] of expected.entries()) if (rule !== undefined) expect(letters[i]?.rule).toBe(rule)
  expect(await unbalanced(bed, "orders")).toEqual([])
})

test("an unknown column that is to be ignored is left out, and the run says so once", async () => {
  await bed.write("a.csv", "id,what,amount,colour\n1,one,10,red\n2,two,20,\n")
  const report = await bed.run(orders({ onNewColumn: "ignore" }))
  expect(report).toMatchObject({ status: "completed", counts: { read: 2, inserted: 2, deadLettered: 0 } })
  expect(report.warnings).toMatchObject([
    { code: "SCHEMA_DRIFT", message: expect.stringContaining('"colour"') as string },
  ])
})

test("an unknown column that is to be dead-lettered sets aside the records that have it", async () => {
  await bed.write("a.csv", "id,what,amount,colour\n1,one,10,red\n2,two,20,\n")
  const report = await bed.run(orders({ onNewColumn: "deadLetter" }))
  expect(report).toMatchObject({ status: "completed", counts: { read: 2, inserted: 1, deadLettered: 1 } })
  expect(await bed.rows(`SELECT error_code, rule, path, source->>'line' AS line FROM ops.dead_letters`)).toEqual([
    { error_code: "SCHEMA_DRIFT", rule: "unknown_column", path: "colour", line: "2" },
  ])
})

test.each(["fail", "ignore", "deadLetter"] as const)(
  "a key that only some JSON records have, under %s",
  async (onNewColumn) => {
    await bed.write(
      "a.jsonl",
      '{"id":1,"what":"one","amount":1}\n{"id":2,"what":"two","amount":2,"colour":"red"}\n{"id":3,"what":"x","amount":3}\n',
    )
    const report = await bed.run(orders({ source: files("*.jsonl"), onNewColumn }))
    const expected = {
      fail: { status: "partial", held: [{ code: "SCHEMA_DRIFT" }], counts: { inserted: 0 } },
      ignore: { status: "completed", warnings: [{ code: "SCHEMA_DRIFT" }], counts: { inserted: 3 } },
      deadLetter: { status: "completed", deadLetters: { SCHEMA_DRIFT: 1 }, counts: { inserted: 2, deadLettered: 1 } },
    }
    expect(report).toMatchObject(expected[onNewColumn])
  },
)
