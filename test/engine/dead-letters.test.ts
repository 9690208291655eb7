import { afterAll, beforeAll, expect, test } from "vitest"
import { z } from "zod"
import { exportDeadLetters } from "../../src/dead-letters/export.ts"
import { masking } from "../../src/dead-letters/masking.ts"
import { csv, database, files, pipeline, table } from "../../src/index.ts"
import { decimal } from "../../src/schema/index.ts"
import { testBed, type Bed } from "./bed.ts"

let bed: Bed
let other: Bed
beforeAll(async () => {
  ;[bed, other] = await Promise.all([testBed(), testBed()])
})
afterAll(() => Promise.all([bed.end(), other.end()]))

const items = (name: string) =>
  pipeline({
    name,
    source: files(`${name}/*.csv`, { format: csv() }),
    schema: z.object({ id: z.int(), name: z.string().max(5), price: decimal({ min: 0 }) }),
    sink: table(`shop.${name}`, { mode: "append" }),
  })

type Envelope = Record<string, unknown>

async function exported(from: Bed, name: string): Promise<Envelope[]> {
  const session = await database(from.url).connect()
  try {
    const letters: Envelope[] = []
    for await (const { line } of exportDeadLetters(session, { pipeline: name }, masking())) {
      expect(line).not.toContain("\n")
      letters.push(JSON.parse(line) as Envelope)
    }
    return letters.sort((a, b) => lineOf(a) - lineOf(b))
  } finally {
    await session.end()
  }
}

const lineOf = (letter: Envelope): number => (letter["source"] as { line: number }).line

/** Lines 2 to 9; only the first is good. */
const bad = Buffer.concat([
  Buffer.from("id,name,price\n1,good,1.50\n2,toolong,-3\n3,x\n4,"),
  Buffer.from([0xff, 0xfe, 0x41]),
  Buffer.from(",1\n5,a\0b,1\n"),
  Buffer.from('6,"a\0b",1\n7,"",abc\0\n8,café naïve,2\r\nx,"quo""ted, long",-1\n'),
])

const KEYS = [
  "ts",
  "error_code",
  "error_msg",
  "record",
  "id",
  "fingerprint",
  "pipeline_name",
  "run_id",
  "correlation_id",
  "step",
  "rule",
  "path",
  "source",
  "raw",
  "attempts",
  "first_seen",
  "last_seen",
  "status",
  "replay_of",
  "schema_version",
]

/** What a letter has where it is needed: several faults, what the only one expected, bytes that are no text. */
const OPTIONAL_KEYS = new Set(["faults", "expected", "actual_type", "raw_encoding"])

test("the envelope has its keys in order, and the raw bytes as they were", async () => {
  await bed.write("raw/a.csv", bad)
  const report = await bed.run(items("raw"), { correlationId: "night" })
  expect(report).toMatchObject({ status: "completed", counts: { read: 9, inserted: 1, deadLettered: 8 } })
  const letters = await exported(bed, "raw")
  for (const letter of letters) expect(Object.keys(letter).filter((key) => !OPTIONAL_KEYS.has(key))).toEqual(KEYS)
  expect(letters.map((letter) => "faults" in letter)).toEqual([true, ...Array<boolean>(6).fill(false), true])
  expect(letters.map((letter) => [lineOf(letter), letter["error_code"], letter["rule"]])).toEqual(
    [
      [3, "VALIDATION", "max_length"],
      [4, "DECODE", "column_count"],
      [5, "DECODE", "utf8"],
      [6, "DECODE", "nul"],
      [7, "DECODE", "nul"],
      [8, "DECODE", "nul"],
      [9, "VALIDATION", "max_length"],
      [10, "VALIDATION", "type"],
    ].map((row, i) => [row[0], row[1], letters[i]?.["rule"]]),
  )
  expect(letters.map((letter) => [letter["raw"], letter["raw_encoding"]])).toEqual([
    ["2,toolong,-3", undefined],
    ["3,x", undefined],
    [
      Buffer.concat([Buffer.from("4,"), Buffer.from([0xff, 0xfe, 0x41]), Buffer.from(",1")]).toString("base64"),
      "base64",
    ],
    ["5,a\0b,1", undefined],
    ['6,"a\0b",1', undefined],
    ['7,"",abc\0', undefined],
    ["8,café naïve,2", undefined],
    ['x,"quo""ted, long",-1', undefined],
  ])
  expect(letters[0]).toMatchObject({
    record: { id: "2", name: "toolong", price: "-3" },
    correlation_id: "night",
    run_id: report.runId,
    source: { file: "raw/a.csv", line: 3, offset: 26 },
    status: "pending",
    attempts: 1,
    replay_of: null,
  })
  expect(letters.slice(1, 6).map((letter) => letter["record"])).toEqual([null, null, null, null, null])
})

test("all that is wrong with a record stands in its one letter", async () => {
  await bed.write("all/a.csv", "id,name,price\nx,toolong,-3\n")
  await bed.run(items("all"))
  const [letter] = await exported(bed, "all")
  expect((letter?.["faults"] as { path: string }[]).map((fault) => fault.path).sort()).toEqual(["id", "name", "price"])
  expect(letter?.["error_msg"]).toMatch(/id: .*; name: .*; price: /)
})

test("ids are the same in every run and database, and one for each record", async () => {
  await bed.write("ids/a.csv", bad)
  await other.write("ids/a.csv", bad)
  await bed.run(items("ids"))
  await other.run(items("ids"))
  const [here, there] = [await exported(bed, "ids"), await exported(other, "ids")]
  const ids = here.map((letter) => letter["id"])
  expect(new Set(ids).size).toBe(8)
  expect(there.map((letter) => letter["id"])).toEqual(ids)
  expect(there.map((letter) => letter["fingerprint"])).toEqual(here.map((letter) => letter["fingerprint"]))

  const full = await bed.run(items("ids"), { full: true })
  expect(full.counts).toMatchObject({ read: 9, unchanged: 1, deadLettered: 8 })
  expect(await exported(bed, "ids")).toEqual(here)
})

test("a fingerprint tells causes apart, not values", async () => {
  await bed.write("prints/a.csv", "id,name,price\n1,a,-3\n2,b,-44.5\n3,toolong1,1\n4,toolong22,1\nx,a,1\nyy,b,1\n")
  await bed.run(items("prints"))
  const letters = await exported(bed, "prints")
  const prints = letters.map((letter) => letter["fingerprint"] as string)
  for (const print of prints) expect(print).toMatch(/^v1:[0-9a-f]{16}$/)
  const [a, b, c, d, e, f] = prints
  expect([a === b, c === d, e === f, new Set(prints).size]).toEqual([true, true, true, 3])
})

test("what was settled stays settled when its record is read again; what was corrected is superseded, and pending if it comes back", async () => {
  const name = "settled"
  const write = (lines: string) => bed.write(`${name}/a.csv`, `id,name,price\n${lines}`)
  const statuses = async (): Promise<Record<string, unknown>> =>
    Object.fromEntries((await exported(bed, name)).map((letter) => [lineOf(letter), letter["status"]]))
  await write("1,a,-1\n2,b,-2\n3,c,-3\n4,d,-4\n")
  await bed.run(items(name))
  const ids = (await exported(bed, name)).map((letter) => letter["id"])
  await bed.rows(`UPDATE ops.dead_letters SET status = 'replayed' WHERE id = $1`, [ids[0]])
  await bed.rows(`UPDATE ops.dead_letters SET status = 'discarded', status_reason = 'a test order' WHERE id = $1`, [
    ids[1],
  ])
  await bed.run(items(name), { full: true })
  expect(await statuses()).toEqual({ 2: "replayed", 3: "discarded", 4: "pending", 5: "pending" })

  await write("1,a,-1\n2,b,-2\n3,c,3\n4,d,-4\n")
  await bed.run(items(name))
  expect(await statuses()).toEqual({ 2: "replayed", 3: "discarded", 4: "superseded", 5: "pending" })
  expect(
    await bed.value(`SELECT status_reason FROM ops.dead_letters WHERE pipeline_name = $1 AND status = 'discarded'`, [
      name,
    ]),
  ).toBe("a test order")

  await write("1,a,-1\n2,b,-2\n3,c,-3\n4,d,-4\n")
  await bed.run(items(name))
  expect(await statuses()).toEqual({ 2: "replayed", 3: "discarded", 4: "pending", 5: "pending" })
  expect((await exported(bed, name)).map((letter) => letter["id"])).toEqual(ids)
})

test("a record whose value no text column can hold is one letter, not the end of its file", async () => {
  const typed = pipeline({
    name: "typed",
    source: files("typed/*.jsonl"),
    schema: z.object({ id: z.int(), name: z.string().max(5), note: z.unknown() }),
    columns: { note: { type: "jsonb" } },
    sink: table("shop.typed", { mode: "append" }),
  })
  const lines = [
    `{"id":1,"name":"ok","note":{}}`,
    `{"id":2,"name":"a\\u0000b","note":null}`,
    `{"id":3,"name":"x","note":{"deep":["\\u0000"]}}`,
    `{"id":4,"name":"too\\u0000long","note":null}`,
    `{"id":5,"name":"\\ud800","note":null}`,
    `{"id":6,"name":"too\\\\u0000long","note":null}`,
    `{"id":"\\u0000","name":"x","note":null}`,
    `{"id":8,"name":"ok","note":"\\\\u0000"}`,
  ]
  await bed.write("typed/a.jsonl", lines.join("\n"))
  const report = await bed.run(typed)
  expect(report.held).toEqual([])
  expect(report).toMatchObject({ status: "completed", counts: { read: 8, inserted: 2, deadLettered: 6 } })
  const letters = await exported(bed, "typed")
  expect(letters.map((letter) => letter["raw"])).toEqual(lines.slice(1, 7))
})
