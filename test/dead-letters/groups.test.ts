import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import fc from "fast-check"
import { afterEach, beforeEach, describe, expect, it } from "vitest"
import { nodeFiles } from "../../src/core/files.ts"
import { exportDeadLetters } from "../../src/dead-letters/export.ts"
import { decide, lookAtGroups } from "../../src/dead-letters/groups.ts"
import { importLetters } from "../../src/dead-letters/import.ts"
import { masking } from "../../src/dead-letters/masking.ts"
import { triageDatabase } from "../../src/dead-letters/triage-database.ts"
import { triageFiles } from "../../src/dead-letters/triage-files.ts"
import { decideGroup, readGroups, writeGroupStates } from "../../src/ledger/dead-letter-groups.ts"
import { database } from "../../src/postgres/session.ts"
import { ledgerBed, putLetter, type LedgerBed } from "./letters.ts"

let bed: LedgerBed
beforeEach(async () => {
  bed = await ledgerBed()
})
afterEach(() => bed.end())

const states = async (): Promise<Record<string, string>> =>
  Object.fromEntries([...(await lookAtGroups(bed.session))].map(([name, group]) => [name, group.state]))
const stored = async (): Promise<Record<string, unknown>[]> =>
  (await bed.session.query("SELECT * FROM ops.dead_letter_groups ORDER BY fingerprint")).rows

it("keeps the state of every group by what its letters tell", async () => {
  await putLetter(bed.session, { id: "n", group: "v1:new", ago: 60 })
  await putLetter(bed.session, { id: "o", group: "v1:old", ago: 60 * 30, faults: [{ path: "price", rule: "min" }] })
  await putLetter(bed.session, { id: "d", group: "v1:done", status: "replayed" })
  for (let i = 0; i < 20; i++) await putLetter(bed.session, { id: `e${i}`, group: "v1:fast", ago: i === 0 ? 600 : 5 })
  expect(await states()).toEqual({ "v1:new": "new", "v1:old": "ongoing", "v1:done": "resolved", "v1:fast": "new" })
  await putLetter(bed.session, { id: "e20", group: "v1:fast" })
  expect(await states()).toMatchObject({ "v1:fast": "escalating" })
  expect((await stored()).map((row) => [row["fingerprint"], row["state"], row["title"]])).toEqual([
    ["v1:done", "resolved", "VALIDATION"],
    ["v1:fast", "escalating", "VALIDATION"],
    ["v1:new", "new", "VALIDATION"],
    ["v1:old", "ongoing", "VALIDATION price: min"],
  ])
})

it("resolves by hand, and regresses when a letter is seen again", async () => {
  await putLetter(bed.session, { id: "a", ago: 5 })
  expect(await decide(bed.session, "aaaa", { kind: "resolve" })).toMatchObject({ state: "resolved", open: 1 })
  expect(await states()).toEqual({ "v1:aaaa": "resolved" })
  await putLetter(bed.session, { id: "b" })
  expect(await states()).toEqual({ "v1:aaaa": "regressed" })
  await bed.session.query("UPDATE ops.dead_letters SET status = 'discarded'")
  expect(await states()).toEqual({ "v1:aaaa": "resolved" })
})

it("leaves a suppressed group alone until its time is over, and a note leaves the state alone", async () => {
  await putLetter(bed.session, { id: "a", ago: 5 })
  const until = new Date(Date.UTC(2999, 0, 1))
  await decide(bed.session, "v1:a", { kind: "suppress", reason: "known", until })
  const before = await stored()
  expect(before).toMatchObject([{ state: "suppressed", suppress_reason: "known", suppressed_until: until }])
  expect(await decide(bed.session, "v1:aaaa", { kind: "note", note: "n" })).toMatchObject({
    state: "suppressed",
    note: "n",
  })
  expect((await stored())[0]?.["updated_at"]).toEqual(before[0]?.["updated_at"])
  await bed.session.query("UPDATE ops.dead_letter_groups SET suppressed_until = now() - interval '1 s'")
  expect(await states()).toEqual({ "v1:aaaa": "ongoing" })
  expect(await stored()).toMatchObject([{ suppress_reason: null, suppressed_until: null, note: "n" }])
})

it("knows a group by the beginning of its fingerprint, if that is one group's", async () => {
  await putLetter(bed.session, { id: "a", group: "v1:abc" })
  await putLetter(bed.session, { id: "b", group: "v1:abd" })
  await expect(decide(bed.session, "ab", { kind: "resolve" })).rejects.toMatchObject({
    code: "CONFIG",
    message: "2 groups begin with ab",
  })
  await expect(decide(bed.session, "x", { kind: "resolve" })).rejects.toMatchObject({ context: { notFound: true } })
  expect(await decide(bed.session, "abd", { kind: "resolve" })).toMatchObject({ fingerprint: "v1:abd" })
})

it("sums up the database as it sums up the file that the letters are exported to, and imports that file once", async () => {
  const folder = await mkdtemp(join(tmpdir(), "spillway-groups-"))
  try {
    for (let i = 0; i < 40; i++)
      await putLetter(bed.session, {
        id: `d${i}`,
        group: `v1:${i % 3}`,
        code: i % 3 === 0 ? "DECODE" : "VALIDATION",
        source: { file: `f${i % 4}.csv`, line: i },
        faults:
          i % 5 === 0
            ? [
                { path: "a[1].b", rule: "x", message: "m" },
                { path: "c", rule: "y", message: "n" },
              ]
            : [{ path: "c", rule: "y", message: "n" }],
        record: { a: i, ["__proto__"]: 1 },
        raw: i === 7 ? Buffer.from([0xff, 0x00]) : Buffer.from(`raw ${i}`),
        ago: i * 7,
      })
    await putLetter(bed.session, { id: "gone", status: "discarded" })
    const exported = async (): Promise<string[]> => {
      const lines: string[] = []
      for await (const { line } of exportDeadLetters(bed.session, { status: "pending" }, masking())) lines.push(line)
      return lines
    }
    const lines = await exported()
    const path = join(folder, "letters.jsonl")
    await writeFile(path, `${lines.join("\n")}\n`)
    const input = { files: nodeFiles, path, stdin: (async function* () {})() }
    const options = { samples: 1, groups: 2, masking: masking() }
    const ofFile = await triageFiles(input, options)
    const { report } = await triageDatabase(bed.session, { ...options, selection: undefined })
    const plain = ({ groups, trend: _trend, ...rest }: typeof report): unknown => ({
      ...rest,
      groups: groups.map(({ trend: _t, samples, field: _f, rule: _r, ...group }) => ({
        ...group,
        samples: samples.length,
      })),
    })
    expect(plain(report)).toEqual(plain(ofFile))
    expect(report).toMatchObject({ letters: 40, groupCount: 3 })
    expect(report.trend.reduce((a, b) => a + b)).toBe(40)

    const again = await importLetters(bed.session, { ...input, pipeline: "orders", now: 0 })
    expect(again).toMatchObject({ read: 40, added: 0, known: 40, unreadCount: 0 })
    await bed.session.query("DELETE FROM ops.dead_letters WHERE status = 'pending'")
    expect(await importLetters(bed.session, { ...input, pipeline: "orders", now: 0 })).toMatchObject({ added: 40 })
    const same = (line: string): unknown => ({ ...(JSON.parse(line) as object), schema_version: "" })
    const byId = (a: string, b: string): number => (a.slice(a.indexOf('"id"')) < b.slice(b.indexOf('"id"')) ? -1 : 1)
    expect((await exported()).sort(byId).map(same)).toEqual(lines.sort(byId).map(same))
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

/** A second session, whose transaction is open while the first goes on. */
async function meanwhile(body: (other: LedgerBed["session"]) => Promise<void>): Promise<void> {
  const other = await database(bed.url).connect()
  try {
    await body(other)
  } finally {
    await other.end()
  }
}

describe("decisions and runs at once", () => {
  it("a letter that was on its way while its group was resolved makes it regressed, whichever run brings it", async () => {
    await putLetter(bed.session, { id: "a", ago: 5 })
    await meanwhile(async (first) => {
      await meanwhile(async (second) => {
        // Both began before the decision: by their times, their letters are older than it.
        await first.query("BEGIN")
        await second.query("BEGIN")
        await second.query("SELECT now(), pg_current_xact_id()")
        await putLetter(first, { id: "b" })
        expect(await decide(bed.session, "aaaa", { kind: "resolve" })).toMatchObject({ state: "resolved", open: 1 })
        expect(await states()).toEqual({ "v1:aaaa": "resolved" })
        await first.query("COMMIT")
        expect(await states()).toEqual({ "v1:aaaa": "regressed" })
        expect(await decide(bed.session, "aaaa", { kind: "resolve" })).toMatchObject({ state: "resolved", open: 2 })
        await putLetter(second, { id: "c" })
        expect(await states()).toEqual({ "v1:aaaa": "resolved" })
        await second.query("COMMIT")
        expect(await states()).toEqual({ "v1:aaaa": "regressed" })
      })
    })
  })

  it("so does one that a look at the letters missed when it found that none was open", async () => {
    await putLetter(bed.session, { id: "a", ago: 5 })
    await states()
    await meanwhile(async (run) => {
      await run.query("BEGIN")
      await putLetter(run, { id: "b" })
      await bed.session.query("UPDATE ops.dead_letters SET status = 'replayed' WHERE id = 'a'")
      expect(await states()).toEqual({ "v1:aaaa": "resolved" })
      await run.query("COMMIT")
    })
    expect(await states()).toEqual({ "v1:aaaa": "regressed" })
  })

  it("a look that began before a decision does not undo it, also where the state has the same name", async () => {
    await putLetter(bed.session, { id: "a", ago: 5 })
    await decide(bed.session, "aaaa", { kind: "resolve" })
    await putLetter(bed.session, { id: "b" })
    const seen = await readGroups(bed.session)
    expect(seen).toMatchObject([{ state: "resolved", fresh: 1 }])
    await meanwhile(async (other) => {
      await decideGroup(other, "v1:aaaa", { kind: "resolve" })
    })
    await writeGroupStates(
      bed.session,
      seen.map((was) => ({ was, state: "regressed" as const })),
    )
    expect(await states()).toEqual({ "v1:aaaa": "resolved" })
  })

  it("nor a suppression that was made longer while it ended", async () => {
    await putLetter(bed.session, { id: "a", ago: 5 })
    const until = new Date(Date.UTC(2999, 0, 1))
    await decide(bed.session, "aaaa", { kind: "suppress", reason: "once", until })
    await bed.session.query("UPDATE ops.dead_letter_groups SET suppressed_until = now()")
    const seen = await readGroups(bed.session)
    await meanwhile(async (other) => {
      await decideGroup(other, "v1:aaaa", { kind: "suppress", reason: "again", until })
    })
    await writeGroupStates(
      bed.session,
      seen.map((was) => ({ was, state: "ongoing" as const })),
    )
    expect(await stored()).toMatchObject([{ state: "suppressed", suppress_reason: "again", suppressed_until: until }])
  })

  it("a suppression ends at its time, and what came meanwhile is ongoing, or resolved where nothing is open", async () => {
    await putLetter(bed.session, { id: "a", group: "v1:open", ago: 60 })
    await putLetter(bed.session, { id: "b", group: "v1:done", ago: 60 })
    const until = new Date(Date.UTC(2999, 0, 1))
    for (const group of ["open", "done"]) await decide(bed.session, group, { kind: "suppress", reason: "r", until })
    for (let i = 0; i < 30; i++) await putLetter(bed.session, { id: `n${i}`, group: "v1:open" })
    await bed.session.query("UPDATE ops.dead_letters SET status = 'discarded' WHERE id = 'b'")
    expect(await states()).toEqual({ "v1:open": "suppressed", "v1:done": "suppressed" })
    await bed.session.query("UPDATE ops.dead_letter_groups SET suppressed_until = now()")
    expect(await states()).toEqual({ "v1:open": "ongoing", "v1:done": "resolved" })
    // From then on it is judged like any other.
    expect(await states()).toEqual({ "v1:open": "escalating", "v1:done": "resolved" })
  })

  it("counts what the letters of a group tell as counting them one by one does", async () => {
    const minutes = fc.constantFrom(0, 30, 59, 61, 600, 1_439, 1_499, 1_501, 4_000)
    const letter = fc.record({
      ago: minutes,
      group: fc.constantFrom("v1:a", "v1:b"),
      status: fc.constantFrom("pending", "poisoned", "replayed", "discarded", "superseded"),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(letter, { minLength: 1, maxLength: 12 }), async (letters) => {
        await bed.session.query("TRUNCATE ops.dead_letters, ops.dead_letter_groups")
        for (const [n, given] of letters.entries()) await putLetter(bed.session, { id: `l${n}`, ...given })
        const told = await readGroups(bed.session)
        const expected = [...new Set(letters.map(({ group }) => group))].sort().map((group) => {
          const own = letters.filter((one) => one.group === group)
          return {
            fingerprint: group,
            open: own.filter(({ status }) => status === "pending" || status === "poisoned").length,
            lastHour: own.filter(({ ago }) => ago < 60).length,
            dayBefore: own.filter(({ ago }) => ago > 60 && ago < 1_500).length,
          }
        })
        expect(told).toMatchObject(expected)
      }),
      { numRuns: 25 },
    )
  })
})
