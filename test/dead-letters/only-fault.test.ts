import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import fc from "fast-check"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { nodeFiles } from "../../src/core/files.ts"
import { describeLetter } from "../../src/dead-letters/described-letter.ts"
import { envelopeLine, type EnvelopeParts } from "../../src/dead-letters/envelope.ts"
import { exportDeadLetters } from "../../src/dead-letters/export.ts"
import { importLetters } from "../../src/dead-letters/import.ts"
import { LetterReader, letterScan } from "../../src/dead-letters/letter-facts.ts"
import { masking } from "../../src/dead-letters/masking.ts"
import { triageFiles } from "../../src/dead-letters/triage-files.ts"
import { ledgerBed, type LedgerBed } from "./letters.ts"

interface GivenFault {
  readonly code: string
  readonly step: string
  readonly message: string
  readonly rule?: string
  readonly path?: string
  readonly expected?: string
  readonly actualType?: string
}

const PRICE: GivenFault = {
  ...{ code: "VALIDATION", step: "validate", message: 'price: expected a number, got "x"', path: "price" },
  ...{ actualType: "string", rule: "invalid_type", expected: "a number" },
}

const letterOf = (n: number, faults: readonly [GivenFault, ...GivenFault[]]): EnvelopeParts => ({
  ...{ id: `dl_${n}`, fingerprint: `v1:${n}`, errorCode: faults[0].code, record: '{"price":"x","note":"n"}' },
  errorMessage: faults.map(({ message }) => message).join("; "),
  ...{ pipeline: "orders", runId: "r1", correlationId: undefined, step: faults[0].step },
  ...{ rule: faults[0].rule, path: faults[0].path, faults: JSON.stringify(faults) },
  ...{ source: `{"file":"a.csv","line":${n}}`, raw: Buffer.from("x,n"), oversize: undefined, attempts: 1 },
  ...{ firstSeen: "2026-11-20T03:00:00.000Z", lastSeen: "2026-11-20T03:00:00.000Z", status: "pending" },
  ...{ replayOf: undefined, schemaVersion: "1", secrets: [] },
})

/** As letters were written before: all faults in a list. */
function listed(line: string, faults: readonly GivenFault[]): string {
  const {
    expected: _expected,
    actual_type: _type,
    faults: _faults,
    ...letter
  } = JSON.parse(line) as Record<string, unknown>
  const entries = Object.entries(letter).flatMap(([key, value]) =>
    key === "source" ? [["faults", faults] as const, [key, value] as const] : [[key, value] as const],
  )
  return JSON.stringify(Object.fromEntries(entries))
}

function facts(line: string): unknown {
  const scan = letterScan()
  const bytes = Buffer.from(line)
  expect(scan.read(bytes, 0, bytes.length)).toBe(true)
  return new LetterReader().facts(scan)
}

const optional = fc.option(fc.constantFrom("price", "a[3].b", "invalid_type", ""), { nil: undefined })
const fault = fc.record({
  code: fc.constantFrom("VALIDATION", "DECODE"),
  step: fc.constantFrom("validate", "decode"),
  message: fc.constantFrom("price: expected a number, got 1", "note: odd", "m", '"x"\u0000'),
  ...{ rule: optional, path: optional, expected: optional, actualType: optional },
})

describe("a letter with one fault", () => {
  it("does not repeat it in a list", () => {
    const letter = JSON.parse(envelopeLine(letterOf(1, [PRICE]))) as Record<string, unknown>
    expect(Object.keys(letter).join(" ")).toContain("rule path expected actual_type source")
    expect(letter).toMatchObject({ expected: "a number", actual_type: "string" })
  })

  it.each<[string, Partial<EnvelopeParts>]>([
    ["says another message", { errorMessage: "another" }],
    ["says another path", { path: "note" }],
    ["says more", { faults: JSON.stringify([{ ...PRICE, more: 1 }]) }],
    ["is no object", { faults: "[1]" }],
    ["is none at all", { faults: "[]" }],
  ])("lists one that %s", (_what, change) => {
    const letter = JSON.parse(envelopeLine({ ...letterOf(1, [PRICE]), ...change })) as Record<string, unknown>
    expect(letter).toHaveProperty("faults")
    expect(letter).not.toHaveProperty("expected")
  })

  it("reads as one that lists its faults does", () => {
    fc.assert(
      fc.property(fc.array(fault, { minLength: 1, maxLength: 2 }), (drawn) => {
        const faults = drawn as unknown as [GivenFault, ...GivenFault[]]
        const line = envelopeLine(letterOf(1, faults))
        const before = listed(line, faults)
        expect(line.includes('"faults":')).toBe(faults.length > 1)
        expect(facts(line)).toEqual(facts(before))
        const described = (text: string): unknown =>
          describeLetter(JSON.parse(text) as Record<string, unknown>, masking())
        expect(described(line)).toEqual(described(before))
      }),
    )
  })
})

describe("letters of files in either form", () => {
  let bed: LedgerBed
  let folder: string
  beforeAll(async () => {
    bed = await ledgerBed()
    folder = await mkdtemp(join(tmpdir(), "spillway-form-"))
  })
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true })
    await bed.end()
  })

  const nobody = (async function* () {})()
  const kinds: readonly (readonly [GivenFault, ...GivenFault[]])[] = [
    [PRICE],
    [{ code: "CHECK", step: "check", message: "note: is odd" }],
    [
      {
        code: "DECODE",
        step: "decode",
        message: "expected 2 columns, got 3",
        rule: "column_count",
        expected: "2 columns",
      },
    ],
    [PRICE, { ...PRICE, path: "note" }],
  ]
  const lines = kinds.map((faults, n) => envelopeLine(letterOf(n + 1, faults)))
  const forms = { now: lines, before: kinds.map((faults, n) => listed(lines[n] ?? "", faults)) }

  async function written(form: keyof typeof forms): Promise<string> {
    const path = join(folder, `${form}.jsonl`)
    await writeFile(path, forms[form].map((line) => `${line}\n`).join(""))
    return path
  }

  async function storedBy(form: keyof typeof forms): Promise<{ rows: unknown; exported: string[] }> {
    await bed.session.query("TRUNCATE ops.dead_letters")
    const input = { files: nodeFiles, path: await written(form), stdin: nobody }
    await importLetters(bed.session, { ...input, pipeline: "orders", now: 0 })
    const { rows } = await bed.session.query(
      `SELECT id, fingerprint, error_code, error_msg, step, rule, path, faults, record, raw, source, status
       FROM ops.dead_letters ORDER BY ordinal`,
    )
    const exported: string[] = []
    for await (const { line } of exportDeadLetters(bed.session, {}, masking())) exported.push(line)
    return { rows, exported }
  }

  it("are imported alike, and exported in the one that is written now", async () => {
    const now = await storedBy("now")
    const before = await storedBy("before")
    expect(now.rows).toEqual(before.rows)
    expect((now.rows as { faults: unknown }[]).map(({ faults }) => faults)).toEqual(kinds)
    expect(now.exported.map((line) => JSON.parse(line) as unknown)).toEqual(
      lines.map((line) => JSON.parse(line) as unknown),
    )
    expect(now.exported.map((line) => Object.keys(JSON.parse(line) as object))).toEqual(
      lines.map((line) => Object.keys(JSON.parse(line) as object)),
    )
  })

  it("count and read alike in triage", async () => {
    const reports = []
    for (const form of ["now", "before"] as const) {
      const input = { files: nodeFiles, path: await written(form), stdin: nobody }
      const report = await triageFiles(input, { samples: 1, groups: 9, masking: masking() })
      reports.push(report)
    }
    expect(reports[0]).toEqual(reports[1])
  })
})
