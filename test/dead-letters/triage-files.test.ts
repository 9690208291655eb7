import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import fc from "fast-check"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { nodeFiles } from "../../src/core/files.ts"
import type { TallyOptions } from "../../src/dead-letters/letter-tally.ts"
import { masking } from "../../src/dead-letters/masking.ts"
import { triageFiles } from "../../src/dead-letters/triage-files.ts"
import type { TriageReport } from "../../src/dead-letters/triage-report.ts"

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "spillway-triage-"))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const nobody = (async function* () {})()
const triage = (path: string, options: Partial<TallyOptions> & { groups?: number } = {}): Promise<TriageReport> =>
  triageFiles(
    { files: nodeFiles, path: path === "-" ? path : join(folder, path), stdin: nobody },
    { samples: 3, masking: masking(), groups: 100, ...options },
  )

async function given(name: string, content: string | Buffer): Promise<string> {
  await writeFile(join(folder, name), content)
  return name
}

const counted = (names: readonly string[]): { name: string; letters: number }[] =>
  [...Map.groupBy(names, (name) => name)]
    .map(([name, all]) => ({ name, letters: all.length }))
    .sort((a, b) => b.letters - a.letters || (a.name < b.name ? -1 : 1))

/** What a key such as `pwd` holds would not be shown. */
function withoutSecretNames(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutSecretNames)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key === "__proto__" ? key : `${key}?`, withoutSecretNames(inner)]),
  )
}

const letter = fc.record({
  ts: fc.integer({ min: 0, max: 90_000_000 }).map((ms) => new Date(Date.UTC(2026, 10, 20) + ms).toISOString()),
  error_code: fc.constantFrom("VALIDATION", "DECODE", 'é"quoted"'),
  error_msg: fc.constantFrom("m", 'price: expected {} [], got \\"\u0000'),
  // As JSON has it: -0 is 0.
  record: fc
    .oneof(fc.constant(null), fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 3 }))
    .map((record) => withoutSecretNames(JSON.parse(JSON.stringify(record)))),
  fingerprint: fc.constantFrom("v1:a", "v1:b", "v1:c"),
  faults: fc.array(
    fc.record({ path: fc.constantFrom("price", "items[3].n", ""), rule: fc.constantFrom("min", "type") }),
    { minLength: 1, maxLength: 3 },
  ),
  source: fc.record({ file: fc.constantFrom("a.csv", "b/c.csv", 'd"e.csv'), line: fc.nat(99) }),
  unknown: fc.jsonValue(),
})

describe("triage of files", () => {
  it("counts what counting parsed letters counts", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(letter, { minLength: 1, maxLength: 60 }), async (letters) => {
        const lines = letters.map(({ faults, ...rest }) =>
          JSON.stringify({ ...rest, path: faults[0]?.path, rule: faults[0]?.rule, faults }),
        )
        const report = await triage(await given("property.jsonl", `${lines.join("\n")}\n`))
        expect(report).toMatchObject({ letters: letters.length, unread: 0, ungrouped: 0 })
        expect(report.byCode).toEqual(counted(letters.map((l) => l.error_code)))
        expect(report.bySource).toEqual(counted(letters.map((l) => l.source.file)))
        const fields = letters.flatMap((l) => [
          ...new Set(l.faults.map((f) => `${f.path.replace("[3]", "[]")} ${f.rule}`)),
        ])
        expect(new Map(report.byField.map((f) => [`${f.field} ${f.rule}`, f.letters]))).toEqual(
          new Map(counted(fields).map((f) => [f.name, f.letters])),
        )
        expect(report.groups.map((g) => ({ name: g.fingerprint, letters: g.letters }))).toEqual(
          counted(letters.map((l) => l.fingerprint)),
        )
        const times = letters.map((l) => Date.parse(l.ts))
        expect([report.from, report.to]).toEqual([Math.min(...times), Math.max(...times)])
        expect(report.trend.reduce((a, b) => a + b)).toBe(letters.length)
        for (const group of report.groups) {
          const own = letters.filter((l) => l.fingerprint === group.fingerprint)
          const seen = own.map((l) => Date.parse(l.ts))
          expect([group.firstSeen, group.lastSeen]).toEqual([Math.min(...seen), Math.max(...seen)])
          expect(group.trend.reduce((a, b) => a + b)).toBe(own.length)
          expect(group.samples.map((s) => s.record)).toEqual(own.slice(0, 3).map((l) => l.record))
        }
      }),
      { numRuns: 150 },
    )
  })

  it("tells a broken last line and lines that are no letters, and reads the rest", async () => {
    const good = '{"ts":"2026-11-20T03:00:00Z","error_code":"DECODE","error_msg":"m","record":null}'
    const text = `\ufeff${good}\r\n\n[1]\nnot json\n${good}\n${good.slice(0, -3)}`
    const report = await triage(await given("broken.jsonl", text))
    expect(report).toMatchObject({ letters: 2, unread: 3 })
    expect(report.unreadSamples.map(({ where, reason }) => [where.split(":").at(-1), reason])).toEqual([
      ["3", "it is not a JSON object"],
      ["4", "it is not a JSON object"],
      ["6", "the last line is cut off"],
    ])
  })

  it("reads a line of more than 10 MB that lies over many blocks, and shows only its beginning", async () => {
    const long = JSON.stringify({
      error_code: "X",
      error_msg: "n: bad",
      record: { n: "é".repeat(6 << 20), __proto__: 1 },
      fingerprint: "v1:long",
      status: "pending",
    })
    const report = await triage(await given("long.jsonl", `${long}\n${long}\n`))
    expect(report).toMatchObject({ letters: 2, unread: 0, byCode: [{ name: "X", letters: 2 }] })
    const [sample] = report.groups[0]?.samples ?? []
    expect(JSON.stringify(sample).length).toBeLessThan(2_000)
    expect(sample?.difference[0]).toMatchObject({ field: "n", got: expect.stringMatching(/^"é+…$/) as string })
  })

  it("reads the letters of others: four keys, a text or an object as error, epoch times, lists, folders", async () => {
    await mkdir(join(folder, "others/deeper"), { recursive: true })
    await given(
      "others/one.json",
      '{\n  "record": {"price": -1},\n  "error": "price: must not be -1",\n  "timestamp": "2026-11-20 03:00:00"\n}',
    )
    await given(
      "others/deeper/two.json",
      '{"record":{"price":-22},"error":{"code":"E_NEG","message":"price: must not be -22"},"timestamp":1795143600}',
    )
    await given(
      "others/three.json",
      '[{"ts":"2026-11-20T05:00:00+02:00","error_code":"E_NEG","error_msg":"price: must not be -3","record":{"price":-3}},7]',
    )
    await given("others/lines.jsonl", '{"error":{"name":"TypeError"},"record":{}}\n')
    await given("others/notes.txt", "no letters")
    const report = await triage("others")
    expect(report).toMatchObject({
      letters: 4,
      unread: 1,
      unreadSamples: [{ where: "three.json, item 2", reason: "it is not a JSON object" }],
      from: Date.UTC(2026, 10, 20, 3),
      to: Date.UTC(2026, 10, 20, 3),
      byCode: [
        { name: "E_NEG", letters: 2 },
        { name: "TypeError", letters: 1 },
        { name: "UNKNOWN", letters: 1 },
      ],
      byField: [
        { field: "price", rule: "", letters: 3 },
        { field: "", rule: "", letters: 1 },
      ],
    })
    expect(report.groups[0]).toMatchObject({ code: "E_NEG", field: "price", letters: 2 })
    expect(report.groups[0]?.samples.map((s) => [s.place, s.difference[0]?.got])).toEqual([
      ["deeper/two.json:1", "-22"],
      ["three.json:1", "-3"],
    ])
  })

  it("keeps secrets from view, in records, messages and raw text, unless revealed by name", async () => {
    const name = await given(
      "secret.jsonl",
      `${JSON.stringify({ error_code: "V", error_msg: "apiKey: expected text, got 12345", record: { apiKey: 12345, user: { password: "hunter2x" }, open: "ok", ["__proto__"]: "p" }, raw: "12345,hunter2x", path: "apiKey", faults: [{ path: "apiKey", rule: "type", message: "apiKey: expected text, got 12345" }] })}\n`,
    )
    const hidden = JSON.stringify(await triage(name))
    expect(hidden).not.toMatch(/12345|hunter2x/)
    expect(hidden).toContain('"open":"ok","__proto__":"p"')
    const revealed = await triage(name, { masking: masking(["apiKey"]) })
    expect(JSON.stringify(revealed)).toContain("got 12345")
    expect(JSON.stringify(revealed)).not.toContain("hunter2x")
    expect(JSON.stringify(await triage(name, { masking: masking(["apiKey", "user.password"]) }))).toContain(
      "12345,hunter2x",
    )
  })

  it("keeps 10,000 groups apart and counts the letters of all others", async () => {
    const lines = Array.from(
      { length: 10_050 },
      (_, i) =>
        `{"error_code":"C","fingerprint":"v1:${i}","record":null,"ts":"2026-11-20T00:00:00.${String(i % 1000).padStart(3, "0")}Z"}`,
    )
    const report = await triage(await given("many.jsonl", lines.join("\n")), { groups: 5 })
    expect(report).toMatchObject({
      letters: 10_050,
      groupCount: 10_000,
      ungrouped: 50,
      unread: 0,
      byCode: [{ name: "C", letters: 10_050 }],
    })
    expect(report.groups).toHaveLength(5)
  })

  it("counts only what is chosen", async () => {
    const name = await given(
      "chosen.jsonl",
      ["a", "b", "a"].map((code) => `{"error_code":"${code}","record":null}`).join("\n"),
    )
    expect(await triage(name, { choose: (one) => one.code === "a" })).toMatchObject({
      letters: 2,
      byCode: [{ name: "a", letters: 2 }],
    })
  })

  it("says where a file is missing", async () => {
    await expect(triage("nowhere")).rejects.toMatchObject({
      code: "CONFIG",
      where: join(folder, "nowhere"),
      context: { notFound: true },
    })
  })
})
