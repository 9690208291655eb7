import fc from "fast-check"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import type { LetterFacts } from "../../src/dead-letters/letter-facts.ts"
import { matches, namesStatus, parseSelection, toCondition, type Selection } from "../../src/dead-letters/selection.ts"
import { ledgerBed, putLetter, type LedgerBed } from "./letters.ts"

const NOON = Date.UTC(2026, 10, 21, 12)
const readTime = (text: string): Date => {
  if (Number.isNaN(Date.parse(text))) throw new Error(`no time: ${text}`)
  return new Date(text)
}
const parse = (text: string): Selection => parseSelection(text, readTime)

const VALUES = ["", "a", "price", "items[].x", "it's", 'q"q', "A%_", "é"] as const

let bed: LedgerBed
const letters: LetterFacts[] = []
beforeAll(async () => {
  bed = await ledgerBed()
  const some = fc.constantFrom(...VALUES)
  const drawn = fc.sample(
    fc.record({
      code: some,
      message: some,
      pipeline: some,
      run: some,
      step: some,
      group: some,
      source: some,
      status: fc.constantFrom("pending", "replayed"),
      faults: fc.array(fc.record({ field: some, rule: some }), { maxLength: 3 }),
      age: fc.nat(3),
    }),
    { numRuns: 80, seed: 7 },
  )
  for (const [i, { age, faults, source, ...rest }] of drawn.entries()) {
    const id = `d${i}`
    await putLetter(bed.session, {
      ...rest,
      id,
      source: { topic: source },
      faults: faults.map(({ field, rule }) => ({ path: field.replace("[]", "[7]"), rule })),
    })
    const seen = new Date(NOON + age * 60_000)
    await bed.session.query("UPDATE ops.dead_letters SET last_seen = $2 WHERE id = $1", [id, seen])
    const listed = faults.length === 0 ? [{ field: "", rule: "" }] : faults
    letters.push({ ...rest, id, source, faults: listed, time: NOON, lastSeen: seen.getTime() })
  }
})
afterAll(() => bed.end())

const quoted = (value: string): string => `'${value.replaceAll("'", "''")}'`
const word = fc.constantFrom("code", "field", "rule", "step", "pipeline", "group", "status", "source", "run", "message")
const value = fc.constantFrom(...VALUES, "pending")
const { expression } = fc.letrec<{ expression: string; single: string }>((tie) => ({
  single: fc.oneof(
    fc.tuple(word, fc.constantFrom("=", "!=", "~"), value).map(([w, sign, v]) => `${w} ${sign} ${quoted(v)}`),
    fc
      .tuple(word, fc.array(value, { minLength: 1, maxLength: 3 }))
      .map(([w, vs]) => `${w} IN (${vs.map(quoted).join(",")})`),
    fc.tuple(fc.constantFrom("since", "before"), fc.nat(3)).map(([w, m]) => `${w} 2026-11-21T12:0${m}:00Z`),
  ),
  expression: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    tie("single"),
    fc.tuple(tie("expression"), fc.constantFrom("and", "or"), tie("expression")).map((parts) => parts.join(" ")),
    tie("expression").map((inner) => `not (${inner})`),
  ),
}))

describe("a selection", () => {
  it("chooses the same letters as a predicate and as SQL", async () => {
    await fc.assert(
      fc.asyncProperty(expression, async (text) => {
        const selection = parse(text)
        const { sql, values } = toCondition(selection)
        // Beside a further condition, as its users put it.
        const { rows } = await bed.session.query<{ id: string }>(
          `SELECT d.id FROM ops.dead_letters d WHERE ${sql} AND d.id <> 'd1' ORDER BY length(d.id), d.id`,
          [...values],
        )
        const expected = letters.filter((letter) => matches(selection, letter) && letter.id !== "d1")
        expect(rows.map((row) => row.id)).toEqual(expected.map((letter) => letter.id))
      }),
      { numRuns: 400 },
    )
  })

  it("reads and before or, not before both, and parentheses", () => {
    const is = (name: string, ...list: string[]): Selection => ({ kind: "is", word: name as "run", values: list })
    expect(parse("run=a or run = b and not id != c")).toEqual({
      kind: "or",
      parts: [
        is("run", "a"),
        { kind: "and", parts: [is("run", "b"), { kind: "not", inner: { kind: "not", inner: is("id", "c") } }] },
      ],
    })
    expect(parse('(run = a OR run = b) AND group in (v1:3f, "x""y")')).toEqual({
      kind: "and",
      parts: [{ kind: "or", parts: [is("run", "a"), is("run", "b")] }, is("group", "v1:3f", 'x"y')],
    })
    expect(parse("field = items[3].price and code = validation")).toEqual({
      kind: "and",
      parts: [is("field", "items[].price"), is("code", "VALIDATION")],
    })
    expect([namesStatus(parse("run = a")), namesStatus(parse("run = a or not status = x"))]).toEqual([false, true])
  })

  it.each([
    "",
    "code",
    "code =",
    "code = a and",
    "code = a code = b",
    "cod = a",
    "(code = a",
    "code in a",
    "code in ()",
    "code = ;",
    "code == a",
    "'code' = a",
    "code = 'a",
  ])("refuses %j with a hint", (text) =>
    expect(() => parse(text)).toThrow(
      expect.objectContaining({
        code: "CONFIG",
        where: text,
        hint: expect.stringContaining("code = VALIDATION") as string,
      }),
    ),
  )

  it("passes on what is wrong with a time", () => expect(() => parse("since someday")).toThrow("no time: someday"))
})
