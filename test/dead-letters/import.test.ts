import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { nodeFiles } from "../../src/core/files.ts"
import { importLetters, type ImportOutcome } from "../../src/dead-letters/import.ts"
import { masking } from "../../src/dead-letters/masking.ts"
import { triageFiles } from "../../src/dead-letters/triage-files.ts"
import { ledgerBed, type LedgerBed } from "./letters.ts"

const NOW = Date.UTC(2026, 10, 21, 12)
const FOUR_KEYS = { ts: "2026-11-20T03:00:00Z", error_code: "VALIDATION", error_msg: "price: bad" }

let bed: LedgerBed
let folder: string
beforeAll(async () => {
  bed = await ledgerBed()
})
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "spillway-import-"))
})
afterEach(async () => {
  await bed.session.query("TRUNCATE ops.dead_letters")
  await rm(folder, { recursive: true, force: true })
})
afterAll(() => bed.end())

const nobody = (async function* () {})()

async function given(name: string, content: string): Promise<string> {
  await mkdir(dirname(join(folder, name)), { recursive: true })
  await writeFile(join(folder, name), content)
  return name
}

const letters = (...lines: readonly object[]): string => lines.map((line) => `${JSON.stringify(line)}\n`).join("")

const imported = (name = ""): Promise<ImportOutcome> =>
  importLetters(bed.session, {
    ...{ files: nodeFiles, path: join(folder, name), stdin: nobody },
    ...{ pipeline: "orders", now: NOW },
  })

/** What triage counts of the same input, which is read by the same reader. */
async function triaged(name = ""): Promise<{ letters: number; unread: readonly unknown[] }> {
  const report = await triageFiles(
    { files: nodeFiles, path: join(folder, name), stdin: nobody },
    { samples: 1, groups: 9, masking: masking() },
  )
  return { letters: report.letters, unread: report.unreadSamples }
}

const stored = async (columns: string): Promise<Record<string, unknown>[]> =>
  (await bed.session.query(`SELECT ${columns} FROM ops.dead_letters ORDER BY ordinal`)).rows

describe("letters of files, in triage and import alike", () => {
  it.each([
    ["cut off in a text", '{"ts":"2026-11-20T03:00:00Z","error_code":"VALI', "the last line is cut off"],
    ["cut off behind a member", '{"ts":"2026-11-20T03:00:00Z","record":{"a":1}', "the last line is cut off"],
    ["that is no object", "[1, 2]", "it is not a JSON object"],
    ["that is no letter", '{"order_id":"ord-1","price":3}', "it has neither an error nor a record"],
  ])("a last line %s is told, and the rest is read", async (_what, last, reason) => {
    const name = await given("bad.jsonl", letters({ ...FOUR_KEYS, record: { price: "x" } }) + last)
    const outcome = await imported(name)
    expect(outcome).toMatchObject({ read: 1, added: 1, unreadCount: 1, unread: [{ reason }] })
    expect(outcome.unread[0]?.where).toMatch(/bad\.jsonl:2$/)
    expect(await triaged(name)).toEqual({ letters: 1, unread: outcome.unread })
    // The writer goes on: what was there is known, what was cut off is now whole.
    await given("bad.jsonl", letters({ ...FOUR_KEYS, record: { price: "x" } }, { ...FOUR_KEYS, record: null }))
    expect(await imported(name)).toMatchObject({ read: 2, added: 1, known: 1, unreadCount: 0 })
  })

  it("counts what cannot be read beyond what it keeps of it", async () => {
    const name = await given("noise.jsonl", "noise\n".repeat(500) + letters(FOUR_KEYS))
    const outcome = await imported(name)
    expect(outcome).toMatchObject({ read: 1, unreadCount: 500 })
    expect(outcome.unread).toHaveLength(20)
  })

  it("refuses a line that only looks like JSON", async () => {
    const name = await given("near.jsonl", `{"error_code":"X","record":{price:1}}\n${letters(FOUR_KEYS)}`)
    expect(await imported(name)).toMatchObject({ read: 1, unread: [{ reason: "it is not JSON" }] })
  })

  it("leaves unknown keys alone, and keeps __proto__ as a key like any other", async () => {
    const line = `{"trace":{"deep":[1]},"ts":"2026-11-20T03:00:00Z","__proto__":{"status":"replayed"},"error_code":"X","error_msg":"m","record":{"__proto__":{"admin":true},"constructor":1,"a":2},"host":"h7"}`
    const name = await given("proto.jsonl", `${line}\n`)
    expect(await imported(name)).toMatchObject({ added: 1 })
    const [row] = await stored("record::text, status, raw")
    expect(row).toMatchObject({ status: "pending" })
    expect(JSON.parse(String(row?.["record"]))).toEqual(
      JSON.parse('{"__proto__":{"admin":true},"constructor":1,"a":2}'),
    )
    expect(String(row?.["raw"])).toBe('{"__proto__":{"admin":true},"constructor":1,"a":2}')
    expect(({} as { admin?: boolean }).admin).toBeUndefined()
    expect(await triaged(name)).toEqual({ letters: 1, unread: [] })
  })

  it("takes a record of 10 MB whole, and those around it", async () => {
    const big = { note: "é\n".repeat(3_600_000) }
    const name = await given(
      "big.jsonl",
      letters({ ...FOUR_KEYS, record: { n: 1 } }, { ...FOUR_KEYS, record: big }, { ...FOUR_KEYS, record: { n: 3 } }),
    )
    expect(await imported(name)).toMatchObject({ read: 3, added: 3, unreadCount: 0 })
    expect(await stored("ordinal, length(record->>'note') AS length, octet_length(raw) AS raw")).toEqual([
      { ordinal: "1", length: null, raw: 7 },
      { ordinal: "2", length: 7_200_000, raw: Buffer.byteLength(JSON.stringify(big)) },
      { ordinal: "3", length: null, raw: 7 },
    ])
    expect(await triaged(name)).toEqual({ letters: 3, unread: [] })
  })

  it("keeps every digit, also of a letter over several lines, and gives way where the database cannot", async () => {
    await given("a.json", '{\n  "error": "bad",\n  "record": {"id": 12345678901234567890, "price": 0.10}\n}\n')
    await given(
      "b.jsonl",
      '{"error":"bad","record":{"n":1e400,"m":"\\u0000"}}\n{"error":"bad","record":{"n":1e999999}}\n',
    )
    expect(await imported()).toMatchObject({ added: 3, unreadCount: 0 })
    expect((await stored("record::text")).map((row) => row["record"])).toEqual(
      expect.arrayContaining(['{"id": 12345678901234567890, "price": 0.10}', '{"m": "␀", "n": null}', '{"n": null}']),
    )
  })

  it("reads folders of one-letter files in the forms of others, and names those that are broken", async () => {
    await given("one.json", '{"record":{"price":-1},"error":"price: negative","timestamp":1795143600}')
    await given(
      "two.json",
      '{\n "record": {"price": -2},\n "error": {"code":"E_NEG","message":"negative"},\n "timestamp": "2026-11-20 03:00:00"\n}',
    )
    await given("deeper/four.json", letters({ ...FOUR_KEYS, record: { price: "x" } }, { ...FOUR_KEYS, record: null }))
    await given("far.json", '{"record":{},"error":"e","timestamp":1e30}')
    await given("cut.json", '{\n  "record": {"price": -2},\n  "err')
    await given("empty.json", "")
    await given("data.json", '{"order_id": 7}')
    const outcome = await imported()
    expect(outcome).toMatchObject({
      ...{ read: 5, added: 5, unreadCount: 3 },
      unread: [
        { where: "cut.json", reason: "the file is not JSON, or is cut off" },
        { where: "data.json, item 1", reason: "it has neither an error nor a record" },
        { where: "empty.json", reason: "the file is empty" },
      ],
    })
    expect(await triaged()).toEqual({ letters: 5, unread: outcome.unread })
    expect(
      (await stored("error_code, path, first_seen, source->>'file' AS file")).sort((a, b) =>
        String(a["file"]) < String(b["file"]) ? -1 : 1,
      ),
    ).toMatchObject([
      { file: "deeper/four.json", path: "price" },
      { file: "deeper/four.json" },
      // A time that no calendar has counts as none.
      { file: "far.json", first_seen: new Date(NOW) },
      { file: "one.json", error_code: "UNKNOWN", path: "price", first_seen: new Date("2026-11-20T03:00:00Z") },
      { file: "two.json", error_code: "E_NEG", first_seen: new Date("2026-11-20T03:00:00Z") },
    ])
    expect(await imported()).toMatchObject({ added: 0, known: 5 })
  })

  it("does not take the numbers of others for ids: two files may number alike", async () => {
    await given("a.jsonl", letters({ ...FOUR_KEYS, id: "1", record: { a: 1 } }))
    await given("b.jsonl", letters({ ...FOUR_KEYS, id: "1", record: { b: 1 } }))
    expect(await imported()).toMatchObject({ read: 2, added: 2 })
  })

  it("keeps attempts, status and correlation of a letter that Spillway wrote", async () => {
    const name = await given(
      "ours.jsonl",
      letters({
        ...{ ...FOUR_KEYS, record: {}, id: "dl_1", fingerprint: "v1:1", attempts: 3, status: "poisoned" },
        ...{ correlation_id: "c1", schema_version: "s1" },
      }),
    )
    await imported(name)
    expect(await stored("id, attempts, status, correlation_id, schema_version")).toEqual([
      { id: "dl_1", attempts: 3, status: "poisoned", correlation_id: "c1", schema_version: "s1" },
    ])
  })
})
