import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { ObjectScan } from "../../src/dead-letters/object-scan.ts"

const KEYS = ["ts", "id", "record", "source", "faults", "error_code", 'a"b']
const key = fc.oneof(fc.constantFrom(...KEYS), fc.string({ maxLength: 8 }))
/** Strings with what scanning could trip over: quotes, backslashes, brackets, long runs. */
const text = fc
  .array(fc.constantFrom('"', "\\", "{", "}", "[", "]", ",", ":", "é", "\u0000", "x".repeat(60), '},"id":', " "), {
    maxLength: 6,
  })
  .map((parts) => parts.join(""))
const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    text,
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    tie("list"),
    tie("object"),
  ),
  list: fc.array(tie("value"), { maxLength: 4 }),
  object: fc.dictionary(key, tie("value"), { maxKeys: 5 }),
}))
const object = fc.dictionary(key, value, { maxKeys: 9 })

const printed = (given: unknown, indent: number): Buffer => Buffer.from(JSON.stringify(given, null, indent))

describe("a scan", () => {
  it("finds the values that JSON.parse finds, object after object, with space or without", () => {
    const scan = new ObjectScan(KEYS)
    fc.assert(
      fc.property(fc.array(object, { minLength: 1, maxLength: 5 }), fc.constantFrom(0, 2), (objects, indent) => {
        for (const given of objects.flatMap((one) => [one, one])) {
          const bytes = Buffer.concat([Buffer.from("##"), printed(given, indent), Buffer.from('"}')])
          expect(scan.read(bytes, 2, bytes.length - 2)).toBe(true)
          KEYS.forEach((name, i) => {
            const expected = Object.hasOwn(given, name) ? given[name] : undefined
            expect(scan.value(i)).toEqual(expected)
            expect(scan.text(i)).toEqual(typeof expected === "string" ? expected : undefined)
            expect(scan.elements(i)).toBe(Array.isArray(expected) ? Math.min(expected.length, 2) : 0)
          })
        }
      }),
      { numRuns: 3_000 },
    )
  })

  it("refuses every object that is cut off, also one whose keys it expects", () => {
    const scan = new ObjectScan(KEYS)
    fc.assert(
      fc.property(object, (given) => {
        const bytes = printed(given, 0)
        expect(scan.read(bytes, 0, bytes.length)).toBe(true)
        for (let end = 0; end < bytes.length; end++) expect(scan.read(bytes, 0, end)).toBe(false)
      }),
      { numRuns: 300 },
    )
  })

  it.each(["", "[]", "1", '"x"', "{} {}", '{"a":1,}', '{"a"}', '{"a":}', "{a:1}", '{"a":1 "b":2}', '{"id":"x"}}'])(
    "refuses %j",
    (line) => expect(new ObjectScan(KEYS).read(Buffer.from(line), 0, line.length)).toBe(false),
  )

  it("takes the last of a key that is there twice, and reads keys with escapes", () => {
    const scan = new ObjectScan(KEYS)
    const bytes = Buffer.from('{"id":1,"\\u0069d":2,"__proto__":{"id":3}}')
    expect(scan.read(bytes, 0, bytes.length)).toBe(true)
    expect(scan.value(1)).toBe(2)
  })

  it("finds the same values where runs of members come again, and the same objects wrong", () => {
    const runs = [{ from: "id", before: "source" }, { from: "error_code" }]
    const word = fc.constantFrom("a", "b", 'q"', "\\", "x".repeat(30), "é]", '","source":')
    const part = fc.oneof(
      word,
      fc.constantFrom(1, 12, 123, null),
      fc.record({ a: word }),
      fc.array(word, { maxLength: 2 }),
    )
    const member = fc.tuple(fc.constantFrom("ts", "more", "record", "id"), part)
    const letter = fc
      .tuple(
        part,
        part,
        word,
        part,
        part,
        word,
        fc.array(member, { maxLength: 1 }),
        fc.constantFrom("}", "} ", ',"z":1}', ""),
      )
      .map(([ts, id, record, source, faults, code, more, end]) => {
        const text = JSON.stringify({
          ts,
          id,
          record,
          long: "same in all of them ".repeat(2),
          source,
          faults,
          error_code: code,
        })
        const added = more.map(([name, value]) => `,${JSON.stringify(name)}:${JSON.stringify(value)}`).join("")
        return `${text.slice(0, -1)}${added},"tail":"same in all of them, and long enough"${end}`
      })
    let whole = 0
    let broken = 0
    fc.assert(
      fc.property(fc.array(letter, { minLength: 20, maxLength: 60 }), (lines) => {
        const scan = new ObjectScan(KEYS, runs)
        const bytes = Buffer.from(lines.join("\n"))
        let start = 0
        for (const line of lines) {
          const end = start + Buffer.byteLength(line)
          let expected: Record<string, unknown> | undefined
          try {
            expected = JSON.parse(line) as Record<string, unknown>
          } catch {
            broken++
          }
          expect(scan.read(bytes, start, end)).toBe(expected !== undefined)
          if (expected !== undefined) {
            expect(KEYS.map((_, i) => scan.value(i))).toEqual(KEYS.map((name) => expected[name]))
            if (scan.runNumber >= 0) whole++
          }
          start = end + 1
        }
      }),
      { numRuns: 200 },
    )
    expect(whole).toBeGreaterThan(100)
    expect(broken).toBeGreaterThan(100)
  })

  it("tells two runs apart by their number, and what lies in one", () => {
    const scan = new ObjectScan(["id", "code", "end"], [{ from: "id", before: "end" }])
    const line = (id: string, code: string): Buffer =>
      Buffer.from(JSON.stringify({ id: `${id} is an id of some length`, code, end: 1 }))
    const numberOf = (bytes: Buffer): number => {
      scan.read(bytes, 0, bytes.length)
      return scan.runNumber
    }
    // The first shows which keys come when; what was seen once is known from then on.
    const numbers = [
      line("a", "x"),
      line("a", "x"),
      line("a", "y"),
      line("a", "x"),
      line("b", "x"),
      line("a", "y"),
    ].map(numberOf)
    expect(numbers.map((number) => number >= 0)).toEqual([false, false, false, true, false, true])
    expect(numbers[3]).not.toBe(numbers[5])
    expect([0, 1, 2].map((key) => scan.inRun(key))).toEqual([true, true, false])
    expect(scan.text(1)).toBe("y")
  })

  it("gives up looking for runs that never come again", () => {
    const scan = new ObjectScan(["id", "end"], [{ from: "id", before: "end" }])
    const read = (id: number): number => {
      const bytes = Buffer.from(JSON.stringify({ id: `an id of some length, number ${id}`, end: 1 }))
      expect(scan.read(bytes, 0, bytes.length)).toBe(true)
      expect(scan.text(0)).toBe(`an id of some length, number ${id}`)
      return scan.runNumber
    }
    for (let id = 0; id < 1_100; id++) read(id)
    expect([read(1), read(1), read(1)]).toEqual([-1, -1, -1])
  })

  it("gives the items of a list where they lie", () => {
    const scan = new ObjectScan(["list"])
    fc.assert(
      fc.property(fc.array(value, { maxLength: 4 }), fc.constantFrom(0, 2), (list, indent) => {
        const bytes = printed({ list }, indent)
        scan.read(bytes, 0, bytes.length)
        const items: unknown[] = []
        scan.eachItem(0, (from, to) => items.push(JSON.parse(bytes.toString("utf8", from, to))))
        expect(items).toEqual(list)
      }),
    )
  })
})
